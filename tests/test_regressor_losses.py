"""The losses of TorchRegressor: what each is known to find, and the targets that it refuses."""

import math

import numpy as np
import pytest
import torch.nn.functional as F
from sklearn.linear_model import LinearRegression, PoissonRegressor
from sklearn.metrics import mean_pinball_loss
from torch import nn

from sktorch import TorchRegressor
from sktorch.losses import QuantileLoss
from sktorch.modules import MLP

SEED, EPOCHS, BATCH_SIZE = 3, 4, 64


def net(**parameters):
    defaults = {"lr": 0.01, "max_epochs": 5, "random_state": 0, "device": "cpu"}
    return TorchRegressor(**(defaults | parameters))


def linear(**parameters):
    """A regressor whose optimum can be computed otherwise."""
    defaults = {
        "module": MLP,
        "module__hidden": (),
        "optimizer": "adam",
        "lr": 0.1,
        "lr_schedule": "cosine",
        "max_epochs": 400,
        "batch_size": 10_000,
        "n_iter_no_change": math.inf,
    }
    return net(**(defaults | parameters))


# What each loss is known to find


def test_squared_errors_find_the_mean(diabetes):
    expected = LinearRegression().fit(*diabetes).predict(diabetes[0])
    np.testing.assert_allclose(linear().fit(*diabetes).predict(diabetes[0]), expected, rtol=1e-2)


@pytest.mark.parametrize(
    ("parameters", "location"),
    [
        ({"criterion": "mse"}, np.mean),
        ({"criterion": nn.L1Loss}, np.median),
        ({"criterion": "huber", "criterion__delta": 1e-2}, np.median),
        ({"criterion": nn.SmoothL1Loss(beta=1e-2)}, np.median),
        ({"criterion": "quantile"}, np.median),
        ({"criterion": "quantile", "criterion__quantile": 0.9}, lambda y: np.quantile(y, 0.9)),
        ({"criterion": QuantileLoss(0.2)}, lambda y: np.quantile(y, 0.2)),
        ({"criterion": "poisson_nll", "lr": 0.3}, np.mean),
        ({"criterion": "poisson_nll", "criterion__log_input": False, "lr": 3.0}, np.mean),
        ({"criterion": "gaussian_nll"}, np.mean),
        ({"criterion": F.l1_loss}, np.median),
    ],
)
def test_what_a_loss_finds_without_features(parameters, location):
    y = np.random.RandomState(0).gamma(2.0, 10.0, 2001)  # The median is well below the mean.
    X = np.zeros((len(y), 1))
    regressor = linear(**parameters).fit(X, y)
    np.testing.assert_allclose(regressor.predict(X[:1]), location(y), rtol=1e-2)


def heteroscedastic(n_rows=3000):
    """y = 10 x plus noise whose deviation is 1 + 2 x."""
    rng = np.random.RandomState(0)
    x = rng.rand(n_rows, 1)
    return x, 10 * x[:, 0] + (1 + 2 * x[:, 0]) * rng.randn(n_rows)


def test_quantiles_cover_what_they_say():
    X, y = heteroscedastic()
    levels = [0.05, 0.5, 0.8]
    several = linear(criterion="quantile", criterion__quantile=levels).fit(X, y)
    predicted = several.predict(X)
    assert predicted.shape == (len(y), 3)
    for upper in (False, True):  # also where the noise is small, and where it is large
        rows = (X[:, 0] > 0.5) == upper
        coverage = (y[rows, None] <= predicted[rows]).mean(axis=0)
        np.testing.assert_allclose(coverage, levels, atol=0.03)
    for column, level in enumerate(levels):
        one = linear(criterion="quantile", criterion__quantile=level).fit(X, y).predict(X)
        assert mean_pinball_loss(y, predicted[:, column], alpha=level) == pytest.approx(
            mean_pinball_loss(y, one, alpha=level), rel=2e-2
        )


def test_a_deviation_that_depends_on_x():
    X, y = heteroscedastic()
    regressor = net(criterion="gaussian_nll", lr=0.02, max_epochs=60).fit(X, y)
    grid = np.linspace(0.1, 0.9, 5)[:, None]
    mean, deviation = regressor.predict(grid, return_std=True)
    np.testing.assert_allclose(mean, 10 * grid[:, 0], atol=0.5)
    np.testing.assert_allclose(deviation, 1 + 2 * grid[:, 0], rtol=0.15)


def test_counts_have_the_rate_of_a_poisson_regression():
    rng = np.random.RandomState(0)
    X = rng.randn(2000, 2)
    y = rng.poisson(np.exp(1 + 0.5 * X[:, 0]))
    expected = PoissonRegressor(alpha=0, tol=1e-8).fit(X, y).predict(X)
    regressor = linear(criterion="poisson_nll").fit(X, y)
    np.testing.assert_allclose(regressor.predict(X), expected, rtol=2e-2)
    assert regressor.predict(X).min() > 0


# Several quantiles


def test_several_quantiles_with_weights():
    X, y = heteroscedastic(500)
    repetitions = np.random.RandomState(0).randint(0, 4, len(y))
    settings = {"criterion": "quantile", "criterion__quantile": [0.1, 0.9], "batch_size": 2000}
    weighted = net(**settings).fit(X, y, sample_weight=repetitions)
    repeated = net(**settings).fit(np.repeat(X, repetitions, 0), np.repeat(y, repetitions))
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), rtol=1e-7)


def test_early_stopping_of_several_quantiles(diabetes):
    X, y = diabetes
    settings = {"criterion": "quantile", "criterion__quantile": (0.1, 0.9), "max_epochs": 60}
    regressor = net(early_stopping=True, n_iter_no_change=3, **settings).fit(X, y)
    losses = regressor.history_[:, "valid_loss"]
    assert regressor.n_epochs_ < 60
    assert regressor.best_epoch_ == np.argmin(losses) + 1
    assert regressor.validation_scores_ is None
    assert "valid_r2" not in regressor.history_[-1]
    with pytest.raises(ValueError, match=r"several quantiles.*mean_pinball_loss"):
        regressor.score(X, y)


def test_a_criterion_set_later_leaves_fitted_scores(diabetes):
    regressor = net(early_stopping=True).fit(*diabetes)
    scores = regressor.validation_scores_
    regressor.set_params(criterion="quantile", criterion__quantile=[0.1, 0.9])
    assert regressor.validation_scores_ == scores
    assert regressor.score(*diabetes) > 0


# Errors

COLUMN = np.arange(6.0)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, r"requires y to be passed"),
        (COLUMN[:5], r"inconsistent numbers of samples: \[6, 5\]"),
        (np.where(COLUMN == 2, np.nan, COLUMN), "y contains NaN"),
        (np.where(COLUMN == 2, np.inf, COLUMN), "y contains infinity"),
        (["a"] * 6, "y has dtype <U1"),
        (["1"] * 6, "y has dtype <U1"),
        (np.zeros((6, 2, 2)), r"expects \(2, 2, 2\)"),
        (np.zeros((6, 0)), r"0 feature\(s\)"),
        (COLUMN + 1j, "Complex data not supported"),
        ([[1.0, 2.0]] * 5 + [[1.0]], "inhomogeneous shape"),
    ],
)
def test_wrong_numbers(y, message):
    regressor = net()
    with pytest.raises(ValueError, match=message):
        regressor.fit(np.zeros((6, 2)), y)
    assert not hasattr(regressor, "net_")


@pytest.mark.parametrize(
    ("criterion", "name"),
    [
        ("cross_entropy", "CrossEntropyLoss"),
        (nn.BCEWithLogitsLoss, "BCEWithLogitsLoss"),
        (nn.NLLLoss(), "NLLLoss"),
        (F.cross_entropy, "CrossEntropyLoss"),
        # Their outputs mean something that a function's name does not say: the class does.
        (F.poisson_nll_loss, "poisson_nll_loss"),
        (F.gaussian_nll_loss, "gaussian_nll_loss"),
        (F.cosine_embedding_loss, "cosine_embedding_loss"),
    ],
)
def test_losses_of_other_targets_are_refused(diabetes, criterion, name):
    with pytest.raises(ValueError, match=rf"criterion {name} does not learn numbers.*MSELoss"):
        net(criterion=criterion).fit(*diabetes)


@pytest.mark.parametrize(
    "train",
    [
        lambda regressor, X, y: regressor.fit(X, y - 100),
        lambda regressor, X, y: regressor.fit(X, y).partial_fit(X, y - 100),
        lambda regressor, X, y: regressor.set_params(validation=(X, y - 100)).fit(X, y),
    ],
    ids=["fit", "partial_fit", "validation"],
)
def test_negative_counts_are_refused(diabetes, train):
    with pytest.raises(ValueError, match=r"y holds -75\.0, but .* loss of counts"):
        train(net(criterion="poisson_nll"), *diabetes)


@pytest.mark.parametrize(
    ("parameters", "n_targets", "message"),
    [
        ({"module": nn.Linear(10, 2)}, 1, r"shape \(2, 2\).*expects \(2, 1\) or \(2,\)"),
        ({"module": nn.Linear(10, 1)}, 2, r"MSELoss\(\) on 2 target\(s\) expects \(2, 2\)"),
        (
            {"module": nn.Linear(10, 1), "criterion": "gaussian_nll"},
            1,
            r"GaussianNLLLoss\(\) on 1 target\(s\) expects \(2, 2\)",
        ),
        (
            {"criterion": "quantile", "criterion__quantile": [0.1, 0.9]},
            2,
            r"takes one target, y has 2.*MultiOutputRegressor",
        ),
        ({"criterion": "quantile", "criterion__quantile": 1.5}, 1, r"quantile=1\.5 must be"),
        ({"criterion": "mean_squared"}, 1, r"criterion='mean_squared' is not known"),
        ({"scale_target": "yes"}, 1, "scale_target must be True or False"),
    ],
)
def test_what_does_not_fit_together(diabetes, parameters, n_targets, message):
    X, y = diabetes
    y = np.column_stack([y] * n_targets)
    with pytest.raises(ValueError, match=message):
        net(**parameters).fit(X.astype("float32"), y)


def test_only_a_loss_of_deviations_gives_them(diabetes):
    regressor = net().fit(*diabetes)
    with pytest.raises(ValueError, match=r"return_std=True needs.*criterion='gaussian_nll'"):
        regressor.predict(diabetes[0], return_std=True)


def test_class_weights_are_no_parameter():
    with pytest.raises(TypeError, match="has no parameter 'class_weight'"):
        TorchRegressor(class_weight="balanced")
