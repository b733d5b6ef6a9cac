"""A sweep of learning rates: its losses, its suggestion, and what it refuses."""

import sys

import matplotlib
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, StandardScaler
from skorch.callbacks import Callback
from torch import nn

from sktorch import TabularClassifier, TorchClassifier, TorchRegressor
from sktorch.data.splitting import hold_out
from sktorch.model_selection import LearningRateSweep, learning_rate_sweep
from sktorch.model_selection._learning_rates import _suggestion

LRS = [1e-3, 1e-2, 1e-1]
cancer = load_breast_cancer(return_X_y=True)
diabetes = load_diabetes(return_X_y=True)


@pytest.fixture(autouse=True)
def _no_window():
    before = matplotlib.get_backend()
    matplotlib.use("agg")
    yield
    matplotlib.use(before)


def sweep(estimator=None, data=cancer, **parameters):
    estimator = TorchClassifier(random_state=0) if estimator is None else estimator
    return learning_rate_sweep(
        estimator, *data, **{"lrs": LRS, "n_epochs": 2, "random_state": 0} | parameters
    )


def test_losses_are_those_of_fits_one_by_one():
    X, y = cancer
    net = TorchClassifier(random_state=3)
    result = sweep(net, lrs=LRS, n_epochs=3)
    assert result.valid_losses.shape == result.train_losses.shape == (3, 3)
    train, valid = hold_out(np.arange(len(y)), y, 0.2, 0)
    net.set_params(max_epochs=3, validation=(X[valid], y[valid]))
    rows = zip(LRS, result.train_losses, result.valid_losses, strict=True)
    for lr, train_losses, valid_losses in rows:
        alone = clone(net).set_params(lr=lr).fit(X[train], y[train])
        np.testing.assert_allclose(alone.history_[:, "train_loss"], train_losses, rtol=1e-6)
        np.testing.assert_allclose(alone.history_[:, "valid_loss"], valid_losses, rtol=1e-6)


def test_the_same_sweep_twice():
    np.testing.assert_array_equal(sweep().valid_losses, sweep().valid_losses)
    without_seed = sweep(TorchClassifier())
    np.testing.assert_array_equal(without_seed.valid_losses, sweep(TorchClassifier()).valid_losses)
    assert (
        without_seed.valid_losses != sweep(TorchClassifier(), random_state=1).valid_losses
    ).any()


def test_nothing_global_and_not_the_estimator_changes():
    np.random.seed(0)
    state, net = np.random.get_state()[1].copy(), TorchClassifier(random_state=0)
    sweep(net)
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    assert not hasattr(net, "net_")
    assert net.get_params() == TorchClassifier(random_state=0).get_params()


def test_by_default_32_rates_and_60_steps():
    X, y = cancer  # 455 rows to train on are four batches of 128.
    result = learning_rate_sweep(TorchClassifier(random_state=0), X, y, random_state=0)
    assert result.valid_losses.shape == (32, 15)
    assert (result.lrs[0], result.lrs[-1]) == (1e-5, 1)
    assert 1e-4 < result.suggestion < 1e-2
    fitted = TorchClassifier(lr=result.suggestion, random_state=0).fit(X[::2], y[::2])
    assert fitted.score(X[1::2], y[1::2]) > 0.95


KINDS = {
    "classifier": (TorchClassifier(random_state=0), cancer, "lr"),
    "regressor": (TorchRegressor(random_state=0), diabetes, "lr"),
    "several targets": (
        TorchRegressor(random_state=0),
        (diabetes[0], np.column_stack([diabetes[1], -diabetes[1]])),
        "lr",
    ),
    "indicators": (
        TorchClassifier(random_state=0),
        (cancer[0], cancer[0][:, :3] > [14, 19, 92]),
        "lr",
    ),
    "strings": (TorchClassifier(random_state=0), (cancer[0], cancer[1].astype(str)), "lr"),
    "data frame": (TorchClassifier(random_state=0), (pd.DataFrame(cancer[0]), cancer[1]), "lr"),
    "sparse": (
        make_pipeline(MaxAbsScaler(), TorchClassifier(random_state=0)),
        (sparse.csr_array(cancer[0]), cancer[1]),
        "torchclassifier__lr",
    ),
    "pipeline": (
        make_pipeline(StandardScaler(), TorchRegressor(random_state=0)),
        diabetes,
        "torchregressor__lr",
    ),
    "pipeline of one step": (make_pipeline(TorchClassifier()), cancer, "torchclassifier__lr"),
    "pipeline in a pipeline": (
        make_pipeline(StandardScaler(), make_pipeline("passthrough", TorchClassifier())),
        cancer,
        "pipeline__torchclassifier__lr",
    ),
}


@pytest.mark.parametrize(("estimator", "data", "parameter"), KINDS.values(), ids=KINDS)
def test_kinds_of_estimators_and_data(estimator, data, parameter):
    result = sweep(estimator, data)
    assert result.parameter == parameter
    assert np.isfinite(result.valid_losses).all()
    assert clone(estimator).set_params(**{parameter: result.suggestion}).get_params()[parameter] > 0


@pytest.mark.parametrize(
    "settings",
    [
        {"lr_schedule": "cosine", "lr_schedule__warm_up": 1},
        {"early_stopping": True, "n_iter_no_change": 1},
        {"validation": (cancer[0][:50], cancer[1][:50]), "monitor": "valid_loss"},
        {"scoring": "roc_auc"},
        {"warm_start": True, "lr": 7.0, "max_epochs": 0, "verbose": 1},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_settings_that_have_no_part(settings, capsys):
    result = sweep(TorchClassifier(random_state=0, **settings))
    np.testing.assert_array_equal(result.valid_losses, sweep().valid_losses)
    assert capsys.readouterr().out == ""


def test_groups_keep_their_factor():
    def with_factor(factor):
        groups = [("*", {"lr_factor": factor})]
        return sweep(TorchClassifier(random_state=0, optimizer__param_groups=groups), lrs=[1e-3])

    np.testing.assert_array_equal(with_factor(1).valid_losses, sweep(lrs=[1e-3]).valid_losses)
    np.testing.assert_allclose(
        with_factor(10).valid_losses, sweep(lrs=[1e-2]).valid_losses, rtol=1e-5
    )


def test_weights_count_in_training_and_validation():
    weights = np.where(cancer[1] == 1, 1.0, 0.0)
    result = sweep(sample_weight=weights)
    assert (result.valid_losses < sweep().valid_losses).all()  # One class is learnt at once.


def test_rates_that_diverge_are_part_of_the_curve():
    result = sweep(
        TorchRegressor(random_state=0, optimizer="sgd"), diabetes, lrs=[1e-3, 1e-2, 1e3, 1e9]
    )
    assert np.isfinite(result.valid_losses[:2]).all()
    assert np.isnan(result.valid_losses[3, -1])
    assert result.suggestion < 1e-2
    assert "diverged" in str(result)
    result.plot()


def test_where_all_rates_diverge_an_error_says_so():
    net = TorchRegressor(random_state=0, optimizer="sgd")
    with pytest.raises(ValueError, match="diverges at all learning rates from 1e\\+09 to 1e\\+12"):
        sweep(net, diabetes, lrs=[1e9, 1e12])


class Stopping(Callback):
    def on_epoch_end(self, net, **kwargs):
        raise KeyboardInterrupt


def test_a_fit_that_a_callback_stops_keeps_its_losses():
    result = sweep(TorchClassifier(random_state=0, callbacks=[Stopping()]), n_epochs=3)
    np.testing.assert_array_equal(result.valid_losses[:, 0], result.valid_losses[:, 2])


LOSSES = {
    "the lowest": ([3, 2, 1, 2, 3], 1),
    "a lucky rate does not win": ([3, 2, 1, 2, 3, 0.1, 9], 1),
    "not beside a divergence": ([3, 2, 1, np.nan, np.nan], 0.1),
    "unless there is no other": ([np.nan, 1, np.nan], 0.1),
    "falling to the end": ([3, 2, 1], 1),
    "one rate": ([3], 0.01),
}


@pytest.mark.parametrize(("losses", "best"), LOSSES.values(), ids=LOSSES)
def test_the_suggestion_is_a_fifth_of_the_best_rate(losses, best):
    lrs = 10.0 ** np.arange(-2, len(losses) - 2)
    assert _suggestion(lrs, np.array(losses, dtype=float)) == pytest.approx(best / 5)


WRONG = {
    "another estimator": ({"estimator": LogisticRegression()}, TypeError, "LogisticRegression"),
    "tables have a recipe": ({"estimator": TabularClassifier()}, TypeError, "TabularClassifier"),
    "a pipeline without a net": (
        {"estimator": make_pipeline(StandardScaler())},
        TypeError,
        "ends in one, got StandardScaler",
    ),
    "another learning rate": (
        {"estimator": TorchClassifier(optimizer__lr=0.1)},
        ValueError,
        "optimizer__lr=0.1",
    ),
    "a rate of zero": ({"lrs": [0, 0.1]}, ValueError, "lrs=.* must be positive"),
    "no rate": ({"lrs": []}, ValueError, "lrs=.* must be positive"),
    "no epoch": ({"n_epochs": 0}, ValueError, "n_epochs=0 must be a positive integer"),
    "no targets": ({"data": (cancer[0], None)}, ValueError, "requires y to be passed"),
    "a wrong parameter": (
        {"estimator": TorchClassifier(batch_size="auto")},
        ValueError,
        "batch_size must be a positive integer",
    ),
    "rows that differ": ({"data": (cancer[0], cancer[1][:9])}, ValueError, "inconsistent"),
    "a module that fails": (
        {"estimator": TorchClassifier(nn.Linear(3, 2))},
        ValueError,
        "shapes cannot be multiplied",
    ),
}


@pytest.mark.parametrize(("given", "error", "match"), WRONG.values(), ids=WRONG)
def test_wrong_inputs(given, error, match):
    with pytest.raises(error, match=match):
        sweep(**given)


def test_the_text():
    losses = np.array([[2.0, 1.5], [1.0, 0.5], [np.nan, np.nan]])
    text = str(LearningRateSweep(np.array([0.01, 0.1, 1]), losses, losses, 0.033, "net__lr"))
    assert text.splitlines() == [
        "3 learning rates from 0.01 to 1, each trained for 2 epochs; 1 of them diverged",
        "lowest validation loss 0.5 at net__lr=0.1",
        "suggestion: net__lr=0.033",
    ]


def test_the_drawing():
    result = sweep()
    ax = result.plot()
    assert (ax.get_xscale(), ax.get_xlabel()) == ("log", "lr")
    lines = {line.get_label(): line for line in ax.lines}
    np.testing.assert_array_equal(lines["validation loss"].get_ydata(), result.valid_losses[:, -1])
    assert f"suggestion: {result.suggestion:.2g}" in lines
    assert result.plot(ax) is ax


def test_without_matplotlib_an_error_names_the_extra(monkeypatch):
    result = sweep(lrs=[1e-3])
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"pip install 'sktorch\[plot\]'"):
        result.plot()
