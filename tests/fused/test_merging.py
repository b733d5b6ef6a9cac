"""Which kinds of tasks go in one stack, by what a step of each is estimated to take."""

import pytest
import torch
from torch import nn

from sktorch.fused.merging import Merging
from sktorch.training.cost import Work
from tests.fused.epochs import EpochBatches, model_of, task_of

BATCH = torch.zeros(128, 64), torch.zeros(128, dtype=torch.long), None


def tasks_of(width, n_tasks, n_batches=12, activation=nn.ReLU):
    tasks = []
    for _ in range(n_tasks):
        module = nn.Sequential(nn.Linear(64, width), activation(), nn.Linear(width, 10))
        model = model_of(module, torch.optim.Adam(module.parameters()))
        model.net.work_ = Work(multiply_adds=74 * width, activation_bytes=300 + 8 * width)
        tasks.append(task_of(model, EpochBatches([BATCH] * n_batches)))
    return tasks


def by_key(*groups):
    return {tasks[0].stack_key(): tasks for tasks in groups}


def widths_together(merged):
    return sorted(
        sorted({task.model.net.module_[0].out_features for task in tasks})
        for tasks in merged.values()
    )


@pytest.mark.parametrize(
    ("sizes", "together"),
    [
        ([(50, 5), (52, 5), (54, 5)], [[50, 52, 54]]),
        ([(20, 5), (22, 5), (140, 5), (142, 5)], [[20, 22], [140, 142]]),
        ([(50, 60), (100, 60)], [[50], [100]]),
        ([(50, 1), (60, 1)], [[50, 60]]),
    ],
)
def test_similar_widths_of_few_models_go_together(sizes, together):
    kinds = by_key(*(tasks_of(*size) for size in sizes))
    assert widths_together(Merging().merge(kinds)) == together


class Limited(nn.Sequential):
    """Has a number that is a size only by chance."""

    def __init__(self, width, limit):
        super().__init__(nn.Linear(64, width), nn.Linear(width, 52), nn.Linear(52, 50))
        self.limit = limit

    def forward(self, X):
        return super().forward(X).clamp(-self.limit, self.limit)


@pytest.mark.parametrize(
    ("pairs", "n_stacks"),
    [
        ([(50, 50), (50, 52)], 2),  # of one size: another limit
        ([(50, 50), (52, 52)], 1),  # the limit may well be the width
        ([(50, 50), (52, 52), (50, 52)], 2),
        ([(50, 50), (52, 50), (54, 50)], 1),
    ],
)
def test_numbers_stand_for_sizes_that_change_with_them(pairs, n_stacks):
    groups = []
    for pair in pairs:
        module = Limited(*pair)
        model = model_of(module, torch.optim.Adam(module.parameters()))
        model.net.work_ = Work(multiply_adds=9000, activation_bytes=2000)
        groups.append([task_of(model, EpochBatches([BATCH] * 2))])
    assert len(Merging().merge(by_key(*groups))) == n_stacks


def test_short_trainings_save_recordings():
    assert len(Merging().merge(by_key(tasks_of(20, 5, 1), tasks_of(60, 5, 1)))) == 1
    assert len(Merging().merge(by_key(tasks_of(20, 30, 99), tasks_of(90, 30, 99)))) == 2


def test_other_layers_stay_apart():
    kinds = by_key(tasks_of(50, 5), tasks_of(52, 5, activation=nn.Tanh))
    assert Merging().merge(kinds) == kinds


def test_decisions_stay_as_models_come_and_go():
    merging, groups = Merging(), [tasks_of(width, 5) for width in (50, 52, 54)]
    (key,) = merging.merge(by_key(*groups))
    assert dict(key.shapes)["module.0.weight"] == (54, 64)
    assert [*merging.merge(by_key(groups[0]))] == [key]
    assert [*merging.merge(by_key(groups[0], tasks_of(53, 5)))] == [key]


def test_what_is_refused_stays_apart():
    merging, kinds = Merging(), by_key(tasks_of(50, 5), tasks_of(52, 5))
    (key,) = merging.merge(kinds)
    merging.refuse(key)
    assert merging.merge(kinds) == kinds


def test_each_size_is_tried_once():
    merging, groups = Merging(), [tasks_of(width, 2) for width in (50, 52)]
    ((key, tasks),) = merging.merge(by_key(*groups)).items()
    assert len(merging.untried(key, tasks)) == 2
    merging.count_as_tried(key, groups[0])
    (row,) = merging.untried(key, tasks)
    assert tasks[row] in groups[1]
    assert merging.untried(groups[0][0].stack_key(), groups[0]) == []
