"""Training that a callback or Ctrl-C ends."""

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import (
    Callback,
)
from torch import nn

from tests.callbacks.shared import Stop, held_out, net, same_state

# Epochs of which the losses are known when training ends.
STOPS = {"epoch begin": 2, "batch end": 2, "epoch end": 3}


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("hook", STOPS)
def test_a_callback_that_asks_for_a_stop(tumours, hook, early_stopping):
    X, y = tumours
    fitted = net(early_stopping=early_stopping, callbacks=[Stop(hook)], max_epochs=50).fit(X, y)
    assert fitted.score(X, y) > 0.9
    assert len(fitted.loss_curve_) == STOPS[hook]
    assert None not in fitted.loss_curve_
    assert fitted.best_epoch_ <= fitted.n_epochs_
    if early_stopping:
        assert len(fitted.validation_scores_) == STOPS[hook]
        assert fitted.validation_scores_[fitted.best_epoch_ - 1] == max(fitted.validation_scores_)
    fitted.partial_fit(X, y)  # The model is whole.
    assert fitted.loss_curve_[-1] < fitted.loss_curve_[0]


class StopWhenGood(Callback):
    def on_epoch_end(self, net, **kwargs):
        if net.history[-1, "valid_acc"] == max(net.history[:, "valid_acc"]) > 0.8:
            raise KeyboardInterrupt


def test_the_epoch_that_asks_for_a_stop_counts(tumours):
    # A slow rate: the first epochs are bad, and the last is the best.
    X, y = tumours
    fitted = held_out(lr=2e-5, max_epochs=100, callbacks=[StopWhenGood()]).fit(X, y)
    assert 1 < fitted.n_epochs_ < 100
    assert fitted.best_epoch_ == fitted.n_epochs_
    straight = held_out(lr=2e-5, max_epochs=fitted.n_epochs_).fit(X, y)
    assert same_state(fitted.module_, straight.module_)


def test_a_callback_that_asks_for_a_stop_within_a_search(tumours):
    X, y = tumours
    search = GridSearchCV(
        net(callbacks=[Stop("epoch end", epoch=2)]), {"lr": [1e-5, 0.02]}, cv=3, error_score="raise"
    ).fit(X, y)
    assert search.best_params_ == {"lr": 0.02}
    assert search.best_estimator_.n_epochs_ == 2


class Interrupted(nn.Module):
    """Ctrl-C in the n-th forward pass that trains, or (``training=False``) that does not."""

    def __init__(self, n_features, n_outputs, n, training=True):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_features, 16), nn.ReLU(), nn.Linear(16, n_outputs))
        self.n, self.counts = n, training
        self.n_passes = 0

    def forward(self, X):
        if self.training == self.counts:
            self.n_passes += 1
            if self.n_passes == self.n:
                raise KeyboardInterrupt
        return self.layers(X)


ROWS_OF_A_BATCH = 64  # Nine batches an epoch of the whole data, eight with a hold-out.
INTERRUPTED = [
    # n-th pass, of training, early stopping, whole epochs
    pytest.param(9 * 3 + 4, True, False, 3, id="training"),
    pytest.param(8 * 3 + 4, True, True, 3, id="training-with-hold-out"),
    pytest.param(3, False, True, 2, id="validation"),
]


def interrupted(n, training=True, **parameters):
    settings = {"max_epochs": 50, "batch_size": ROWS_OF_A_BATCH} | parameters
    return net(Interrupted, module__n=n, module__training=training, **settings)


@pytest.mark.parametrize("in_pipeline", [False, True], ids=["plain", "pipeline"])
@pytest.mark.parametrize(("n", "training", "early_stopping", "whole"), INTERRUPTED)
def test_an_interrupt_keeps_the_model(tumours, n, training, early_stopping, whole, in_pipeline):
    X, y = tumours
    estimator = interrupted(n, training, early_stopping=early_stopping)
    model = make_pipeline(StandardScaler(), estimator) if in_pipeline else estimator
    with pytest.warns(UserWarning, match=f"interrupted in epoch {whole + 1} of 50"):
        model.fit(X, y)
    assert model.score(X, y) > 0.9
    assert not estimator.module_.training
    assert len(estimator.loss_curve_) >= whole
    assert None not in estimator.loss_curve_
    if early_stopping:
        scores = estimator.validation_scores_
        assert len(scores) == whole
        assert estimator.best_epoch_ <= whole
        assert scores[estimator.best_epoch_ - 1] == max(scores)
    else:
        assert estimator.best_epoch_ in (whole, whole + 1)


def test_an_interrupt_restores_the_best_weights(tumours):
    X, y = tumours
    estimator = interrupted(8 * 3 + 4, early_stopping=True)
    with pytest.warns(UserWarning, match="interrupted"):
        estimator.fit(X, y)
    whole = interrupted(10**9, early_stopping=True).set_params(max_epochs=3).fit(X, y)
    assert estimator.best_epoch_ == whole.best_epoch_
    np.testing.assert_array_equal(estimator.predict_proba(X), whole.predict_proba(X))


def test_an_interrupt_before_the_first_epoch_is_over_is_none_of_ours(tumours):
    X, y = tumours
    estimator = interrupted(3)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(X, y)
    assert not hasattr(estimator, "module_")
    assert not hasattr(estimator, "classes_")

    fitted = net(Interrupted, module__n=10**9, batch_size=ROWS_OF_A_BATCH).fit(X, y)
    before = fitted.predict_proba(X)
    with pytest.raises(KeyboardInterrupt):
        fitted.set_params(module__n=3).fit(X, y)
    np.testing.assert_array_equal(fitted.predict_proba(X), before)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_an_interrupt_in_the_first_epoch_of_a_training_that_goes_on_undoes_it(tumours, method):
    X, y = tumours
    fitted = interrupted(9 * 2 + 4, max_epochs=2, warm_start=True).fit(X, y)
    before = fitted.predict_proba(X)
    with pytest.raises(KeyboardInterrupt):
        getattr(fitted, method)(X, y)
    np.testing.assert_array_equal(fitted.predict_proba(X), before)
    assert fitted.n_epochs_ == fitted.best_epoch_ == 2


def test_an_interrupt_of_a_training_that_goes_on_counts_its_own_epochs(tumours):
    X, y = tumours
    fitted = interrupted(9 * 3 + 4, max_epochs=2, warm_start=True).fit(X, y)
    with pytest.warns(UserWarning, match="interrupted in epoch 2 of 2"):
        fitted.fit(X, y)
    assert fitted.n_epochs_ >= 3


INTERRUPTED_USERS = {
    "cross_val_score": lambda estimator, X, y: cross_val_score(estimator, X, y, cv=3),
    "of a pipeline": lambda estimator, X, y: cross_val_score(
        make_pipeline(StandardScaler(), estimator), X, y, cv=3
    ),
    "GridSearchCV": lambda estimator, X, y: GridSearchCV(estimator, {"lr": [0.01, 0.02]}, cv=3).fit(
        X, y
    ),
    "GridSearchCV in a pipeline": lambda estimator, X, y: make_pipeline(
        StandardScaler(), GridSearchCV(estimator, {"lr": [0.01, 0.02]}, cv=3)
    ).fit(X, y),
    "cross_val_score with two jobs": lambda estimator, X, y: cross_val_score(
        estimator, X, y, cv=3, n_jobs=2
    ),
}


@pytest.mark.parametrize("user", INTERRUPTED_USERS)
def test_an_interrupt_ends_a_search(tumours, user):
    X, y = tumours
    with pytest.raises(KeyboardInterrupt):
        INTERRUPTED_USERS[user](interrupted(9 * 3 + 4), X, y)
