"""What is worth a stack, and what is found out by trying it."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn

from sktorch.fused import trial
from sktorch.fused.stack import Stack
from sktorch.fused.trial import make_program
from tests.fused.epochs import EpochBatches, model_of, task_of
from tests.fused.greedy import Greedy


class Layer(nn.Linear):
    def __init__(self):
        super().__init__(3, 2, dtype=torch.float64)


class Warming(Layer):
    """Counts its calls, and does something else in the first ones."""

    def __init__(self):
        super().__init__()
        self.n_calls = 0

    def forward(self, X):
        self.n_calls += 1
        return super().forward(X) * min(1, self.n_calls / 10)


class Remembering(Layer):
    """Keeps what it made."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, X):
        self.seen.append(len(X))
        return super().forward(X)


class Skipping(Layer):
    """Leaves itself out now and then."""

    def forward(self, X):
        return super().forward(X) * (random.random() < 0.5)


class Noisy(Layer):
    def forward(self, X):
        return super().forward(X) + np.random.default_rng().normal() + np.random.rand()


class Item(Layer):
    def forward(self, X):
        return super().forward(X) * X.max().item()


class Sparse(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(5, 2, sparse=True, dtype=torch.float64)

    def forward(self, X):
        return self.table(X.abs().long().clamp(max=4)).sum(1)


class PartlyUnused(Layer):
    def __init__(self):
        super().__init__()
        self.spare = nn.Linear(2, 2)


@pytest.fixture(autouse=True)
def whatever_it_takes(monkeypatch):
    """No test depends on the time that a stack takes."""
    monkeypatch.setattr(trial, "MAX_TIME_RATIO", float("inf"))
    monkeypatch.setattr(trial, "MAX_ALONE_SECONDS", float("inf"))


def program_of(make, optimizer=torch.optim.SGD, n_models=3, **settings):
    torch.manual_seed(0)
    X, y = torch.randn(8, 3, dtype=torch.float64), torch.arange(8) % 2
    modules = [make() for _ in range(n_models)]
    optimizers = None if optimizer is None else [optimizer(m.parameters()) for m in modules]
    tasks = [
        task_of(model_of(module, own, **settings), EpochBatches([(X, y, None)]))
        for module, own in zip(modules, optimizers or [None] * n_models, strict=True)
    ]
    stack = Stack([task.model.objective for task in tasks], optimizers)
    before = copy.deepcopy([module.state_dict() for module in modules])
    made = make_program(tasks, stack, torch.Generator().manual_seed(0))
    for module, state in zip(modules, before, strict=True):
        torch.testing.assert_close(module.state_dict(), state, rtol=0, atol=0)
    return made


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, None])
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (Layer, None),
        (lambda: nn.Sequential(Layer(), nn.BatchNorm1d(2, dtype=torch.float64)), None),
        (lambda: nn.Sequential(Layer(), nn.Dropout(0.5)), None),
        (Warming, "keeps something in its attributes"),
        (Remembering, "keeps something in its attributes"),
        (Skipping, "generators of numpy or Python"),
        (Noisy, "generators of numpy or Python"),
        (Item, "can't be batched"),
    ],
)
def test_what_a_trial_finds(make, reason, optimizer):
    others = random.getstate(), np.random.get_state()[1].copy()
    made = program_of(make, optimizer)
    assert (made.recording is None) == (reason is not None)
    assert (made.reason is None) if reason is None else (reason in made.reason)
    assert random.getstate() == others[0]
    np.testing.assert_array_equal(np.random.get_state()[1], others[1])


def test_sparse_gradients_train_alone():
    assert "can't be batched" in program_of(Sparse).reason


def test_parameters_without_a_gradient():
    assert program_of(PartlyUnused).without_gradient == {
        "module.spare.weight",
        "module.spare.bias",
    }


def test_a_stack_that_takes_longer_is_not_worth_it(monkeypatch):
    monkeypatch.setattr(trial, "MAX_TIME_RATIO", 0.0)
    made = program_of(Layer)
    assert made.recording is None
    assert made.reason.startswith("stacked it takes ")


class Wide(Layer):
    def forward(self, X):
        return Greedy.apply(super().forward(X))


def test_missing_memory_is_told_to_whoever_asks():
    with pytest.raises(torch.OutOfMemoryError):
        program_of(Wide)
    assert program_of(Wide, n_models=2).recording is not None


def test_a_large_step_is_not_tried(monkeypatch):
    monkeypatch.setattr(trial, "MAX_ALONE_SECONDS", 0)
    assert program_of(Layer).reason.startswith("a step takes")
