"""Each name, class and function against torch's own scheduler in a hand-written loop."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from sktorch.training.named_schedules import SCHEDULES, schedule_parameters
from tests.training.schedules import (
    BY_HAND,
    BY_HAND_IDS,
    LRS,
    N_EPOCHS,
    N_STEPS,
    RECIPES,
    by_hand,
    lrs_of,
    make,
    make_optimizer,
    scheduled,
)


def test_every_name_is_compared():
    assert {name for name, *_ in [*BY_HAND, *RECIPES]} | {"plateau"} == SCHEDULES.keys()


@pytest.mark.parametrize(("name", "parameters", "scheduler", "per_batch"), BY_HAND, ids=BY_HAND_IDS)
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW, torch.optim.RMSprop])
def test_a_name_gives_the_learning_rates_of_torch(name, parameters, scheduler, per_batch, kind):
    optimizer, other = make_optimizer(kind), make_optimizer(kind)
    schedule = make(name, optimizer, **parameters)
    assert schedule.per_batch == per_batch
    expected = by_hand(scheduler(other), other, per_batch)
    np.testing.assert_allclose(scheduled(schedule, optimizer), expected, rtol=1e-12)
    for name in ("momentum", "betas"):
        got = [group.get(name) for group in optimizer.param_groups]
        assert got == [group.get(name) for group in other.param_groups]


@pytest.mark.parametrize(
    ("name", "scheduler"),
    [
        ("step", partial(lr_scheduler.StepLR, step_size=2)),
        ("multi_step", partial(lr_scheduler.MultiStepLR, milestones=[3, 4])),
        ("exponential", partial(lr_scheduler.ExponentialLR, gamma=0.01 ** (1 / N_EPOCHS))),
        ("cosine_warm_restarts", partial(lr_scheduler.CosineAnnealingWarmRestarts, T_0=2)),
    ],
)
def test_a_name_leaves_nothing_open(name, scheduler):
    optimizer, other = make_optimizer(), make_optimizer()
    seen = scheduled(make(name, optimizer), optimizer)
    np.testing.assert_allclose(seen, by_hand(scheduler(other), other, False, N_STEPS))


CLASSES = [
    (lr_scheduler.CosineAnnealingLR, {}, {"T_max": N_EPOCHS}, False),
    (lr_scheduler.OneCycleLR, {}, {"max_lr": list(LRS), "total_steps": N_STEPS}, True),
    (lr_scheduler.LinearLR, {}, {}, False),  # torch's own default: it rises for five epochs.
    (lr_scheduler.PolynomialLR, {}, {}, False),
    (lr_scheduler.LambdaLR, {"lr_lambda": lambda epoch: 0.5**epoch}, None, False),
]


@pytest.mark.parametrize(("kind", "parameters", "by_torch", "per_batch"), CLASSES)
def test_a_class_keeps_its_defaults(kind, parameters, by_torch, per_batch):
    optimizer, other = make_optimizer(), make_optimizer()
    scheduler = kind(other, **(parameters if by_torch is None else by_torch))
    expected = by_hand(scheduler, other, per_batch)
    assert scheduled(make(kind, optimizer, **parameters), optimizer) == expected


def own(optimizer, gamma=0.5):
    """A chain, which needs schedulers of the very optimizer it is given."""
    return lr_scheduler.ChainedScheduler(
        [lr_scheduler.ExponentialLR(optimizer, gamma), lr_scheduler.StepLR(optimizer, 2)]
    )


@pytest.mark.parametrize(
    ("function", "parameters"),
    [(own, {}), (own, {"gamma": 0.9}), (partial(own, gamma=0.8), {})],
)
def test_a_function(function, parameters):
    optimizer, other = make_optimizer(), make_optimizer()
    expected = by_hand(function(other, **parameters), other, per_batch=False)
    assert scheduled(make(function, optimizer, **parameters), optimizer) == expected


def test_a_subclass_with_parameters_of_its_own():
    class Halfway(lr_scheduler.CosineAnnealingLR):
        def __init__(self, optimizer, depth=0.5):
            super().__init__(optimizer, T_max=N_EPOCHS, eta_min=depth * LRS[0])

    assert schedule_parameters(Halfway) == ("depth", "warm_up", "step_every")
    optimizer = make_optimizer(lrs=LRS[:1])
    assert scheduled(make(Halfway, optimizer), optimizer)[-1][0] < LRS[0]
    assert min(lrs[0] for lrs in scheduled(make(Halfway, optimizer), optimizer)) >= LRS[0] / 2


@pytest.mark.parametrize("name", ["one_cycle", "OneCycle", "onecycle", "Cosine", "WARM", None])
def test_names_are_found_by_their_letters(name):
    if name in (None, "WARM"):
        with pytest.raises((TypeError, ValueError), match="lr_schedule"):
            make(name, make_optimizer())
    else:
        assert make(name, make_optimizer()).lrs


@pytest.mark.parametrize("name", ["adagrad", "adadelta", "rprop", "asgd"])
@pytest.mark.parametrize("cycle", ["one_cycle", "cyclic"])
def test_a_cycle_of_an_optimizer_without_momentum(name, cycle):
    kinds = {kind.__name__.lower(): kind for kind in vars(torch.optim).values() if callable(kind)}
    optimizer = make_optimizer(kinds[name])
    assert max(scheduled(make(cycle, optimizer), optimizer))[0] == pytest.approx(LRS[0], rel=0.1)


WRONG = [
    ("cosin", {}, r"lr_schedule='cosin' is not known\. Did you mean 'cosine'\?.* step\."),
    ("cosinelog4", {}, "Did you mean 'cosine_log'"),
    ("quick", {}, r"lr_schedule='quick' is not known\. .*constant, cosine"),
    (lr_scheduler.StepLR, {}, r"needs its parameter step_size\. Give lr_schedule__step_size"),
    (lr_scheduler.MultiStepLR, {}, "needs its parameter milestones"),
    (lr_scheduler.LambdaLR, {}, "needs its parameter lr_lambda"),
    ("step", {"stepsize": 1}, "lr_schedule__stepsize. Did you mean lr_schedule__step_size"),
    ("cosine", {"tmax": 1}, r"no parameter lr_schedule__tmax.* It takes T_max, eta_min, warm_up"),
    ("cosine", {"last_epoch": 1}, "no parameter lr_schedule__last_epoch"),
    ("constant", {"warmup": 1}, "Did you mean lr_schedule__warm_up"),
    (own, {"gama": 1}, "no parameter lr_schedule__gama. Did you mean lr_schedule__gamma"),
    ("constant", {"warm_up": -1}, "warm_up=-1 must be a number of epochs, not negative"),
    ("constant", {"warm_up": N_EPOCHS}, "less than the 6 to train"),
    ("constant", {"warm_up": "1"}, "warm_up='1' must be a number"),
    ("constant", {"warm_up": math.nan}, "warm_up=nan must be a number"),
    ("cosine", {"step_every": "step"}, "step_every='step' must be 'batch', 'epoch' or None"),
    ("plateau", {"step_every": "batch"}, "can't be used with a schedule that looks at the value"),
    ("plateau", {"factor": 2}, r"lr_schedule__factor=.*Factor should be < 1\.0"),
    ("flat_cosine", {"flat_fraction": 1}, "flat_fraction=1 must be a number from 0 to less than 1"),
    ("flat_cosine", {"flat_fraction": -0.1}, "flat_fraction=-0.1 must be a number"),
    ("flat_cosine", {"flat_fraction": "half"}, "flat_fraction='half' must be a number"),
    ("flat_cosine", {"flat_fractio": 0.5}, "Did you mean lr_schedule__flat_fraction"),
    (
        "cosine_log",
        {"warm_up": 1},
        "warm_up is given, but the schedule starts at a rate of zero",
    ),
    ("cosine_log", {"n_cycles": 0}, "n_cycles=0 must be a positive number"),
    ("cosine_log", {"n_cycles": None}, "n_cycles=None must be a positive number"),
    ("cosine_log", {"total_iters": 0}, "total_iters=0 must be a positive number of steps"),
    ("one_cycle", {"total_steps": 9}, "total_steps=9, but training takes 30"),
]


@pytest.mark.parametrize(("kind", "parameters", "message"), WRONG)
def test_wrong_schedules_fail_before_training(kind, parameters, message):
    optimizer = make_optimizer()
    with pytest.raises(ValueError, match=message):
        make(kind, optimizer, **parameters)
    assert lrs_of(optimizer) == list(LRS)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (torch.optim.SGD, "must be a name"),
        (3, "lr_schedule=3 must be a name"),
        (lambda optimizer: optimizer, "returned _ParameterGroups; expected a scheduler"),
    ],
)
def test_what_is_no_schedule(kind, message):
    with pytest.raises(TypeError, match=message):
        make(kind, make_optimizer())


OWN = ("warm_up", "step_every")


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("step", ("step_size", "gamma", *OWN)),
        ("cosine", ("T_max", "eta_min", *OWN)),
        (lr_scheduler.ExponentialLR, ("gamma", *OWN)),
        (own, ("gamma", *OWN)),
        (lambda optimizer, **settings: None, None),
        (max, None),  # Its signature can't be told.
    ],
)
def test_names_of_parameters(kind, names):
    assert schedule_parameters(kind) == names
