"""Which models are alike, and that a stack gives everything back to its owners."""

import copy
import weakref
from contextlib import nullcontext
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from sktorch.fused.stack import (
    NotStackable,
    Objective,
    Stack,
    fingerprint,
    settings_of,
    skeleton,
    stackable_settings,
)


class Holding(nn.Linear):
    """Holds something in an attribute."""

    def __init__(self, make=lambda layer: None):
        super().__init__(3, 2)
        self.held = make(self)


def hooked_parameter():
    layer = nn.Linear(3, 2)
    layer.weight.register_hook(lambda gradient: gradient * 0)
    return layer


def hooked_layer():
    layer = nn.Linear(3, 2)
    layer.register_forward_hook(lambda *args: None)
    return layer


def normed():
    return weight_norm(nn.Linear(3, 2))


def frozen():
    return nn.Linear(3, 2).requires_grad_(False)


ALIKE = [
    partial(nn.Linear, 3, 2),
    lambda: nn.GRU(3, 2),
    lambda: nn.MultiheadAttention(4, 2),
    partial(Holding, lambda layer: [layer.weight, layer.bias]),
    partial(Holding, lambda layer: [layer, weakref.ref(layer)]),
    partial(Holding, lambda layer: {"activation": torch.tanh, "size": (1, 2.0, None)}),
    partial(Holding, lambda layer: [nn.ReLU()]),
    partial(Holding, lambda layer: partial(torch.relu)),
]
OTHERS = [
    lambda: nn.Linear(3, 2, bias=False),
    lambda: nn.Linear(2, 3),
    lambda: nn.Linear(3, 2).double(),
    lambda: nn.Linear(3, 2).eval(),
    frozen,
    lambda: nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.1)),
    lambda: nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.2)),
    partial(Holding, lambda layer: [layer.weight, layer.bias]),
    partial(Holding, lambda layer: [layer.bias, layer.weight]),
    partial(Holding, lambda layer: 1),
    partial(Holding, lambda layer: 1.0),
    partial(Holding, lambda layer: True),
]
UNLIKE = {
    "has hooks": [hooked_parameter, hooked_layer, normed],
    "not registered": [partial(Holding, lambda layer: [nn.Linear(2, 2)])],
    "Tensor": [partial(Holding, lambda layer: torch.zeros(2))],
    "object": [partial(Holding, lambda layer: object())],
}


@pytest.mark.parametrize("make", ALIKE)
def test_modules_made_the_same_way_are_alike(make):
    one, two = make(), make()
    assert fingerprint(one) == fingerprint(two)
    assert hash(fingerprint(one)) == hash(fingerprint(two))


def test_modules_made_otherwise_are_not():
    prints = [fingerprint(make()) for make in OTHERS]
    assert len(set(prints)) == len(prints)


@pytest.mark.parametrize("message", UNLIKE)
def test_what_cannot_be_compared(message):
    for make in UNLIKE[message]:
        with pytest.raises(NotStackable, match=message):
            fingerprint(make())


def test_a_skeleton_keeps_ties_and_no_memory():
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    bare = skeleton(Objective(tied, nn.MSELoss()))
    assert bare.module[0].weight is bare.module[1].weight
    assert all(p.is_meta for p in bare.parameters())
    assert not tied[0].weight.is_meta


@pytest.mark.parametrize("separate", [False, True])
def test_a_stack_steps_every_model_by_its_own_settings(separate):
    torch.manual_seed(0)
    together = [Objective(nn.Linear(3, 2), nn.MSELoss()) for _ in range(5)]
    alone = copy.deepcopy(together)
    trained = []
    for objectives in (together, alone):
        optimizers = [
            torch.optim.Adam(
                [
                    {"params": [o.module.weight], "weight_decay": 0.1 * (number % 2)},
                    {"params": [o.module.bias], "amsgrad": True},
                ],
                lr=0.1 if number < 3 else 0.01,
            )
            for number, o in enumerate(objectives)
        ]
        trained.append(optimizers)
    for _ in range(2):  # the second finds states
        settings = None if separate else [settings_of(optimizer) for optimizer in trained[0]]
        stack = Stack(together, trained[0], settings)
        gradients = {name: gradient.uniform_() for name, gradient in stack.gradients.items()}
        stack.use_gradients()
        stack.optimizer.step()
        stack.unstack()
        for number, (objective, optimizer) in enumerate(zip(alone, trained[1], strict=True)):
            for name, parameter in objective.named_parameters():
                parameter.grad = gradients[name][number]
            optimizer.step()
    for first, second in zip(together, alone, strict=True):
        torch.testing.assert_close(first.state_dict(), second.state_dict())
    for first, second in zip(*trained, strict=True):
        torch.testing.assert_close(first.state_dict()["state"], second.state_dict()["state"])
        tensors = [t for state in first.state.values() for t in state.values()]
        assert all(t.untyped_storage().nbytes() == t.nbytes for t in tensors)


def test_settings_that_a_schedule_changes_reach_the_stack():
    objectives = [Objective(nn.Linear(3, 2), nn.MSELoss()) for _ in range(3)]
    optimizers = [torch.optim.SGD(o.parameters(), lr=0.1) for o in objectives]
    stack = Stack(objectives, optimizers)
    for number, optimizer in enumerate(optimizers):
        optimizer.param_groups[0]["lr"] = float(number)
    stack.renew_settings()
    assert [group["lr"] for group in stack.optimizer.param_groups] == [0.0, 1.0, 2.0]


def test_models_with_the_same_settings_are_neighbours():
    parameters = [nn.Parameter(torch.zeros(1)) for _ in range(4)]
    adams = [torch.optim.Adam([p], lr=lr) for p, lr in zip(parameters, [1, 2, 1, 2], strict=True)]
    ordered = sorted(adams, key=lambda optimizer: repr(settings_of(optimizer)))
    assert [optimizer.param_groups[0]["lr"] for optimizer in ordered] == [1, 1, 2, 2]


class OwnSGD(torch.optim.SGD):
    """Somebody's own arithmetic."""


def with_hook(optimizer):
    optimizer.register_step_post_hook(lambda *args: None)
    return optimizer


def with_own_step(optimizer):
    optimizer.step = lambda closure=None: None
    return optimizer


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda p: torch.optim.Adam(p), None),
        (lambda p: torch.optim.LBFGS(p), "LBFGS is not known to update element by element"),
        (lambda p: OwnSGD(p), "OwnSGD is not known"),
        (lambda p: with_hook(torch.optim.SGD(p)), "hooks or replaced methods"),
        (lambda p: with_own_step(torch.optim.SGD(p)), "hooks or replaced methods"),
        (lambda p: torch.optim.SGD([{"params": p, "note": object()}]), "can't be compared"),
    ],
)
def test_optimizers_that_can_step_a_stack(make, reason):
    optimizer = make([nn.Parameter(torch.zeros(2))])
    with nullcontext() if reason is None else pytest.raises(NotStackable, match=reason):
        assert stackable_settings(optimizer)


def test_a_scheduled_optimizer_can():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(2))])
    torch.optim.lr_scheduler.StepLR(optimizer, 1)
    assert stackable_settings(optimizer)


def a_stack(make_optimizer=torch.optim.Adam):
    objectives = [Objective(nn.Linear(3, 2), nn.MSELoss()) for _ in range(3)]
    optimizers = [make_optimizer(o.parameters(), lr=0.1) for o in objectives]
    stack = Stack(objectives, optimizers, [0, 0, 0])
    for gradient in stack.gradients.values():
        gradient.fill_(1)
    stack.use_gradients()
    stack.optimizer.step()
    return objectives, optimizers, stack


def write_weight(objectives, optimizers):
    with torch.no_grad():
        objectives[1].module.weight.add_(1)


def load_weight(objectives, optimizers):
    objectives[1].load_state_dict(copy.deepcopy(objectives[0].state_dict()))


def change_lr(objectives, optimizers):
    optimizers[2].param_groups[0]["lr"] = 0.2


def write_state(objectives, optimizers):
    optimizers[0].state[objectives[0].module.bias]["exp_avg"].zero_()


def drop_state(objectives, optimizers):
    del optimizers[0].state[objectives[0].module.bias]


def step_alone(objectives, optimizers):
    objectives[0].module.weight.grad = torch.ones(2, 3)
    optimizers[0].step()


CHANGES = [write_weight, load_weight, change_lr, write_state, drop_state, step_alone]


@pytest.mark.parametrize("change", CHANGES)
def test_a_stack_is_current_until_somebody_changes_a_member(change):
    objectives, optimizers, stack = a_stack()
    assert not stack.is_current(), "it was stepped"
    stack.unstack()
    assert stack.is_current()
    for objective in objectives:
        objective(torch.zeros(4, 3), torch.zeros(4, 2))
        objective.eval()
    assert stack.is_current()
    change(objectives, optimizers)
    assert not stack.is_current()
