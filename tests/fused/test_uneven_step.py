"""Stacks whose models have batches of several lengths are those of each model alone."""

import pytest
import torch
from torch import nn

from sktorch.fused import trial
from sktorch.fused.fuser import Fuser
from sktorch.fused.stack import Stack
from tests.fused.epochs import model_of, task_of
from tests.fused.training import OPTIMIZERS, Normed, batches_of, mlp, models, train_alone

pytestmark = pytest.mark.usefixtures("no_step_is_large")


@pytest.fixture
def n_unstacked(monkeypatch):
    """A list with an entry for each time that a stack was taken apart, whatever it takes."""
    monkeypatch.setattr(trial, "MAX_TIME_RATIO", float("inf"))
    times, real = [], Stack.unstack

    def unstack(self):
        times.append(self.width)
        real(self)

    monkeypatch.setattr(Stack, "unstack", unstack)
    return times


def trained(make, optimizer, sizes, *, n_epochs, together):
    """Return losses and states after epochs of batches of twelve rows, of so many rows."""
    modules = models(make, len(sizes))
    optimizers = [OPTIMIZERS[optimizer](m.parameters(), 0.05) for m in modules]
    batches = [batches_of(number, size, 12, False) for number, size in enumerate(sizes)]
    if together:
        pairs = zip(modules, optimizers, batches, strict=True)
        tasks = [
            task_of(model_of(module, optimizer), drawn.repeated(n_epochs).epoch())
            for module, optimizer, drawn in pairs
        ]
        Fuser(1).run(tasks)
        assert all(task.error is None for task in tasks)
        losses = [task.losses for task in tasks]
    else:
        losses = []
        for parts in zip(modules, optimizers, batches, strict=True):
            own = [[part] for part in parts]
            losses += train_alone(own[0], [nn.CrossEntropyLoss()], *own[1:], n_epochs)
    states = [
        (m.state_dict(), o.state_dict()["state"]) for m, o in zip(modules, optimizers, strict=True)
    ]
    return losses, states


# Rows of each model; how often stacks are taken apart in four epochs.
SIZES = {
    "of two lengths": ([40, 41, 40, 41, 41, 40], 1),
    "all short alike": ([41, 41, 41, 41], 1),
    "one of its own length": ([40, 40, 40, 47], 1),
    "none short": ([48, 48, 48], 1),
}


@pytest.mark.parametrize("make", [mlp, Normed])
@pytest.mark.parametrize("optimizer", ["adam", "momentum"])
@pytest.mark.parametrize(("sizes", "n_stacks"), SIZES.values(), ids=SIZES)
def test_lengths_that_differ(make, optimizer, sizes, n_stacks, n_unstacked):
    together = trained(make, optimizer, sizes, n_epochs=4, together=True)
    assert len(n_unstacked) == n_stacks
    alone = trained(make, optimizer, sizes, n_epochs=4, together=False)
    torch.testing.assert_close(together, alone, rtol=1e-7, atol=1e-9)


class ByLength(nn.Module):
    """A net that trains other parameters in a short batch."""

    def __init__(self):
        super().__init__()
        self.full, self.short = (nn.Linear(16, 3, dtype=torch.float64) for _ in range(2))

    def forward(self, X):
        return (self.full if len(X) == 12 else self.short)(X.flatten(1))


@pytest.mark.parametrize("optimizer", ["adam", "momentum"])
def test_lengths_that_train_other_parameters_go_on_in_other_stacks(optimizer, n_unstacked):
    sizes, _ = SIZES["of two lengths"]
    together = trained(ByLength, optimizer, sizes, n_epochs=2, together=True)
    assert len(n_unstacked) > 2
    alone = trained(ByLength, optimizer, sizes, n_epochs=2, together=False)
    torch.testing.assert_close(together, alone, rtol=1e-7, atol=1e-9)


def test_lengths_without_a_program_go_on_in_other_stacks(n_unstacked, monkeypatch):
    monkeypatch.setattr(Fuser, "_part_program", lambda self, job, tasks: None)
    sizes, _ = SIZES["of two lengths"]
    together = trained(mlp, "adam", sizes, n_epochs=2, together=True)
    assert len(n_unstacked) > 2
    alone = trained(mlp, "adam", sizes, n_epochs=2, together=False)
    torch.testing.assert_close(together, alone, rtol=1e-7, atol=1e-9)
