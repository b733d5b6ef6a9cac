"""Replayed steps of an optimizer are those of the optimizer."""

import pytest
import torch
from torch import nn

from sktorch.recording.replayed_optimizer import ReplayedOptimizer

UNSUITED = {
    "Optimizer": "is the base class",
    "LBFGS": "needs a closure",
    "SparseAdam": "takes sparse gradients only",
    "Muon": "takes matrices only, no biases",
}
OPTIMIZERS = sorted(
    name
    for name, kind in vars(torch.optim).items()
    if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer) and name not in UNSUITED
)
FUSED = {
    "Adam": {"fused": True, "amsgrad": True},
    "AdamW": {"fused": True},
    "SGD": {"fused": True, "momentum": 0.9, "weight_decay": 0.1},
    "Adagrad": {"fused": True},
}


class Counting:
    """An optimizer that counts its steps."""

    def __init__(self, optimizer):
        self.optimizer, self.n_steps = optimizer, 0

    def step(self):
        self.n_steps += 1
        self.optimizer.__class__.step.__wrapped__(self.optimizer)


def make_module():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Linear(3, 2)


@pytest.mark.parametrize(
    ("name", "settings"), [*FUSED.items(), *((name, {}) for name in OPTIMIZERS)]
)
def test_replayed_steps_are_the_same_bit_for_bit(name, settings):
    kind = getattr(torch.optim, name)
    modules = make_module(), make_module()
    whole, other = (kind(module.parameters(), lr=0.01, **settings) for module in modules)
    counting = Counting(other)
    replayed = ReplayedOptimizer(counting)
    for module in modules:
        for parameter in module.parameters():
            parameter.grad = torch.empty_like(parameter)
    for number in range(6):
        for module in modules:
            for parameter in module.parameters():
                parameter.grad.copy_(torch.arange(parameter.numel()).view_as(parameter) - number)
        whole.step()
        replayed.step()
    for expected, parameter in zip(*(module.parameters() for module in modules), strict=True):
        assert torch.equal(expected, parameter)
    states = (optimizer.state_dict()["state"].items() for optimizer in (whole, other))
    for expected, state in zip(*states, strict=True):
        assert str(expected) == str(state)
    if settings:
        assert counting.n_steps <= 2, "it is not called any more"
