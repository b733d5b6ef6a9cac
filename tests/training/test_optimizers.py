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


@pytest.mark.parametrize("name", [name for name in EXCLUDED if hasattr(torch.optim, name)])
def test_what_is_excluded_can_not_train_a_plain_module(name):
    module, kind = make_module(), getattr(torch.optim, name)
    with pytest.raises((NotImplementedError, TypeError, ValueError, RuntimeError)):
        train(module, kind(module.parameters(), {} if name == "Optimizer" else 0.01))


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="Muon came with torch 2.9")
def test_matrices_of_muon():
    modules = [make_module(), make_module()]
    whole, other = (torch.optim.Muon([module.weight], lr=0.01) for module in modules)
    bare = without_hooks(other)
    assert bare is not other
    for module, optimizer in zip(modules, (whole, bare), strict=True):
        train(module, optimizer)
    assert torch.equal(modules[0].weight, modules[1].weight)
    assert not torch.equal(modules[0].weight, make_module().weight)


def test_sparse_gradients_of_sparse_adam():
    def table(wrap):
        torch.manual_seed(0)
        embedding = nn.Embedding(5, 3, sparse=True)
        optimizer = wrap(torch.optim.SparseAdam(embedding.parameters(), lr=0.1))
        for _ in range(3):
            optimizer.zero_grad()
            embedding(torch.tensor([0, 2, 2])).square().sum().backward()
            optimizer.step()
        return embedding.weight

    with torch.random.fork_rng():
        assert torch.equal(table(without_hooks), table(lambda optimizer: optimizer))


@pytest.mark.parametrize(
    "options",
    [
        {"fused": True},
        {"foreach": True},
        {"foreach": False},
        {"amsgrad": True, "weight_decay": 0.1, "maximize": True},
    ],
    ids=str,
)
def test_variants_of_adam_and_groups_of_their_own(options):
    def groups(module):
        return [{"params": [module.weight], "lr": 0.1}, {"params": [module.bias]}]

    modules = [make_module(), make_module()]
    whole, other = (torch.optim.Adam(groups(module), **options) for module in modules)
    train(modules[0], whole)
    train(modules[1], without_hooks(other))
    assert torch.equal(modules[0].weight, modules[1].weight)
    assert torch.equal(modules[0].bias, modules[1].bias)
    assert whole.state_dict()["state"].keys() == other.state_dict()["state"].keys()


def test_a_learning_rate_that_changes_is_taken():
    modules = [make_module(), make_module()]
    whole, other = (torch.optim.Adam(module.parameters(), lr=0.1) for module in modules)
    bare = without_hooks(other)
    for lr in (0.1, 0.01):
        for optimizer in (whole, other):
            optimizer.param_groups[0]["lr"] = lr
        train(modules[0], whole)
        train(modules[1], bare)
    assert torch.equal(modules[0].weight, modules[1].weight)


@pytest.mark.parametrize("kind", ["pre", "post"])
def test_hooks_are_called_until_they_are_removed(kind):
    module, calls = make_module(), []
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    handle = getattr(optimizer, f"register_step_{kind}_hook")(lambda *_: calls.append(kind))
    train(module, without_hooks(optimizer), n_steps=2)
    assert calls == [kind] * 2
    handle.remove()
    assert without_hooks(optimizer) is not optimizer


def test_a_schedule_sees_every_step():
    module = make_module()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    schedule = StepLR(optimizer, step_size=1)
    train(module, without_hooks(optimizer))
    schedule.step()  # torch warns here, an error in tests, if it saw no step.
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01)


def test_a_replaced_zero_grad_of_one_instance_is_called():
    module, calls = make_module(), []
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    original = optimizer.zero_grad

    def watched():
        calls.append(1)
        original()

    optimizer.zero_grad = watched
    train(module, without_hooks(optimizer), n_steps=2)
    assert calls == [1, 1]


def test_an_overridden_step_is_called():
    calls = []

    class Counting(torch.optim.SGD):
        def step(self, closure=None):
            calls.append(1)
            return super().step(closure)

    module, expected = make_module(), make_module()
    train(module, without_hooks(Counting(module.parameters(), lr=0.1)))
    train(expected, torch.optim.SGD(expected.parameters(), lr=0.1))
    assert calls == [1, 1, 1]
    assert torch.equal(module.weight, expected.weight)
