"""The bare optimizer does what the whole one does."""

import copy

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import StepLR
from torch.optim.optimizer import register_optimizer_step_pre_hook

from sktorch.training.optimizers import without_hooks
from sktorch.training.step import demands_closure

EXCLUDED = {
    "Optimizer": "is the base class",
    "LBFGS": "needs a closure",
    "SparseAdam": "takes sparse gradients only",
    "Muon": "takes matrices only, no biases",
}
OPTIMIZERS = sorted(
    name
    for name, kind in vars(torch.optim).items()
    if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer) and name not in EXCLUDED
)


def make_module():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Linear(3, 2)


def train(module, optimizer, n_steps=3):
    X = torch.arange(12.0).reshape(4, 3) / 12
    for _ in range(n_steps):
        optimizer.zero_grad()
        module(X).square().sum().backward()
        optimizer.step()


def test_there_are_optimizers_to_test():
    assert len(OPTIMIZERS) >= 11
    assert {"Adam", "AdamW", "SGD", "RMSprop"} <= set(OPTIMIZERS)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_same_steps_bit_for_bit(name):
    kind = getattr(torch.optim, name)
    assert not demands_closure(kind)
    module, other = make_module(), make_module()
    optimizer = kind(other.parameters(), lr=0.01)
    bare = without_hooks(optimizer)
    assert bare is not optimizer
    train(module, kind(module.parameters(), lr=0.01))
    train(other, bare)
    assert torch.equal(module.weight, other.weight)
    assert torch.equal(module.bias, other.bias)
    assert not torch.equal(module.weight, make_module().weight)


def listening(optimizer):
    optimizer.register_step_post_hook(lambda *_: None)


def scheduled(optimizer):
    StepLR(optimizer, step_size=1)  # It counts the steps, in a step of its own.


def replaced(optimizer):
    optimizer.step = optimizer.step


@pytest.mark.parametrize("change", [listening, scheduled, replaced])
def test_an_optimizer_that_somebody_listens_to_is_used_as_it_is(change):
    optimizer = torch.optim.SGD(make_module().parameters(), lr=0.1)
    change(optimizer)
    assert without_hooks(optimizer) is optimizer


def test_a_global_hook_is_called():
    optimizer, calls = torch.optim.SGD(make_module().parameters(), lr=0.1), []
    handle = register_optimizer_step_pre_hook(lambda *_: calls.append(1))
    try:
        train(make_module(), without_hooks(optimizer), n_steps=2)
    finally:
        handle.remove()
    assert calls == [1, 1]
    assert without_hooks(optimizer) is not optimizer


def test_a_zero_grad_of_its_own_is_called():
    class Keeping(torch.optim.SGD):
        def zero_grad(self, set_to_none=True):
            super().zero_grad(set_to_none=False)

    module = make_module()
    optimizer = Keeping(module.parameters(), lr=0.1)
    assert without_hooks(copy.copy(optimizer)) is not None
    assert without_hooks(optimizer) is optimizer
