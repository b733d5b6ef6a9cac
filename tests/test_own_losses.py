"""An own loss decides what outputs and targets are, and says what predictions are made of them.

The one documented way (a proposal, to be settled with issue 11): **the loss has the methods**.

    class Mixture(nn.Module):
        def forward(self, output, target): ...        # as ever: a loss of output and target
        def predict(self, output): ...                # what `predict` returns, a row each
        def predict_proba(self, output): ...          # what `predict_proba` returns (classifiers)

- The loss is what gives outputs their meaning, so it is where their reading belongs: it is what
  sktorch's own losses do inside (`GaussianNLLLoss` is read as its mean, `PoissonNLLLoss` as exp).
- No new parameter of the estimator: `criterion` is searched, cloned and pickled as it is, and a
  search over `criterion=[Mixture(3), Mixture(5)]` can't pair a loss with the reading of another.
- `predict` gets what the module returned for some rows, a tensor, tuple or dict of tensors, and
  returns one tensor with a row each. `score` compares `predict` with y as ever (accuracy or R²)
  unless the loss has `score(output, target)`. For `TorchRegressor`, targets are scaled only if
  asked for (`scale_target` is "auto": off for a loss with `predict`), so that nothing has to be
  scaled back that is no number in the scale of y.
- `forward` may name more than output and target: `X` (the inputs of the batch) and `module`
  (for auxiliary terms that it keeps, such as a KL divergence). What it does not name it does not
  get. A loss without `target` among its names trains without y: `fit(X)` for autoencoders.
- Without `predict`, outputs of the shape of y are the predictions, as now; anything else is refused
  in `fit`, by an error that names `predict(output)` of the criterion.

What stands here holds for whatever way is chosen; `reading` is the only place that knows it.
"""

import math
import pickle

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict
from torch import nn

from sktorch import TorchClassifier, TorchRegressor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)).astype(np.float32)
y = X[:, 0] + 0.1 * RNG.normal(size=60)


class Width(nn.Module):
    """A linear layer of a width that the data does not decide."""

    def __init__(self, n_features, width):
        super().__init__()
        self.output = nn.Linear(n_features, width)

    def forward(self, X):
        return self.output(X)


class Mixture(nn.Module):
    """Negative log-likelihood of a mixture of normals: three numbers a component."""

    def __init__(self, n_components=3):
        super().__init__()
        self.n_components = n_components

    def forward(self, output, target):
        weight, mean, log_std = output.chunk(3, dim=1)
        z = (target.reshape(-1, 1) - mean) / log_std.exp()
        log_p = weight.log_softmax(1) - z**2 / 2 - log_std - math.log(2 * math.pi) / 2
        return -log_p.logsumexp(1).mean()

    def predict(self, output):
        weight, mean, _ = output.chunk(3, dim=1)
        return (weight.softmax(1) * mean).sum(1)


class Cox(nn.Module):
    """Partial likelihood of survival: one risk a row, targets (time, whether it ended)."""

    def forward(self, output, target):
        time, ended = target.T
        risk = output.reshape(-1)[time.argsort(descending=True)]
        ended = ended[time.argsort(descending=True)]
        return -((risk - risk.logcumsumexp(0)) * ended).sum() / ended.sum().clamp(min=1)

    def predict(self, output):
        return output.reshape(-1)


SURVIVAL = np.column_stack([np.exp(y), np.arange(60) % 2])

CASES = {
    "mixture": (Mixture, {"module__width": 9}, y),
    "survival": (Cox, {"module__width": 1}, SURVIVAL),
}
by_case = pytest.mark.parametrize("case", CASES)


def reading(criterion):
    """Settings by which predictions are read from the outputs: the one way, in one place."""
    return {"criterion": criterion}


def net(criterion, **parameters):
    defaults = {"max_epochs": 5, "lr": 0.05, "random_state": 0, "scale_target": False}
    return TorchRegressor(Width, **defaults | reading(criterion) | parameters)


def of_case(case, **parameters):
    criterion, settings, target = CASES[case]
    return net(criterion, **settings | parameters), target


@by_case
def test_a_loss_of_any_output_and_target_is_trained(case):
    fresh, target = of_case(case, max_epochs=20)
    fitted = fresh.fit(X, target)
    assert fitted.loss_curve_[-1] < fitted.loss_curve_[0]


@by_case
def test_predictions_are_what_is_read_from_the_outputs(case):
    fresh, target = of_case(case)
    fitted = fresh.fit(X, target)
    with torch.no_grad():
        by_hand = CASES[case][0]().predict(fitted.module_(torch.from_numpy(X)))
    np.testing.assert_allclose(fitted.predict(X), by_hand, atol=1e-6)


@by_case
def test_what_reads_outputs_is_cloned_pickled_and_cross_validated(case):
    fresh, target = of_case(case)
    fitted = clone(fresh).fit(X, target)
    other = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(other.predict(X), fitted.predict(X))
    assert cross_val_predict(fresh, X, target, cv=KFold(3)).shape == (60,)


def test_what_reads_outputs_is_searched():
    grid = {"criterion__n_components": [1, 3], "module__width": [9]}
    fresh = net(Mixture)
    search = GridSearchCV(fresh, grid, cv=2, scoring="r2", error_score="raise").fit(X, y)
    assert search.predict(X).shape == (60,)
    with joblib.parallel_config("sktorch"):
        together = GridSearchCV(fresh, grid, cv=2, scoring="r2", error_score="raise").fit(X, y)
    np.testing.assert_allclose(
        together.cv_results_["mean_test_score"], search.cv_results_["mean_test_score"], atol=1e-5
    )


def silent(output, target):
    return (output.sum(1) - target.reshape(-1)).square().mean()


def weak(output, target):
    return (output - target.mean(1, keepdim=True)).square().mean()


AMBIGUOUS = {
    "more outputs than targets": (TorchRegressor, silent, {"width": 9}, y),
    "fewer outputs than targets": (TorchRegressor, weak, {"width": 1}, np.column_stack([y] * 3)),
    "outputs that are no classes": (
        TorchClassifier,
        lambda o, t: (o.mean(1) - t).square().mean(),
        {"width": 7},
        (y > 0).astype(int),
    ),
}


@pytest.mark.parametrize(("kind", "loss", "width", "target"), AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_outputs_that_can_be_read_in_several_ways_are_refused_with_the_way_named(
    kind, loss, width, target
):
    settings = {f"module__{name}": value for name, value in width.items()}
    with pytest.raises((ValueError, TypeError), match="predict"):
        kind(Width, criterion=loss, max_epochs=1, **settings).fit(X, target).predict(X)


def test_an_own_loss_of_outputs_like_the_targets_needs_no_reading():
    def squared(output, target):
        return (output - target).square().mean()

    fitted = TorchRegressor(criterion=squared, max_epochs=50, lr=0.05, random_state=0).fit(X, y)
    assert fitted.score(X, y) > 0.5
