"""Tasks are cut by what can be stacked, in as many chunks as keep workers busy."""

import numpy as np
import pytest
from sklearn.model_selection import ParameterGrid

from sktorch._private.search_tasks import SearchTask
from sktorch.workers.chunks import CHUNKS_PER_WORKER, MIN_TASKS, Task, cut


def tasks_of(grid, n_folds=5):
    candidates = [*ParameterGrid(grid)]
    searches = [
        SearchTask(number, fold, len(candidates), n_folds, None, parameters)
        for number, parameters in enumerate(candidates)
        for fold in range(n_folds)
    ]
    return [Task(number, [], search, None) for number, search in enumerate(searches)]


def others(n_tasks):
    return [Task(number, [], None, None) for number in range(n_tasks)]


@pytest.mark.parametrize(
    ("tasks", "n_workers", "sizes"),
    [
        (tasks_of({"lr": np.logspace(-4, -1, 12)}), 2, [30, 30]),
        (tasks_of({"lr": [0.1, 0.2], "decay": [0, 0.1]}), 2, [10, 10]),  # 0 is a number, too
        (tasks_of({"lr": np.float32([0.1, 0.2])}, n_folds=10), 2, [10, 10]),
        (tasks_of({"hidden": [4, 8], "lr": np.logspace(-4, -1, 6)}), 2, [10] * 6),
        (tasks_of({"hidden": [*range(6)]}), 2, [5] * 6),
        (tasks_of({"optimizer": ["Adam", "SGD"], "lr": [0.1, 0.2]}), 1, [10, 10]),
        (others(4), 2, [4]),
        (others(5 * MIN_TASKS), 2, [20, 20]),
        (others(600), 2, [100] * 2 * CHUNKS_PER_WORKER),
        (others(100), 4, [25] * 4),
        ([], 2, []),
    ],
)
def test_sizes_of_chunks(tasks, n_workers, sizes):
    chunks = cut(tasks, n_workers)
    assert [len(chunk) for chunk in chunks] == sizes
    assert sorted(task.number for chunk in chunks for task in chunk) == [*range(len(tasks))]


def test_tasks_of_one_kind_and_then_of_one_fold_are_together():
    tasks = tasks_of({"hidden": [(4,), (8,)], "lr": np.logspace(-4, -1, 12)})
    for chunk in cut(tasks, 2):
        assert len({task.search.parameters["hidden"] for task in chunk}) == 1
        folds = [task.search.fold for task in chunk]
        assert folds == sorted(folds)


def test_small_kinds_share_a_chunk():
    chunks = cut(tasks_of({"hidden": [*range(12)]}, n_folds=3), 2)
    assert [len(chunk) for chunk in chunks] == [6] * 6
