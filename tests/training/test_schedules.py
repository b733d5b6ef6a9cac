"""Each schedule against a hand-written loop over torch's own scheduler."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from sktorch.training.loop import train_epoch
from sktorch.training.objective import Objective
from sktorch.training.optimizers import without_hooks
from sktorch.training.precision import Precision
from sktorch.training.schedules import SCHEDULES, make_schedule, schedule_parameters
from sktorch.training.step import make_step

N_EPOCHS, N_BATCHES = 6, 5
N_STEPS = N_EPOCHS * N_BATCHES
LRS = (0.5, 0.1)
VALUES = [3.0, 2.0, 2.0, 2.5, 1.0, 1.5]

# Name, parameters, torch's scheduler, and whether it steps after each batch.
BY_HAND = [
    ("constant", {}, partial(lr_scheduler.ConstantLR, factor=1.0), False),
    (
        "constant",
        {"factor": 0.5, "total_iters": 3},
        partial(lr_scheduler.ConstantLR, factor=0.5, total_iters=3),
        False,
    ),
    ("cosine", {}, partial(lr_scheduler.CosineAnnealingLR, T_max=N_EPOCHS), False),
    (
        "cosine",
        {"T_max": 3, "eta_min": 0.01},
        partial(lr_scheduler.CosineAnnealingLR, T_max=3, eta_min=0.01),
        False,
    ),
    (
        "cosine",
        {"step_every": "batch"},
        partial(lr_scheduler.CosineAnnealingLR, T_max=N_STEPS),
        True,
    ),
    (
        "cosine_warm_restarts",
        {"T_0": 2},
        partial(lr_scheduler.CosineAnnealingWarmRestarts, T_0=2),
        False,
    ),
    (
        "cyclic",
        {},
        partial(
            lr_scheduler.CyclicLR,
            base_lr=[lr / 4 for lr in LRS],
            max_lr=list(LRS),
            step_size_up=2 * N_BATCHES,
        ),
        True,
    ),
    (
        "cyclic",
        {"base_lr": 0.1, "max_lr": 1.0, "step_size_up": 3, "mode": "triangular2"},
        partial(lr_scheduler.CyclicLR, base_lr=0.1, max_lr=1.0, step_size_up=3, mode="triangular2"),
        True,
    ),
    ("exponential", {"gamma": 0.5}, partial(lr_scheduler.ExponentialLR, gamma=0.5), False),
    (
        "linear",
        {},
        partial(lr_scheduler.LinearLR, start_factor=1.0, end_factor=0.0, total_iters=N_EPOCHS),
        False,
    ),
    (
        "multi_step",
        {"milestones": [1, 3]},
        partial(lr_scheduler.MultiStepLR, milestones=[1, 3]),
        False,
    ),
    (
        "one_cycle",
        {},
        partial(lr_scheduler.OneCycleLR, max_lr=list(LRS), total_steps=N_STEPS),
        True,
    ),
    (
        "one_cycle",
        {"max_lr": 2.0, "epochs": 8, "steps_per_epoch": N_BATCHES},
        partial(lr_scheduler.OneCycleLR, max_lr=2.0, epochs=8, steps_per_epoch=N_BATCHES),
        True,
    ),
    ("polynomial", {}, partial(lr_scheduler.PolynomialLR, total_iters=N_EPOCHS), False),
    (
        "polynomial",
        {"power": 2, "total_iters": 3},
        partial(lr_scheduler.PolynomialLR, power=2, total_iters=3),
        False,
    ),
    ("step", {"step_size": 2}, partial(lr_scheduler.StepLR, step_size=2), False),
]
BY_HAND_IDS = [f"{name}-{'-'.join(parameters) or 'filled'}" for name, parameters, *_ in BY_HAND]


def make_optimizer(kind=torch.optim.SGD, lrs=LRS, **settings):
    """An optimizer of a parameter group per learning rate; a further one is its default."""
    groups = [{"params": [nn.Parameter(torch.ones(2))], "lr": lr} for lr in lrs]
    return kind(groups, lr=7.0, **settings)


def step(optimizer, bare=None):
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.ones_like(parameter)
    (bare or optimizer).step()


def lrs_of(optimizer):
    return [float(group["lr"]) for group in optimizer.param_groups]


def scheduled(schedule, optimizer, n_epochs=N_EPOCHS, values=VALUES):
    """The learning rates at each step of a training with a schedule, with the bare optimizer."""
    bare, seen = without_hooks(optimizer), []
    for epoch in range(n_epochs):
        for _ in range(N_BATCHES):
            seen.append(lrs_of(optimizer))
            step(optimizer, bare)
            schedule.after_batch()
        schedule.after_epoch(values[epoch])
    return seen


def by_hand(scheduler, optimizer, per_batch, n_steps=N_STEPS):
    """The same with torch alone; a cycle has no learning rate after its last step."""
    seen = []
    for _ in range(N_EPOCHS):
        for _ in range(N_BATCHES):
            seen.append(lrs_of(optimizer))
            step(optimizer)
            if per_batch and len(seen) < n_steps:
                scheduler.step()
        if not per_batch:
            scheduler.step()
    return seen


def make(kind, optimizer, n_epochs=N_EPOCHS, n_batches=N_BATCHES, sign=-1, **parameters):
    return make_schedule(
        kind, optimizer, n_epochs=n_epochs, n_batches=n_batches, parameters=parameters, sign=sign
    )


def test_every_name_is_compared():
    assert {name for name, *_ in BY_HAND} | {"plateau"} == SCHEDULES.keys()


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


@pytest.mark.parametrize(("sign", "mode"), [(-1, "min"), (1, "max")])
@pytest.mark.parametrize("kind", ["plateau", lr_scheduler.ReduceLROnPlateau])
def test_plateau_looks_at_the_value(sign, mode, kind):
    optimizer, other = make_optimizer(), make_optimizer()
    expected, scheduler = [], lr_scheduler.ReduceLROnPlateau(other, mode=mode, patience=0)
    for value in VALUES:
        expected += [lrs_of(other)] * N_BATCHES
        scheduler.step(value)
    schedule = make(kind, optimizer, sign=sign, patience=0)
    assert not schedule.per_batch
    assert scheduled(schedule, optimizer) == expected
    assert len({tuple(lrs) for lrs in expected}) > 2
    with pytest.raises(ValueError, match=r"looks at a loss or score .* and there is none"):
        schedule.after_epoch()


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


@pytest.mark.parametrize(("name", "parameters", "scheduler", "per_batch"), BY_HAND, ids=BY_HAND_IDS)
@pytest.mark.parametrize("warm_up", [1, 1.4, 0.4])
def test_a_warm_up_comes_before(name, parameters, scheduler, per_batch, warm_up):
    """The named schedule follows over what is left, an epoch that has begun included."""
    n_warm = round(warm_up * N_BATCHES)
    optimizer, other = make_optimizer(), make_optimizer()
    seen = scheduled(make(name, optimizer, warm_up=warm_up, **parameters), optimizer)
    ramp = np.arange(1, n_warm + 1) / (n_warm + 1)
    np.testing.assert_allclose(seen[:n_warm], np.outer(ramp, seen[n_warm]))
    if parameters == {"step_every": "batch"}:
        scheduler = partial(lr_scheduler.CosineAnnealingLR, T_max=N_STEPS - n_warm)
    elif "total_steps" in scheduler.keywords:
        scheduler = partial(scheduler, total_steps=N_STEPS - n_warm)
    elif not parameters and "total_iters" in scheduler.keywords:
        scheduler = partial(scheduler, total_iters=N_EPOCHS - int(warm_up))
    elif not parameters and "T_max" in scheduler.keywords:
        scheduler = partial(scheduler, T_max=N_EPOCHS - int(warm_up))
    expected = by_hand(scheduler(other), other, per_batch, N_STEPS - n_warm)
    skipped = 0 if per_batch else n_warm % N_BATCHES
    np.testing.assert_allclose(seen[n_warm:], expected[skipped:][: len(seen) - n_warm])


def test_a_warm_up_before_plateau():
    optimizer = make_optimizer(lrs=[1.0])
    schedule = make("plateau", optimizer, warm_up=2, patience=0)
    seen = scheduled(schedule, optimizer, values=[0.0, 9.0, 2.0, 3.0, 2.5, 9.0])
    first_of_epoch = [lrs[0] for lrs in seen[::N_BATCHES]]
    # What the warm-up's epochs were worth does not count, so epoch 3 is the best.
    assert first_of_epoch == pytest.approx([1 / 11, 6 / 11, 1, 1, 0.1, 0.01])


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


@pytest.mark.parametrize("name", ["cosine", "one_cycle", "cyclic", "plateau", "linear"])
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_the_learning_rate_may_be_a_tensor(name, kind):
    numbers = make_optimizer(kind, foreach=False)
    optimizer = make_optimizer(kind, lrs=[torch.tensor(lr) for lr in LRS], foreach=False)
    tensors = [group["lr"] for group in optimizer.param_groups]
    schedule, expected = (
        make(name, o, warm_up=1, **({"patience": 0} if name == "plateau" else {}))
        for o in (optimizer, numbers)
    )
    np.testing.assert_allclose(
        scheduled(schedule, optimizer), scheduled(expected, numbers), rtol=1e-4, atol=1e-7
    )
    schedule.restore()
    assert [group["lr"] for group in optimizer.param_groups] == tensors
    assert all(group["lr"] is t for group, t in zip(optimizer.param_groups, tensors, strict=True))
    assert schedule.lrs == pytest.approx(LRS)


@pytest.mark.parametrize("name", ["adagrad", "adadelta", "rprop", "asgd"])
@pytest.mark.parametrize("cycle", ["one_cycle", "cyclic"])
def test_a_cycle_of_an_optimizer_without_momentum(name, cycle):
    kinds = {kind.__name__.lower(): kind for kind in vars(torch.optim).values() if callable(kind)}
    optimizer = make_optimizer(kinds[name])
    assert max(scheduled(make(cycle, optimizer), optimizer))[0] == pytest.approx(LRS[0], rel=0.1)


@pytest.mark.parametrize("name", SCHEDULES)
def test_training_goes_on_where_it_began(name):
    needed = {
        "cosine_warm_restarts": {"T_0": 2},
        "exponential": {"gamma": 0.5},
        "multi_step": {"milestones": [1, 3]},
        "plateau": {"patience": 0},
        "step": {"step_size": 2},
    }
    optimizer = make_optimizer(torch.optim.Adam)
    before = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
    runs = []
    for _ in range(2):
        schedule = make(name, optimizer, warm_up=0.5, **needed.get(name, {}))
        runs.append(scheduled(schedule, optimizer))
        schedule.restore()
        after = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
        assert after == before
    assert runs[0] == runs[1]


def test_an_earlier_scheduler_is_forgotten():
    optimizer = make_optimizer()
    by_hand(lr_scheduler.ExponentialLR(optimizer, 0.5), optimizer, per_batch=False)
    lrs = lrs_of(optimizer)
    assert make("cosine", optimizer).lrs == lrs


def test_the_optimizer_stays_plain():
    optimizer = make_optimizer()
    before = vars(optimizer).keys() - {"param_groups"}
    schedule = make("one_cycle", optimizer)
    assert vars(optimizer).keys() - {"param_groups"} == before
    assert "step" not in vars(optimizer)
    assert without_hooks(optimizer) is not optimizer
    assert scheduled(schedule, optimizer)  # Warnings are errors: torch's check found its steps.


def test_a_state_that_is_loaded_while_training():
    optimizer = make_optimizer()
    schedule = make("exponential", optimizer, gamma=0.5)
    state = optimizer.state_dict()
    schedule.after_epoch()
    optimizer.load_state_dict(state)
    schedule.after_epoch()
    assert lrs_of(optimizer) == [lr / 2 for lr in LRS]


def test_what_fails_leaves_the_optimizer_as_it_was():
    optimizer = make_optimizer()
    before = [group.copy() for group in optimizer.param_groups]
    with pytest.raises(ValueError, match=r"can't be made with .*momentum"):
        make("cyclic", optimizer, base_momentum=[0.1] * 3)
    assert [group.copy() for group in optimizer.param_groups] == before


def test_steps_beyond_the_planned_ones_keep_the_learning_rate():
    optimizer = make_optimizer()
    schedule = make("one_cycle", optimizer)
    last = scheduled(schedule, optimizer)[-1]
    assert scheduled(schedule, optimizer, n_epochs=1) == [last] * N_BATCHES
    assert min(last) > 0


@pytest.mark.parametrize("name", ["cosine", "plateau", "step"])
def test_the_number_of_batches_need_not_be_known(name):
    optimizer = make_optimizer()
    parameters = {"step_size": 2} if name == "step" else {}
    schedule = make(name, optimizer, n_batches=None, **parameters)
    assert scheduled(schedule, optimizer)
    with pytest.raises(ValueError, match="the number of batches in an epoch is not known"):
        make(name, optimizer, n_batches=None, warm_up=1, **parameters)


def test_one_epoch_of_one_batch():
    for name in ("one_cycle", "cyclic", "cosine", "linear", "polynomial", "constant"):
        for warm_up in (0, 0.5):
            schedule = make(name, make_optimizer(), n_epochs=1, n_batches=1, warm_up=warm_up)
            schedule.after_batch()
            schedule.after_epoch()


WRONG = [
    ("cosin", {}, r"lr_schedule='cosin' is not known\. Did you mean 'cosine'\?.* step\."),
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
    ("plateau", {"factor": 2}, r"can't be made with .*Factor should be < 1\.0"),
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


def train_digits(images, labels, after_batch, after_epoch, module, optimizer):
    X, y = torch.as_tensor(images).flatten(1)[:320], torch.as_tensor(labels)[:320]
    objective = Objective(module, nn.CrossEntropyLoss())
    training = make_step(objective, optimizer, Precision.named("float32", "cpu"))
    losses = []
    for _ in range(4):
        batches = zip(X.split(32), y.split(32), [None] * 10, strict=True)

        def step(batch, *place):
            result = training(batch, *place)
            after_batch()
            return result

        losses += train_epoch(module, step, batches)[0]
        after_epoch()
    return losses


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_training_on_digits_is_that_of_a_loop_by_hand(digits_images, kind):
    """The learning rates reach the bare optimizer: the weights are those of torch's own loop."""
    weights, losses = [], []
    for schedules in (True, False):
        module = nn.Linear(64, 10)
        nn.init.zeros_(module.weight)
        nn.init.zeros_(module.bias)
        optimizer = kind(module.parameters(), lr=0.05)
        if schedules:
            schedule = make("one_cycle", optimizer, n_epochs=4, n_batches=10)
            hooks = schedule.after_batch, schedule.after_epoch
        else:
            scheduler, count = lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=40), [0]

            def after_batch(scheduler=scheduler, count=count):
                count[0] += 1
                if count[0] < 40:
                    scheduler.step()

            hooks = after_batch, lambda: None
        losses.append(train_digits(*digits_images, *hooks, module, optimizer))
        weights.append(module.weight)
    assert torch.equal(*weights)
    assert losses[0] == losses[1]
    assert losses[0][-1] < losses[0][0] / 1.5
