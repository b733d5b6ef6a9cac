"""A schedule stays in step with a hand-written loop over torch's own scheduler."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from sktorch.training.loop import train_epoch
from sktorch.training.named_schedules import SCHEDULES
from sktorch.training.objective import Objective
from sktorch.training.optimizers import without_hooks
from sktorch.training.precision import Precision
from sktorch.training.step import make_step
from tests.training.schedules import (
    BY_HAND,
    BY_HAND_IDS,
    LRS,
    N_BATCHES,
    N_EPOCHS,
    N_STEPS,
    VALUES,
    by_hand,
    lrs_of,
    make,
    make_optimizer,
    scheduled,
)


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


@pytest.mark.parametrize("name", SCHEDULES)
def test_training_goes_on_where_it_began(name):
    needed = {
        "cosine_log": {"warm_up": 0},  # It rises from zero by itself.
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
        schedule = make(name, optimizer, **{"warm_up": 0.5} | needed.get(name, {}))
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
    with pytest.raises(ValueError, match=r"can't be used.*momentum"):
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
