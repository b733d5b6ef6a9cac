"""Orders of rows: a DataLoader's, and one that a disk reads in few pieces."""

import pytest
import torch

from sktorch.data.order import RUN_BYTES, RUNS_MIXED, order_in_blocks

ROWS_OF_RUN = 8
ROW_BYTES = RUN_BYTES // ROWS_OF_RUN


@pytest.mark.parametrize("n_rows", [1, 7, 8, 1000, 1003])
def test_an_order_in_blocks_has_every_row_once(n_rows):
    index = torch.arange(5, 5 + n_rows)[torch.randperm(n_rows)]
    order = order_in_blocks(index, 0, ROW_BYTES)
    assert torch.equal(order.sort().values, index.sort().values)
    assert torch.equal(order_in_blocks(index, 0, ROW_BYTES), order)
    assert n_rows == 1 or not torch.equal(order_in_blocks(index, 1, ROW_BYTES), order)


def test_rows_come_from_few_runs_that_lie_anywhere():
    n_runs = 10 * RUNS_MIXED
    order = order_in_blocks(torch.arange(n_runs * ROWS_OF_RUN), 0, ROW_BYTES)
    pools = (order // ROWS_OF_RUN).split(RUNS_MIXED * ROWS_OF_RUN)
    assert len(pools) == 10
    for pool in pools:
        runs = pool.unique()
        assert len(runs) == RUNS_MIXED
        assert runs.max() - runs.min() > n_runs / 2
        assert len(pool[:ROWS_OF_RUN].unique()) > 1, "rows of a run don't stay together"


def test_rows_larger_than_a_run_are_runs_of_their_own():
    order = order_in_blocks(torch.arange(100), 0, 10 * RUN_BYTES)
    assert sorted(order.tolist()) == [*range(100)]
