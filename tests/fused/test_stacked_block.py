"""Batches of several tasks are stacked, and fetched once where they are shared."""

import pytest
import torch

from sktorch.fused.epoch import EpochTask
from sktorch.fused.stacked_block import stacked_block
from sktorch.training.randomness import RandomStream
from tests.fused.epochs import EpochBatches, model_of, task_of
from tests.fused.training import OPTIMIZERS, batches_of, mlp


def task(n_batches=3, start=0.0):
    rows = start + torch.arange(2.0 * n_batches).reshape(-1, 1)
    batches = EpochBatches([(rows, rows[:, 0], None)])
    batches.sizes = [2] * n_batches
    batches.block = lambda number: (0, (rows, rows[:, 0], None))
    return task_of(model_of(torch.nn.Linear(1, 1)), batches)


def shared(first, n_tasks):
    tasks = [first, *(task() for _ in range(n_tasks - 1))]
    for other in tasks[1:]:
        other.shared_batches = first.shared_batches
    return tasks


def test_batches_of_their_own_stand_beside_each_other():
    tasks = [task(3), task(5, start=100)]
    block = stacked_block(tasks, 2)
    assert len(block) == 3, "as many as all have"
    assert block.index is None
    X, y = [*block][1]
    assert X[:, :, 0].tolist() == [[2, 3], [102, 103]]
    assert y.tolist() == [[2, 3], [102, 103]]
    assert all(tensor.is_contiguous() for tensor in (X, y))


@pytest.mark.parametrize("width", [3, 5])
def test_shared_batches_are_fetched_once(width):
    block = stacked_block(shared(task(), 3), width)
    assert block.tensors[0].shape == (3, 1, 2, 1)
    assert block.index.tolist() == [0] * width
    for X, _ in block:
        assert X.shape == (width, 2, 1)


def test_tasks_at_different_places_share_what_they_can():
    tasks = [*shared(task(), 2), task(start=100)]
    tasks[1].n_done = 1
    block = stacked_block(tasks, 4)
    assert len(block) == 2
    X, _ = next(iter(block.rest(1)))
    assert X[:, :, 0].tolist() == [[2, 3], [4, 5], [102, 103], [2, 3]]


def drawn(number, shared, weighted=True, batch_size=6, n_epochs=1):
    """A task on rows of whole tensors, which all tasks share or each has for itself."""
    weights = torch.rand(60, dtype=torch.float64) if weighted else None
    n_rows = 20 + number if weighted else 20
    batches = batches_of(number, n_rows, batch_size, weights=weights)
    if not shared:
        batches.rows.values = batches.rows.values.clone()
    batches = batches.repeated(n_epochs)
    epoch = RandomStream(number, torch.device("cpu")).run(batches.epoch)
    optimizer_of = OPTIMIZERS["adam"]
    module = mlp().double()
    model = model_of(module, optimizer_of(module.parameters(), 0.1))
    return EpochTask(model, epoch, training=True)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("n_epochs", [1, 3])
def test_rows_of_whole_tensors_are_those_of_blocks_stacked(shared, weighted, n_epochs):
    by_rows = [drawn(n, shared, weighted, n_epochs=n_epochs) for n in range(3)]
    lengths = set()
    while not any(task.is_over for task in by_rows):
        block = stacked_block(by_rows, 4)
        for task in by_rows:
            task.shared_batches.is_whole = False
        blocks = stacked_block(by_rows, 4)
        for task in by_rows:
            task.shared_batches.is_whole = True
        torch.testing.assert_close(block.tensors, blocks.tensors, rtol=0, atol=0)
        assert block.index.tolist() == blocks.index.tolist() == [0, 1, 2, 0]
        lengths.add(block.tensors[1].shape[2])
        for task in by_rows:
            task.n_done += len(block)
    assert lengths == ({6} if weighted else {6, 2}), "short batches are filled up"
