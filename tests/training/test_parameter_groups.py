"""Groups of parameters by patterns, with learning rates of their own and as factors."""

from functools import partial

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from torch import nn
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

from sktorch import TorchClassifier
from sktorch.fused import trial
from sktorch.modules import MLP

X = np.random.default_rng(0).random((60, 4), dtype=np.float32)
y = np.arange(60) % 2
SLOW = {"lr": 1e-5}

RIGHT = {
    "biases": [("*.bias", SLOW)],
    "one name": [("1.weight", SLOW)],
    "biases, then the rest": [("*.bias", SLOW), ("*", {"lr": 1e-4})],
    "two that share none": [("1.*", SLOW), ("3.*", SLOW)],
    "everything": [("*", SLOW)],
    "two that overlap": [("1.*", SLOW), ("*.bias", SLOW)],
}
# The groups, and the pattern that is to be named.
WRONG = {
    "a name of no parameter": ([("*.biases", SLOW)], "*.biases"),
    "a prefix of no layer": ([("encoder.*", SLOW)], "encoder.*"),
    "a part of a name": ([("bias", SLOW)], "bias"),
    "one of two": ([("*.bias", SLOW), ("head.*", SLOW)], "head.*"),
    "taken by the one before": ([("*", SLOW), ("*.bias", SLOW)], "*.bias"),
    "twice the same": ([("*.bias", SLOW), ("*.bias", {"lr": 1e-4})], "*.bias"),
    "taken by two before": ([("1.*", SLOW), ("3.*", SLOW), ("*.weight", SLOW)], "*.weight"),
}


def net(**parameters):
    return TorchClassifier(MLP, **{"max_epochs": 1, "random_state": 0} | parameters)


@pytest.mark.parametrize("groups", RIGHT.values(), ids=RIGHT.keys())
def test_patterns_that_match_make_groups(groups):
    optimizer = net(optimizer__param_groups=groups).fit(X, y).optimizer_
    filled = [group for group in optimizer.param_groups if group["params"]]
    assert len(filled) >= len(groups)
    assert sum(len(group["params"]) for group in filled) == 4
    assert [group["lr"] for group in filled[: len(groups)]] == [own["lr"] for _, own in groups]


@pytest.mark.parametrize(("groups", "pattern"), WRONG.values(), ids=WRONG.keys())
@pytest.mark.parametrize("optimizer", ["adamw", "sgd", torch.optim.RMSprop])
def test_a_pattern_without_a_parameter_is_refused(groups, pattern, optimizer):
    with pytest.raises(ValueError, match="optimizer__param_groups") as caught:
        net(optimizer=optimizer, optimizer__param_groups=groups).fit(X, y)
    assert repr(pattern) in str(caught.value)


@pytest.mark.parametrize(("groups", "pattern"), WRONG.values(), ids=WRONG.keys())
def test_a_pattern_without_a_parameter_is_refused_where_training_goes_on(groups, pattern):
    fitted = net(warm_start=True).fit(X, y)
    before = fitted.predict_proba(X)
    with pytest.raises(ValueError, match="optimizer__param_groups"):
        fitted.set_params(optimizer__param_groups=groups).fit(X, y)
    np.testing.assert_array_equal(fitted.predict_proba(X), before)


def test_an_initializer_without_a_parameter_is_refused():
    with pytest.raises(ValueError, match="initializer"):
        net(initializer={"encoder.*": "zeros"}).fit(X, y)


# Learning rates as factors

FACTORS = [("1.*", {"lr_factor": 6}), ("*.bias", {"lr_factor": 0.1, "weight_decay": 0.0})]


def lrs_of(fitted):
    return [group["lr"] for group in fitted.optimizer_.param_groups]


def by_hand(lr, make_scheduler=None, by_batch=False, values=(), n_epochs=4):
    """Train the default net's twin by torch alone, at 6 lr, 0.1 lr and lr."""
    torch.manual_seed(0)
    module = MLP(4, 2)
    *_, first, _, last = module
    optimizer = torch.optim.AdamW(
        [
            {"params": [first.bias, first.weight], "lr": 6 * lr},
            {"params": [last.bias], "lr": 0.1 * lr, "weight_decay": 0.0},
            {"params": [last.weight], "lr": lr},
        ],
        fused=True,
    )
    scheduler = make_scheduler and make_scheduler(optimizer)
    loader = DataLoader(
        TensorDataset(torch.tensor(X), torch.tensor(y)), batch_size=20, shuffle=True
    )
    n_steps = 0
    for epoch in range(n_epochs):
        for batch, target in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(batch), target).backward()
            optimizer.step()
            n_steps += 1
            if by_batch and n_steps < 12:
                scheduler.step()
        if scheduler and not by_batch:
            scheduler.step(*values[epoch : epoch + 1])
    return module


# A name, its parameters, torch's scheduler, whether it steps by batch, and values to look at.
FOLLOWING = {
    "no schedule": (None, {}, None, False),
    "cosine": ("cosine", {}, partial(lr_scheduler.CosineAnnealingLR, T_max=4), False),
    "step": ("step", {"step_size": 2}, partial(lr_scheduler.StepLR, step_size=2), False),
    "one cycle": (
        "one_cycle",
        {},
        partial(lr_scheduler.OneCycleLR, max_lr=[0.06, 0.001, 0.01], total_steps=12),
        True,
    ),
    "plateau": (
        "plateau",
        {"patience": 0, "threshold": 1e9, "threshold_mode": "abs"},
        partial(lr_scheduler.ReduceLROnPlateau, patience=0, threshold=1e9, threshold_mode="abs"),
        False,
        (1.0,) * 4,
    ),
    "warm-up": (
        "constant",
        {"warm_up": 2},
        partial(lr_scheduler.LambdaLR, lr_lambda=lambda batch: min(1, (batch + 1) / 7)),
        True,
    ),
}


@pytest.mark.parametrize("case", FOLLOWING.values(), ids=FOLLOWING.keys())
def test_factors_are_those_of_a_loop_by_hand(case):
    name, parameters, *reference = case
    fitted = net(
        max_epochs=4,
        batch_size=20,
        lr=0.01,
        lr_schedule=name,
        optimizer__param_groups=FACTORS,
        tol=-np.inf,
        **{f"lr_schedule__{key}": value for key, value in parameters.items()},
    ).fit(X, y)
    for ours, theirs in zip(
        fitted.module_.parameters(), by_hand(0.01, *reference).parameters(), strict=True
    ):
        assert torch.equal(ours, theirs)
    assert lrs_of(fitted) == [0.06, 0.001, 0.01]  # for what comes next


def test_factors_are_replayed():
    fitted = net(max_epochs=40, batch_size=20, lr=0.01, tol=-np.inf)
    fitted.set_params(optimizer__param_groups=FACTORS).fit(X, y)
    assert fitted.eager_reason_ is None
    expected = by_hand(0.01, n_epochs=40)
    for ours, theirs in zip(fitted.module_.parameters(), expected.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_history_has_the_learning_rate_itself():
    fitted = net(max_epochs=2, lr=0.01, lr_schedule="constant", optimizer__param_groups=FACTORS)
    assert fitted.fit(X, y).history_[:, "lr"] == [0.01, 0.01]


@pytest.mark.parametrize("name", ["lr", "optimizer__lr"])
def test_factors_follow_a_learning_rate_that_changes(name):
    fitted = net(warm_start=True, optimizer__param_groups=FACTORS, **{name: 0.01}).fit(X, y)
    assert lrs_of(fitted) == [0.06, 0.001, 0.01]
    assert lrs_of(fitted.set_params(**{name: 0.5}).fit(X, y)) == [3.0, 0.05, 0.5]
    assert lrs_of(fitted.partial_fit(X, y)) == [3.0, 0.05, 0.5]
    fitted.set_params(optimizer__param_groups=[("*.bias", {"lr_factor": 0})]).fit(X, y)
    assert lrs_of(fitted) == [0.0, 0.5]


@pytest.mark.parametrize("lr_schedule", [None, "cosine", "one_cycle"])
def test_a_search_over_lr_moves_all_groups_stacked_as_alone(lr_schedule, monkeypatch, capsys):
    for limit in ("MAX_TIME_RATIO", "MAX_ALONE_SECONDS"):  # no test depends on time
        monkeypatch.setattr(trial, limit, float("inf"))
    model = net(
        max_epochs=3, batch_size=16, optimizer__param_groups=FACTORS, lr_schedule=lr_schedule
    )
    search = GridSearchCV(model, {"lr": [0.01, 0.5]}, cv=2, scoring="neg_log_loss")
    alone = clone(search).fit(X, y)
    with joblib.parallel_config("sktorch", verbose=1):
        together = clone(search).fit(X, y)
    assert "train together" in capsys.readouterr().out
    for key in ("split0_test_score", "split1_test_score"):
        np.testing.assert_allclose(together.cv_results_[key], alone.cv_results_[key], rtol=1e-5)
    best = alone.best_params_["lr"]
    assert lrs_of(alone.best_estimator_) == [best * 6, best * 0.1, best]


WRONG_FACTORS = {
    "negative": (-1, "lr_factor=-1 of '1\\.\\*' must be a number"),
    "text": ("0.1", "lr_factor='0.1' .* must be a number"),
    "None": (None, "lr_factor=None .* must be a number"),
    "infinite": (np.inf, "lr_factor=inf .* finite"),
    "NaN": (np.nan, "lr_factor=nan .* finite"),
    "a boolean": (True, "lr_factor=True .* must be a number"),
}


@pytest.mark.parametrize(("factor", "message"), WRONG_FACTORS.values(), ids=WRONG_FACTORS.keys())
def test_wrong_factors_are_refused(factor, message):
    with pytest.raises(ValueError, match=message):
        net(optimizer__param_groups=[("1.*", {"lr_factor": factor})]).fit(X, y)


def test_a_rate_beside_a_factor_is_refused():
    both = [("1.*", {"lr": 0.1, "lr_factor": 0.1})]
    with pytest.raises(ValueError, match="has both lr and lr_factor"):
        net(optimizer__param_groups=both).fit(X, y)


@pytest.mark.parametrize("name", ["lr_mult", "lr_scale", "lr_multiplier", "lr_facto"])
def test_other_names_of_the_factor_lead_to_it(name):
    with pytest.raises(ValueError, match="Did you mean 'lr_factor'"):
        net(optimizer__param_groups=[("1.*", {name: 0.1})]).fit(X, y)
