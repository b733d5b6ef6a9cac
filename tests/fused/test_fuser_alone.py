"""Models that leave a stack or never join one: errors, hooks, memory, their own ways."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from sktorch.data.batches import Batches
from sktorch.data.rows import Rows
from sktorch.data.sources import as_source
from sktorch.fused import trial
from sktorch.fused.fuser import Fuser
from tests.fused.epochs import EpochBatches, model_of, task_of
from tests.fused.greedy import Greedy
from tests.fused.training import (
    CPU,
    OPTIMIZERS,
    Deciding,
    InPlace,
    Normed,
    Y,
    assert_same_training,
    batches_of,
    loop,
    mlp,
    models,
    train_together,
)

pytestmark = pytest.mark.usefixtures("no_step_is_large")


class Wide(nn.Linear):
    def forward(self, X):
        return Greedy.apply(super().forward(X.flatten(1)))


def test_out_of_memory_halves_the_stack(monkeypatch):
    monkeypatch.setattr(trial, "MAX_TIME_RATIO", float("inf"))
    batches = [batches_of(number, 30, 10) for number in range(7)]
    lines, *_ = assert_same_training(partial(Wide, 16, 3), OPTIMIZERS["adam"], batches)
    assert "together, 2 in a stack" in lines[0]


class FrozenNorm(Normed):
    """Trains everything but its batch norm."""

    def train(self, mode=True):
        super().train(mode)
        self[1].eval()
        return self


class Holding(nn.Linear):
    """Keeps a layer where torch does not look for it."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.others = [nn.Linear(sizes[0], sizes[0]).double()]

    def forward(self, X):
        return super().forward(self.others[0](X.flatten(1)))


@pytest.mark.parametrize("module", [FrozenNorm, partial(Holding, 16, 3)])
def test_modules_with_ways_of_their_own(module):
    batches = [batches_of(number, 30, 10) for number in range(5)]
    assert_same_training(module, OPTIMIZERS["adam"], batches)


def test_hooks_of_parameters_are_called():
    modules = models(mlp, 4)
    for module in modules:
        module[1].weight.register_hook(lambda gradient: gradient * (torch.arange(16) % 2))
    before = [module[1].weight.detach().clone() for module in modules]
    optimizers = [torch.optim.SGD(m.parameters(), 0.1) for m in modules]
    batches = [batches_of(0, 30, 10)] * 4
    train_together(modules, [nn.CrossEntropyLoss()] * 4, optimizers, batches, 2)
    for module, weight in zip(modules, before, strict=True):
        assert torch.equal(module[1].weight[:, ::2], weight[:, ::2])
        assert not torch.equal(module[1].weight[:, 1::2], weight[:, 1::2])


def test_tasks_that_nobody_waits_for_end():
    modules = models(mlp, 4)
    asked = iter([False] * 20 + [True] * 1000)
    tasks = [
        task_of(
            model_of(m, torch.optim.SGD(m.parameters())),
            EpochBatches(batches_of(0, 60, 1)),
            cancelled=lambda: next(asked),
        )
        for m in modules
    ]
    Fuser(1).run(tasks)
    assert all(not task.is_over and len(task.sizes) < 60 for task in tasks)


class Coded(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(8, 3))


class Indexed(nn.Linear):
    def __init__(self):
        super().__init__(8, 3)
        self.table = nn.Parameter(torch.randn(5, 4))

    def forward(self, X):
        return super().forward(self.table[X].flatten(1))


def with_codes(codes):
    rows = Rows(as_source(codes), codes.dtype, CPU)
    index = torch.arange(len(codes))
    return Batches(rows, Y[index], None, index, batch_size=10, shuffle=False)


@pytest.mark.parametrize("make", [Coded, Indexed])
def test_rows_that_fail_in_a_later_batch_are_the_failure_of_their_model(make, monkeypatch):
    monkeypatch.setattr(trial, "MAX_TIME_RATIO", float("inf"))
    codes = torch.arange(60).reshape(30, 2) % 5
    unknown = codes.clone()
    unknown[25] = 7
    together = models(make, 5)
    alone = copy.deepcopy(together)
    batches = [with_codes(unknown if number == 1 else codes).epoch() for number in range(5)]
    batches[3] = EpochBatches([*[*with_codes(codes)][:2], OSError("unreadable")])
    criterion = nn.CrossEntropyLoss()
    tasks = [
        task_of(model_of(m, torch.optim.Adam(m.parameters())), drawn)
        for m, drawn in zip(together, batches, strict=True)
    ]
    lines = []
    Fuser(1, lines.append).run(tasks)
    assert "together, 5 in a stack" in lines[0]
    if make is Indexed:
        assert isinstance(tasks[1].error, IndexError)
    else:  # Alone, an embedding would raise that too.
        finite = torch.tensor(tasks[1].losses).isfinite()
        assert finite.tolist() == [True, True, False]
    assert isinstance(tasks[3].error, OSError)
    for number in (0, 2, 4):
        assert tasks[number].error is None
        optimizer = torch.optim.Adam(alone[number].parameters())
        losses = loop(alone[number], criterion, optimizer, with_codes(codes))
        assert tasks[number].losses == pytest.approx(losses, rel=1e-9)
        assert tasks[number].sizes == [10, 10, 10]
        states = together[number].state_dict(), alone[number].state_dict()
        torch.testing.assert_close(*states, rtol=1e-9, atol=1e-9)


class Endless(nn.Linear):
    """Holds what can't be looked through."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.loop = []
        self.loop.append(self.loop)

    def forward(self, X):
        return super().forward(X.flatten(1))


def test_a_module_that_cannot_be_looked_at_trains_alone():
    batches = [batches_of(number, 30, 10) for number in range(3)]
    lines, *_ = assert_same_training(partial(Endless, 16, 3), OPTIMIZERS["sgd"], batches)
    assert "alone: maximum recursion depth" in lines[0]


def test_float16_and_other_layers_go_alone():
    lines = []
    module, other = models(mlp, 2)
    curved = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    tasks = [
        task_of(
            model_of(m, torch.optim.SGD(m.parameters()), precision=precision),
            batches_of(0, 20, 10).epoch(),
        )
        for m, precision in ((module, "float16"), (curved, "float32"), (other, "float32"))
    ]
    Fuser(1, lines.append).run(tasks)
    assert [task.error for task in tasks] == [None] * 3
    assert sum("gradient scaler" in line for line in lines) == 1
    assert sum("no other of its kind" in line for line in lines) == 2


def test_an_error_of_a_model_alone_is_its_own():
    modules = [*models(mlp, 3), nn.Sequential(nn.Flatten(), nn.Linear(5, 3)).double()]
    tasks = [
        task_of(model_of(m, torch.optim.SGD(m.parameters())), batches_of(0, 20, 10).epoch())
        for m in modules
    ]
    Fuser(1).run(tasks)
    assert [task.error is None for task in tasks] == [True, True, True, False]
    assert "shapes" in str(tasks[3].error)


@pytest.mark.parametrize("make", [partial(InPlace, 16, 3), mlp, partial(Deciding, 16, 3)])
@pytest.mark.parametrize("together", [True, False])
def test_models_of_the_same_batches_get_a_copy_each(make, together, monkeypatch):
    monkeypatch.setattr(trial, "MAX_TIME_RATIO", float("inf") if together else 0)
    whole, part = batches_of(0, 37, 10), batches_of(0, 30, 10)
    batches = [whole, part, whole, whole, part, batches_of(0, 37, 10)]
    assert_same_training(make, OPTIMIZERS["adam"], batches)
