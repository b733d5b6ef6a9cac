"""The schedules of recipes for tables, against their formulas."""

import pickle
from functools import partial

import numpy as np
import pytest
from sklearn.datasets import load_iris
from torch.optim import lr_scheduler

from sktorch import TorchClassifier
from sktorch.training.cosine_schedulers import CosineLogLR, FlatCosineLR
from tests.training.schedules import (
    LRS,
    N_BATCHES,
    N_EPOCHS,
    RECIPES,
    by_hand,
    flat_cosine,
    make,
    make_optimizer,
    scheduled,
)


@pytest.mark.parametrize(("name", "parameters", "scheduler", "per_batch"), RECIPES)
def test_a_recipe_is_its_formula(name, parameters, scheduler, per_batch):
    optimizer, other = make_optimizer(), make_optimizer()
    schedule = make(name, optimizer, **parameters)
    assert schedule.per_batch == per_batch
    expected = by_hand(scheduler(other), other, per_batch)
    np.testing.assert_allclose(scheduled(schedule, optimizer), expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["flat_cosine", "cosine_log"])
def test_recipes_end_near_zero_and_train_in_every_epoch(name):
    optimizer = make_optimizer()
    lrs = scheduled(make(name, optimizer, step_every="epoch"), optimizer)
    assert all(lr > 0 for step in lrs for lr in step)
    assert all(by_group[0] / LRS[0] == pytest.approx(by_group[1] / LRS[1]) for by_group in lrs)
    optimizer = make_optimizer()
    lrs = scheduled(
        make(name, optimizer, n_epochs=100, step_every="batch"), optimizer, 100, [1.0] * 100
    )
    assert lrs[-1][0] < 0.01 * max(lr for lr, _ in lrs)


def test_schedulers_of_recipes_are_pickled():
    for kind in (FlatCosineLR, CosineLogLR):
        scheduler = kind(make_optimizer(), total_iters=10)
        for _ in range(3):
            scheduler.optimizer.step()
            scheduler.step()
        again = pickle.loads(pickle.dumps(scheduler))
        assert again.get_last_lr() == scheduler.get_last_lr()
        for own in (scheduler, again):
            own.optimizer.step()
            own.step()
        assert again.get_last_lr() == scheduler.get_last_lr()


def test_a_warm_up_comes_before_what_is_flat():
    optimizer, other = make_optimizer(), make_optimizer()
    seen = scheduled(make("flat_cosine", optimizer, warm_up=2), optimizer)
    n_warm = 2 * N_BATCHES
    ramp = np.arange(1, n_warm + 1) / (n_warm + 1)
    np.testing.assert_allclose(seen[:n_warm], np.outer(ramp, LRS))
    scheduler = lr_scheduler.LambdaLR(other, partial(flat_cosine, n_steps=N_EPOCHS - 2))
    np.testing.assert_allclose(
        seen[n_warm:], by_hand(scheduler, other, False)[: len(seen) - n_warm]
    )


def test_an_only_batch_is_trained_on():
    X, y = load_iris(return_X_y=True)
    model = TorchClassifier(lr_schedule="cosine_log", max_epochs=1, batch_size=1000, device="cpu")
    assert model.fit(X, y).history_[-1, "lr"] > 0
