"""No model of NaN or infinity is returned as fitted, nor one that was never trained."""

# ruff: noqa: PT017 - some may be answered or refused, and what refuses has to say why

import joblib
import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from torch import nn

from sktorch import TorchClassifier, TorchRegressor

RNG = np.random.default_rng(0)
X = RNG.random((60, 4), dtype=np.float32)
y = np.arange(60) % 2

# Settings under which the last step of a training leaves no finite weights.
DIVERGING = {
    "one epoch of one batch": {"lr": 1e38, "max_epochs": 1},
    "the last of several batches": {"lr": 1e38, "max_epochs": 1, "batch_size": 30},
    "the largest rate": {"lr": 1.7e308, "max_epochs": 1},
    "sgd": {"lr": 3e38, "max_epochs": 1, "optimizer": "sgd", "optimizer__momentum": 0.9},
    "accumulated": {"lr": 1e38, "max_epochs": 1, "gradient_accumulation": 4, "batch_size": 20},
    "clipped": {"lr": 1e38, "max_epochs": 1, "gradient_clip": 1.0},
    "decay of weights": {"lr": 1.0, "optimizer__weight_decay": 1e39, "max_epochs": 1},
    "a loss that is NaN": {"criterion": lambda o, t: (o * np.nan).mean(), "max_epochs": 1},
}


def makes_a_nan(module, inputs, output):
    return output * np.nan


def net(kind=TorchClassifier, **parameters):
    return kind(**{"random_state": 0} | parameters)


def weights_of(estimator):
    return torch.cat([p.detach().flatten() for p in estimator.module_.parameters()]).numpy()


def outputs_of(estimator):
    return (
        estimator.predict_proba(X) if hasattr(estimator, "predict_proba") else estimator.predict(X)
    )


def refused(train):
    """Whether the training ends in an error that says why."""
    try:
        train(X, y)
    except ValueError as error:
        assert any(word in str(error) for word in ("lr", "finite", "nan", "inf")), error
        return True
    return False


@pytest.mark.parametrize("kind", [TorchClassifier, TorchRegressor])
@pytest.mark.parametrize("settings", DIVERGING.values(), ids=DIVERGING.keys())
def test_a_training_that_diverges_is_an_error(kind, settings):
    fresh = net(kind, **settings)
    if refused(fresh.fit):
        with pytest.raises(NotFittedError):
            fresh.predict(X)
    else:
        assert np.isfinite(outputs_of(fresh)).all()


@pytest.mark.parametrize("kind", [TorchClassifier, TorchRegressor])
@pytest.mark.parametrize("settings", DIVERGING.values(), ids=DIVERGING.keys())
@pytest.mark.parametrize("call", ["partial_fit", "warm_start"])
def test_a_training_that_goes_on_and_diverges_leaves_the_model_as_it_was(kind, settings, call):
    fitted = net(kind, max_epochs=2, warm_start=True).fit(X, y)
    before = weights_of(fitted)
    # A new loss would make a new net necessary; what diverges here is the step.
    fitted.set_params(**{k: v for k, v in settings.items() if k != "criterion"})
    if "criterion" in settings:
        fitted.module_.register_forward_hook(makes_a_nan)
    if refused(fitted.fit if call == "warm_start" else fitted.partial_fit):
        np.testing.assert_array_equal(weights_of(fitted), before)
    else:
        assert np.isfinite(outputs_of(fitted)).all()


def test_a_first_partial_fit_that_diverges_is_an_error():
    with pytest.raises(ValueError, match="lr"):
        net(lr=1e38).partial_fit(X, y, classes=[0, 1])


def test_a_training_that_diverges_in_a_stack_is_an_error():
    diverging = net(lr=1e38, max_epochs=1)
    with joblib.parallel_config("sktorch"), pytest.raises(ValueError, match="lr"):
        cross_val_score(diverging, X, y, cv=KFold(3), error_score="raise")


@pytest.mark.filterwarnings("ignore")
def test_a_member_that_diverges_does_not_fail_the_others_in_a_stack():
    grid = {"lr": [1e-3, 1e38, 1e-2]}
    with joblib.parallel_config("sktorch"):
        search = GridSearchCV(net(max_epochs=2), grid, cv=KFold(3)).fit(X, y)
    failed = np.isnan(search.cv_results_["mean_test_score"])
    np.testing.assert_array_equal(failed, [False, True, False])


class LaterNaN(nn.Module):
    """Gives NaN for batches it never saw in training: it remembers how often it was called."""

    def __init__(self, n_features, n_outputs):
        super().__init__()
        self.output = nn.Linear(n_features, n_outputs)
        self.register_buffer("trained", torch.zeros(()))

    def forward(self, X):
        if self.training:
            self.trained += 1
        return self.output(X) / (self.trained < 5)


def test_the_best_weights_are_kept_before_those_that_diverge():
    stable = net(module=LaterNaN, early_stopping=True, max_epochs=3).fit(X, y)
    assert np.isfinite(stable.predict_proba(X)).all()
    assert 1 <= stable.best_epoch_ <= 3


# Targets that float32 can't hold, or whose mean and square float32 or float64 can't.
SHAPE = np.linspace(-1, 1, 60)
TARGETS = {
    "1e39": 1e39 * SHAPE,
    "1e200": 1e200 * SHAPE,
    "1e300": 1e300 * SHAPE,
    "the largest": np.finfo(np.float64).max * SHAPE,
    "1e39 beside small": np.column_stack([1e39 * SHAPE, SHAPE]),
    "1e39 with an offset": 1e39 * (SHAPE + 10),
    "1e-50": 1e-50 * SHAPE,
    "usual": 1e3 * SHAPE,
    "1e30": 1e30 * SHAPE,
}


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("settings", [{}, {"scale_target": False, "lr": 1e-3}])
def test_targets_beyond_float32_are_predicted_or_refused(target, dtype, settings):
    given = np.column_stack([SHAPE, SHAPE**2, RNG.random((60, 2))]).astype(dtype)
    fresh = TorchRegressor(max_epochs=100, random_state=0, **{"lr": 0.01} | settings)
    try:
        predicted = fresh.fit(given, target).predict(given)
    except ValueError as error:
        assert " y " in f" {error} " or "lr" in str(error)
        return
    assert np.isfinite(predicted).all()
    if not settings and np.abs(target).max() > 1e-30:
        scale = np.abs(target).max(0)
        assert np.abs(predicted / scale - target / scale).max() < 1


@pytest.mark.parametrize("size", [1e30, 1e200, 1e306, 3e307, 1.7e308])
@pytest.mark.parametrize("kind", [TorchClassifier, TorchRegressor])
def test_weights_of_any_size_train_the_model_of_weights_of_one(kind, size):
    def trained(weights):
        return weights_of(net(kind, max_epochs=2).fit(X, y, sample_weight=weights))

    uneven = np.where(np.arange(60) < 30, 1.0, 0.5)
    np.testing.assert_allclose(trained(size * uneven), trained(uneven), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("size", [1e-300, 1e-320])
def test_tiny_weights_train_the_model_of_weights_of_one(size):
    def trained(weights):
        return weights_of(net(max_epochs=2).fit(X, y, sample_weight=weights))

    np.testing.assert_allclose(trained(np.full(60, size)), trained(np.ones(60)), atol=1e-6)


def test_class_weights_whose_sum_overflows_train_the_model_of_equal_ones():
    def trained(weight):
        weights = {0: weight, 1: weight}
        return weights_of(net(max_epochs=2, class_weight=weights).fit(X, y))

    np.testing.assert_allclose(trained(1e308), trained(1.0), atol=1e-6)


def test_scores_with_weights_whose_sum_overflows_are_finite_or_refused():
    fitted = net(max_epochs=2).fit(X, y)
    try:
        value = fitted.score(X, y, sample_weight=np.full(60, 1e308))
    except ValueError as error:
        assert "weight" in str(error)
    else:
        assert value == pytest.approx(fitted.score(X, y))


def test_inputs_beyond_float32_are_refused():
    def in_float32(n_features, n_outputs):
        return nn.Linear(n_features, n_outputs)

    with pytest.raises(ValueError, match="X"):
        net(module=in_float32, max_epochs=1).fit(X.astype(np.float64) * 1e300, y)


BEYOND = {
    "array": np.full((3, 4), 1e300),
    "one value": np.where(np.arange(12).reshape(3, 4) == 5, 1e300, 0.0),
    "tensor": torch.full((3, 4), 1e300, dtype=torch.float64),
    "integers as floats": np.full((3, 4), 1e39),
    "dataset": torch.utils.data.TensorDataset(torch.full((3, 4), 1e300, dtype=torch.float64)),
}


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function", "score"])
@pytest.mark.parametrize("kind", [TorchClassifier, TorchRegressor])
@pytest.mark.parametrize("rows", BEYOND)
def test_rows_beyond_the_module_s_floats_are_not_predicted(rows, kind, method):
    fitted = net(kind, max_epochs=1).fit(X, y)
    if not hasattr(fitted, method):
        method = "predict"
    targets = [y[:3]] * (method == "score")
    given = "the dataset" if rows == "dataset" else "X"
    with pytest.raises(ValueError, match=f"outputs for {given} hold NaN or infinity.*scale X"):
        getattr(fitted, method)(BEYOND[rows], *targets)


class Masked(nn.Module):
    """Rules out the last class by a score of -inf."""

    def __init__(self, n_features, n_outputs):
        super().__init__()
        self.output = nn.Linear(n_features, n_outputs)

    def forward(self, X):
        scores = self.output(X)
        return torch.cat([scores[:, :-1], torch.full_like(scores[:, -1:], -torch.inf)], 1)


def test_classes_that_a_module_rules_out_are_predicted():
    fitted = net(module=Masked, max_epochs=1)
    labels = np.where(np.arange(60) < 2, 2, y)
    weights = (labels < 2) + 0.0
    fitted = fitted.fit(X, labels, sample_weight=weights)
    assert (fitted.predict_proba(X)[:, 2] == 0).all()
    assert (fitted.predict(X) < 2).all()
