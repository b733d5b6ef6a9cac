"""A stack steps every model by its own settings, and gives everything back to its owners."""

import copy
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from sktorch.fused.stack import Stack, settings_of, skeleton, stackable_settings
from sktorch.training.fingerprint import NotStackable
from sktorch.training.objective import Objective


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


def write_data(objectives, optimizers):
    objectives[2].module.weight.data.clamp_(0)


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


CHANGES = [change_lr, write_state, drop_state, step_alone]


@pytest.mark.parametrize("change", CHANGES)
def test_a_stack_serves_until_an_optimizer_is_changed(change):
    objectives, optimizers, stack = a_stack()
    assert not stack.renew(), "it was stepped"
    stack.unstack()
    assert stack.renew()
    change(objectives, optimizers)
    assert not stack.renew()


@pytest.mark.parametrize("change", [write_weight, load_weight, write_data])
def test_values_that_are_written_to_a_model_reach_its_stack(change):
    objectives, optimizers, stack = a_stack()
    stack.unstack()
    change(objectives, optimizers)
    assert stack.renew()
    for objective, weight in zip(objectives, stack.trained["module.weight"], strict=True):
        assert torch.equal(objective.module.weight, weight)
