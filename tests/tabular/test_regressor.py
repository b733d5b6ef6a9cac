"""What only the regressor has: losses of numbers, their scale, and how far predictions go."""

import numpy as np
import pytest
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split

from tests.tabular.samples import numbers, regressor

X, _, y = numbers()
random = np.random.default_rng(0)


@pytest.fixture(scope="module")
def wave():
    """Rows and numbers with noise of a scale that depends on the row."""
    rows = random.uniform(-1, 1, (1500, 2))
    return rows, np.sin(3 * rows[:, 0]) + (0.2 + rows[:, 1] ** 2) * random.standard_normal(1500)


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_quantiles_cover_as_many_rows(wave, quantile):
    rows, numbers = wave
    fitted = regressor(loss="quantile", quantile=quantile, max_epochs=60, hidden=(32,))
    predicted = fitted.fit(rows[:1000], numbers[:1000]).predict(rows[1000:])
    assert np.mean(numbers[1000:] <= predicted) == pytest.approx(quantile, abs=0.06)


def test_the_absolute_error_is_the_quantile_of_a_half():
    first = regressor(loss="absolute_error").fit(X, y).predict(X)
    second = regressor(loss="quantile", quantile=0.5).fit(X, y).predict(X)
    np.testing.assert_array_equal(first, second)


def test_outliers_do_not_move_the_absolute_error():
    broken = y.copy()
    broken[::10] += 1000.0
    fitted = regressor(loss="absolute_error", max_epochs=150, lr=0.03).fit(X, broken)
    whole = np.arange(90) % 10 != 0
    assert np.median(np.abs(fitted.predict(X) - y)[whole]) < 20


def test_the_prediction_is_the_mean_of_the_members():
    fitted = regressor(max_epochs=20, extrapolate=True).fit(X, y)
    members = fitted._outputs(X)
    assert members.shape == (90, 3, 1)
    np.testing.assert_allclose(members.mean((1, 2)) * y.std() + y.mean(), fitted.predict(X))


@pytest.mark.parametrize(
    ("scale", "offset"),
    [(1, 1e9), (1e-9, 0), (1e-200, 0), (1e200, 0), (1e-310, 0), (1e307, 0), (-1e6, -1e9)],
)
def test_scale_and_offset_of_targets_change_nothing(scale, offset):
    settings = {"max_epochs": 40, "lr": 0.02}
    target = y * scale + offset
    fitted = regressor(**settings).fit(X, target)
    predicted = fitted.predict(X)
    assert np.isfinite(predicted).all()
    expected = regressor(**settings).fit(X, y).predict(X)
    if scale > 0:
        np.testing.assert_allclose((predicted - offset) / scale, expected, atol=1e-3)
    assert r2_score((target - offset) / scale, (predicted - offset) / scale) > 0.5
    assert 0 < fitted.validation_score_ < 1


TAILS = {
    "lognormal": np.exp(2 * X[:, 0] + 0.1 * X[:, 1]),
    "tiny lognormal": 1e-30 * np.exp(2 * X[:, 0]),
    "huge lognormal": 1e30 * np.exp(2 * X[:, 0]),
    "lognormal of a large offset": 1e9 + np.exp(2 * X[:, 0]),
    "cauchy": random.standard_cauchy(90),
    "pareto": random.pareto(0.5, 90),
    "one spike": np.where(np.arange(90) == 5, 1e12, 0.0),
    "counts": random.poisson(1.0, 90),
}


@pytest.mark.parametrize("target", TAILS.values(), ids=TAILS.keys())
@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "quantile"])
def test_wide_tails(target, loss):
    quantile = 0.9 if loss == "quantile" else None
    fitted = regressor(loss=loss, quantile=quantile, max_epochs=20).fit(X, target)
    predicted = fitted.predict(np.concatenate([X, 100 * X]))
    assert np.isfinite(predicted).all()
    assert np.isfinite(fitted.validation_score_)
    margin = 0.11 * np.ptp(target)
    assert target.min() - margin <= predicted.min() <= predicted.max() <= target.max() + margin


@pytest.mark.parametrize(
    ("scale", "offset"),
    [(1, 0), (1, 1e3), (1, 1e6), (1, 1e9), (1e-100, 0), (1e100, 0), (1e300, 0)],
)
def test_lopsided_targets_are_learnt(scale, offset):
    rows, _, _ = numbers(500)
    target = offset + scale * np.exp(rows[:, 0])
    fitted = regressor(max_epochs=100, hidden=(32,), lr=0.02).fit(rows, target)
    assert r2_score(target / scale, fitted.predict(rows) / scale) > 0.9


def test_predictions_leave_the_range_only_if_they_may():
    rows = np.linspace(-1, 1, 200)[:, None]
    target, far = 5 * rows[:, 0], np.array([[-3.0], [3.0]])
    kept = regressor(hidden=(), max_epochs=100, lr=0.05).fit(rows, target)
    free = regressor(hidden=(), max_epochs=100, lr=0.05, extrapolate=True).fit(rows, target)
    assert np.abs(kept.predict(far)).max() <= 6.0
    np.testing.assert_allclose(kept.predict(far), np.clip(free.predict(far), -6, 6))
    assert np.ptp(free.predict(far)) > np.ptp(target)


@pytest.mark.parametrize("value", [0.0, 0.1, -7, 1e9 + 0.1, 1e300, 1e-300])
@pytest.mark.parametrize("loss", ["squared_error", "absolute_error"])
def test_a_constant_is_predicted(value, loss):
    fitted = regressor(loss=loss).fit(X, np.full(90, value))
    np.testing.assert_allclose(fitted.predict(X), value, rtol=1e-12)


def test_the_validation_score_is_an_honest_estimate(wave):
    X_train, X_test, y_train, y_test = train_test_split(*wave, test_size=0.5, random_state=0)
    fitted = regressor(max_epochs=60, hidden=(32,)).fit(X_train, y_train)
    assert fitted.validation_score_ == pytest.approx(fitted.score(X_test, y_test), abs=0.1)
    assert fitted.score(X_test, y_test) > 0.5


def test_weights_pull_predictions():
    target = np.repeat([0.0, 1.0], 45)
    rows = random.standard_normal((90, 1))
    weights = np.where(target == 1, 10.0, 1.0)
    mean = regressor(max_epochs=40).fit(rows, target, sample_weight=weights).predict(rows).mean()
    assert mean == pytest.approx(10 / 11, abs=0.08)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (np.full(90, np.nan), "NaN"),
        (np.where(y > 0, np.inf, y), "infinity"),
        (np.full(90, "a"), "could not convert"),
        (np.column_stack([y, y]), "1d array"),
        (y[1:], "inconsistent"),
        (None, "y"),
    ],
    ids=["missing", "infinite", "texts", "two columns", "too few", "none"],
)
def test_targets_that_are_no_numbers_are_refused(target, said):
    with pytest.raises(ValueError, match=said):
        regressor().fit(X, target)
