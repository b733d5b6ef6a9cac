"""Steps of a block done by one program are those done one by one; what fails changes nothing."""

import copy

import pytest
import torch
from torch import nn

from sktorch.fused import lockstep
from sktorch.fused.lockstep import LockstepEpoch, StackStep
from tests.fused.training import OPTIMIZERS, batches_of, mlp, models, train_together

pytestmark = pytest.mark.usefixtures("no_step_is_large")


@pytest.fixture
def loops(monkeypatch):
    """The lengths of blocks whose steps one program has done."""
    lengths, real = [], lockstep._do_steps

    def do_steps(run, tensors, further, block):
        lengths.append(len(block))
        return real(run, tensors, further, block)

    monkeypatch.setattr(lockstep, "_do_steps", do_steps)
    return lengths


def trained(optimizer, batches, n_epochs=3):
    """Return the losses, and all states, after some epochs of a stack."""
    modules = models(mlp, len(batches))
    optimizers = [OPTIMIZERS[optimizer](m.parameters(), 0.05) for m in modules]
    criteria = [nn.CrossEntropyLoss() for _ in modules]
    losses = train_together(modules, criteria, optimizers, batches, n_epochs)
    states = [
        (m.state_dict(), o.state_dict()["state"]) for m, o in zip(modules, optimizers, strict=True)
    ]
    return losses, states


# Whether an optimizer's step is a list of operations in place.
IN_PLACE = {"adam": True, "sgd": True, "momentum": False}


@pytest.mark.parametrize("optimizer", IN_PLACE)
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_a_block_is_its_steps(optimizer, shared, weighted, loops, monkeypatch):
    weights = torch.rand(60, dtype=torch.float64) if weighted else None
    batches = [batches_of(n, 40, 7, not shared, weights) for n in range(3)]
    batches = batches[:1] * 3 if shared else batches
    together = trained(optimizer, batches)
    assert (sum(loops) > 8) == IN_PLACE[optimizer]
    monkeypatch.setattr(StackStep, "loop", lambda self, block: None)
    torch.testing.assert_close(trained(optimizer, batches), together, rtol=0, atol=0)


def test_what_fails_in_a_block_leaves_all_as_it_was(monkeypatch):
    batches = [batches_of(n, 40, 7) for n in range(3)]
    expected = trained("adam", batches)
    real, seen = LockstepEpoch._run_block, []

    def run_block(self, block):
        real(self, block)
        seen.append(self)
        if len(seen) == 2:
            self.stack.trained["module.1.weight"].fill_(torch.nan)
            raise RuntimeError("in the middle")

    monkeypatch.setattr(LockstepEpoch, "_run_block", run_block)
    losses, states = trained("adam", copy.deepcopy(batches))
    assert len(seen) > 2
    torch.testing.assert_close((losses, states), expected, rtol=1e-7, atol=1e-9)
