"""Batches by index, and through a DataLoader: the same rows in the same order."""

import numpy as np
import pytest
import torch
from scipy import sparse
from torch.utils.data import DataLoader, TensorDataset

from sktorch.data.batches import (
    BLOCK_BYTES,
    Batches,
    JoinedBatches,
    draw_loader_seed,
)
from sktorch.data.order import epoch_order
from sktorch.data.rows import Rows, row_batches
from sktorch.data.sources import as_source

CPU = torch.device("cpu")


def make_data(n_rows, weighted=True):
    X = torch.arange(2.0 * n_rows).reshape(n_rows, 2)
    return X, torch.arange(n_rows), torch.arange(n_rows) / 2 if weighted else None


def batches_of(kind, n_rows, index=None, weighted=True, **options):
    X, y, weight = make_data(n_rows, weighted)
    index = torch.arange(n_rows) if index is None else torch.as_tensor(index)
    parts = Rows(as_source(X), torch.float32, CPU), y, weight, index
    if kind is Batches:
        return Batches(*parts, **options)
    return row_batches(*parts, device=CPU, options=options)


@pytest.mark.parametrize("n_rows", [1, 2, 10, 1000])
@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_epoch_order_is_that_of_a_loader(n_rows, seed):
    loader = DataLoader(range(n_rows), batch_size=3, shuffle=True)
    torch.manual_seed(seed)
    expected = [torch.cat(list(loader)) for _ in range(3)]
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    seeds = [draw_loader_seed() for _ in range(6)][1::2]
    orders = [epoch_order(n_rows, seed) for seed in seeds]
    for order, by_loader in zip(orders, expected, strict=True):
        assert torch.equal(order, by_loader)
    assert torch.equal(torch.get_rng_state(), state), "later draws (dropout) are the same too"


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize(("n_rows", "batch_size"), [(10, 3), (9, 3), (2, 5), (5, 5)])
@pytest.mark.parametrize("kind", [Batches, row_batches])
def test_batches_are_those_of_a_plain_loader(kind, n_rows, batch_size, drop_last, shuffle):
    options = {"batch_size": batch_size, "shuffle": shuffle, "drop_last": drop_last}
    loader = DataLoader(TensorDataset(*make_data(n_rows)), **options)
    batches = batches_of(kind, n_rows, **options)
    assert len(batches) == len(loader)
    torch.manual_seed(3)
    expected = list(loader), list(loader), torch.rand(3)
    torch.manual_seed(3)
    actual = list(batches), list(batches), torch.rand(3)
    assert torch.equal(actual[2], expected[2])
    for epoch, expected_epoch in zip(actual[:2], expected[:2], strict=True):
        assert len(epoch) == len(expected_epoch)
        for batch, expected_batch in zip(epoch, expected_epoch, strict=True):
            for part, expected_part in zip(batch, expected_batch, strict=True):
                assert torch.equal(part, expected_part)
                assert part.dtype is expected_part.dtype


@pytest.mark.parametrize("kind", [Batches, row_batches])
def test_only_the_rows_of_the_index(kind):
    index = [7, 1, 4]
    batches = batches_of(kind, 10, index, batch_size=2, shuffle=False)
    assert [y.tolist() for _, y, _ in batches] == [[7, 1], [4]]
    for X, y, weight in batches:
        assert torch.equal(X[:, 0], 2.0 * y)
        assert torch.equal(weight, y / 2)
    torch.manual_seed(0)
    shuffled = batches_of(kind, 10, index, batch_size=2, shuffle=True)
    orders = {tuple(torch.cat([y for _, y, _ in shuffled]).tolist()) for _ in range(20)}
    assert len(orders) > 2
    assert {frozenset(order) for order in orders} == {frozenset(index)}


@pytest.mark.parametrize("kind", [Batches, row_batches])
def test_no_weights_are_none(kind):
    batches = batches_of(kind, 5, weighted=False, batch_size=2, shuffle=False)
    assert [weight for _, _, weight in batches] == [None] * 3


@pytest.mark.parametrize("kind", [Batches, row_batches])
def test_a_batch_is_no_view_of_the_data(kind):
    batches = batches_of(kind, 5, batch_size=5, shuffle=False)
    for part in next(iter(batches)):
        part.fill_(-1)
    X, y, weight = next(iter(batches))
    assert torch.equal(X, make_data(5)[0])
    assert torch.equal(y, make_data(5)[1])
    assert torch.equal(weight, make_data(5)[2])


@pytest.mark.parametrize("kind", [Batches, row_batches])
@pytest.mark.parametrize("to_kind", [sparse.csr_array, np.asarray])
def test_rows_of_arrays_and_sparse_arrays(kind, to_kind):
    X = np.arange(12.0).reshape(6, 2)
    parts = (
        Rows(as_source(to_kind(X)), torch.float64, CPU),
        torch.arange(6),
        None,
        torch.tensor([5, 0, 3]),
    )
    options = {"batch_size": 2, "shuffle": False}
    if kind is Batches:
        batches = Batches(*parts, **options)
    else:
        batches = row_batches(*parts, device=CPU, options=options)
    assert torch.cat([X for X, _, _ in batches]).tolist() == X[[5, 0, 3]].tolist()


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("options", [{}, {"drop_last": True}])
def test_large_data_come_in_the_same_batches_as_small_data(options, weighted):
    n_rows = 70
    y, index = torch.arange(n_rows), torch.arange(1, n_rows)
    weight = y / 2 if weighted else None
    options = {"batch_size": 16, "shuffle": True} | options
    small = torch.arange(n_rows, dtype=torch.float32)[:, None]
    large = small.repeat(1, BLOCK_BYTES // 4 // n_rows + 1)
    epochs = []
    for X in (small, large):
        torch.manual_seed(0)
        epochs.append(
            list(Batches(Rows(as_source(X), torch.float32, CPU), y, weight, index, **options))
        )
    assert len(epochs[0]) == len(epochs[1]) == (4 if "drop_last" in options else 5)
    for (X, y, weight), (large_X, large_y, large_weight) in zip(*epochs, strict=True):
        assert torch.equal(X, large_X[:, :1])
        assert torch.equal(X[:, 0], y.float())
        assert torch.equal(y, large_y)
        assert weight is large_weight is None or torch.equal(weight, large_weight)


@pytest.mark.parametrize("n_bytes", [1, 40, 10**6])
def test_blocks_of_an_epoch_are_its_batches(n_bytes):
    batches = batches_of(Batches, 11, batch_size=2, shuffle=True)
    torch.manual_seed(0)
    expected = [*batches]
    torch.manual_seed(0)
    epoch = batches.epoch(n_bytes)
    assert epoch.sizes == [2] * 5 + [1]
    for number in (5, 0, 3, 1):  # in any order
        first, block = epoch.block(number)
        start = sum(epoch.sizes[first:number])
        for part, expected_part in zip(block, expected[number], strict=True):
            assert torch.equal(part[start : start + epoch.sizes[number]], expected_part)


@pytest.mark.parametrize("X", [np.eye(6), sparse.csr_array(np.eye(6))], ids=["dense", "sparse"])
@pytest.mark.parametrize("weights", [torch.ones(6), None], ids=["weights", "no_weights"])
def test_an_example_has_the_layout_of_a_batch(X, weights):
    rows, y = Rows(as_source(X), torch.float32, CPU), torch.arange(6)
    index = torch.arange(6)
    epoch = Batches(rows, y, weights, index, batch_size=4, shuffle=True).epoch()
    assert epoch.is_weighted == (weights is not None)
    for part, expected in zip(epoch.example(1), epoch.block(1)[1], strict=True):
        if expected is None:
            assert part is None
        else:
            assert (part.shape[1:], part.dtype) == (expected.shape[1:], expected.dtype)


ROWS = torch.arange(5.0).reshape(5, 1)
STRUCTURES = {
    "tensor": lambda x: x,
    "tuple": lambda x: (x, x + 1),
    "dict": lambda x: {"a": x, "b": x + 1},
}


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_last_row_joins_the_batch_before_it(structure, weighted):
    make = STRUCTURES[structure]
    weights = ROWS[:, 0] if weighted else None
    pieces = [slice(0, 2), slice(2, 4), slice(4, 5)]
    cut = [(make(ROWS[s]), ROWS[s, 0], weights[s] if weighted else None) for s in pieces]
    joined = JoinedBatches(cut)
    assert len(joined) == 2
    (_, first, _), (X, y, given) = joined
    assert first.tolist() == [0, 1]
    torch.testing.assert_close(X, make(ROWS[2:]))
    assert y.tolist() == [2, 3, 4]
    assert given is None or given.tolist() == [2, 3, 4]


@pytest.mark.parametrize("sizes", [[(1, 3)], [(2, 3), (1, 4)]], ids=["alone", "another length"])
def test_a_row_that_can_join_no_batch_is_refused(sizes):
    batches = [(torch.zeros(size), torch.zeros(size[0]), None) for size in sizes]
    with pytest.raises(ValueError, match=r"batch_size.*drop_last"):
        list(JoinedBatches(batches))
