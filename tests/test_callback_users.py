"""Callbacks as their users write them: what they are handed, what they read, what they lack."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.callback import ProgressBar
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    LoadInitState,
    TrainEndCheckpoint,
)
from torch import nn
from torch.utils.data import TensorDataset

from sktorch import TorchClassifier, TorchRegressor

RNG = np.random.default_rng(0)
X = RNG.random((60, 4), dtype=np.float32)
y = np.arange(60) % 2


class Two(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.output = nn.Linear(8, n_outputs)

    def forward(self, A, B):
        return self.output(torch.cat([A, B], dim=1))


ROWS = {
    "array": (None, X),
    "tensor": (None, torch.from_numpy(X)),
    "DataFrame": (None, pd.DataFrame(X, columns=[*"abcd"])),
    "sparse": (None, sparse.csr_array(X)),
    "dict": (Two, {"A": X, "B": X}),
}


def net(module=None, kind=TorchClassifier, **parameters):
    return kind(module, **{"max_epochs": 2, "random_state": 0} | parameters)


class Predicting(Callback):
    """Asks the net about the datasets that it is handed."""

    def __init__(self, method, part):
        self.method, self.part, self.seen = method, part, []

    def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **_):
        dataset = dataset_train if self.part == "train" else dataset_valid
        value = getattr(net, self.method)(dataset)
        self.seen.append((len(dataset), np.asarray(value)))


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("method", ["predict", "predict_proba", "forward"])
@pytest.mark.parametrize("part", ["train", "valid"])
def test_the_net_takes_the_datasets_that_it_hands_out(rows, method, part):
    module, given = ROWS[rows]
    callback = Predicting(method, part)
    fitted = net(module, callbacks=[("asks", callback)], early_stopping=True).fit(given, y)
    assert fitted.n_epochs_ == 2
    seen = dict(fitted.net_.callbacks_)["asks"].seen
    lengths = {"train": 54, "valid": 6}
    assert [n for n, _ in seen] == [lengths[part]] * 2
    assert all(len(value) == n for n, value in seen)
    assert all(np.isfinite(value).all() for _, value in seen)


@pytest.mark.parametrize("part", ["train", "valid"])
def test_a_regressor_s_net_takes_the_datasets_that_it_hands_out(part):
    asks = ("asks", Predicting("predict", part))
    fitted = net(kind=TorchRegressor, callbacks=[asks], early_stopping=True).fit(X, y)
    assert all(len(value) == n for n, value in dict(fitted.net_.callbacks_)["asks"].seen)


def test_the_net_takes_a_dataset_of_the_user_s_that_it_hands_out():
    dataset = TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
    callback = ("asks", Predicting("predict", "valid"))
    fitted = net(callbacks=[callback], validation=dataset).fit(dataset)
    assert [n for n, _ in dict(fitted.net_.callbacks_)["asks"].seen] == [60, 60]


def test_predictions_in_a_callback_are_those_of_the_module():
    callback = ("asks", Predicting("predict_proba", "valid"))
    settings = {"validation": (X[:7], y[:7]), "max_epochs": 1}
    fitted = net(callbacks=[callback], **settings).fit(X, y)
    ((_, p),) = dict(fitted.net_.callbacks_)["asks"].seen
    np.testing.assert_allclose(p, fitted.predict_proba(X[:7]), atol=1e-6)


SCORERS = {
    "name": lambda: EpochScoring("accuracy", lower_is_better=False, name="own"),
    "function": lambda: EpochScoring(lambda net, X, y: (net.predict(X) == y).mean(), name="own"),
}


@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize("use_caching", [True, False])
@pytest.mark.parametrize("on_train", [True, False])
def test_scores_of_a_callback_are_those_of_the_rows(scorer, use_caching, on_train):
    callback = SCORERS[scorer]()
    callback.use_caching, callback.on_train = use_caching, on_train
    settings = {"validation": (X[:20], y[:20]), "max_epochs": 1, "lr": 1e-12}
    fitted = net(callbacks=[callback], **settings).fit(X, y)
    rows = slice(None) if on_train else slice(20)
    assert fitted.history_[-1, "own"] == pytest.approx(fitted.score(X[rows], y[rows]))


class Counting(nn.Module):
    rows = 0

    def __init__(self, n_features, n_outputs):
        super().__init__()
        self.output = nn.Linear(n_features, n_outputs)

    def forward(self, X):
        if not self.training:
            Counting.rows += len(X)
        return self.output(X)


@pytest.mark.parametrize(("use_caching", "times"), [(True, 1), (False, 2)])
def test_use_caching_of_a_callback_is_obeyed(use_caching, times):
    callback = EpochScoring("accuracy", name="own", lower_is_better=False, use_caching=use_caching)
    fresh = net(Counting, callbacks=[callback], validation=(X[:20], y[:20]), max_epochs=3)
    Counting.rows = 0
    fresh.fit(X, y)
    assert 20 * 3 * times <= Counting.rows < 20 * 3 * times + 20  # beside them, the trial


class Start(Callback):
    """Notes the weights with which the first epoch begins."""

    def __init__(self, weights):
        self.weights = weights

    def on_epoch_begin(self, net, **_):
        self.weights.append(weights_of(net))


def weights_of(owner):
    return torch.cat([p.detach().flatten().clone() for p in owner.module_.parameters()])


@pytest.mark.parametrize("checkpoint", [TrainEndCheckpoint, Checkpoint])
@pytest.mark.parametrize("kind", [TorchClassifier, TorchRegressor])
def test_a_second_estimator_begins_where_a_checkpoint_ended(checkpoint, kind, tmp_path):
    settings = {"monitor": None} if checkpoint is Checkpoint else {}
    saved = checkpoint(dirname=str(tmp_path), **settings)
    first = net(kind=kind, callbacks=[saved]).fit(X, y)
    starts = []
    net(kind=kind, callbacks=[LoadInitState(saved), Start(starts)], random_state=1).fit(X, y)
    torch.testing.assert_close(starts[0], weights_of(first))


def test_a_fitted_callback_can_be_read_in_the_net():
    stop = EarlyStopping(monitor="train_loss", patience=2, threshold=10.0)
    fitted = net(callbacks=[("stop", stop)], max_epochs=20, tol=-np.inf).fit(X, y)
    assert dict(fitted.net_.callbacks_)["stop"].misses_ == 2
    assert fitted.n_epochs_ == 3


# Callbacks that can't work, and what the error names.
LACKING = {
    "EarlyStopping without validation": (EarlyStopping(), "early_stopping|validation"),
    "Checkpoint without validation": (Checkpoint(), "early_stopping|validation"),
    "scoring without validation": (EpochScoring("accuracy"), None),
    "None": (None, "callbacks"),
    "a word": ("early_stopping", "callbacks"),
    "a number": (3, "callbacks"),
    "a function": (print, "callbacks"),
    "a class that is none": (dict, "callbacks"),
    "a name without a callback": (("stop", None), "callbacks"),
    "scikit-learn's": (ProgressBar(), "set_callbacks"),
    "a monitor of no name": (EarlyStopping(monitor="valid_f1"), "valid_f1"),
}


@pytest.mark.parametrize(("callback", "words"), LACKING.values(), ids=LACKING.keys())
def test_a_callback_that_can_not_work_says_what_is_missing(callback, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fresh = net(callbacks=[callback])
    if words is None:
        assert fresh.fit(X, y).n_epochs_ == 2
        return
    with pytest.raises((ValueError, TypeError), match=words):
        fresh.fit(X, y)


META = {
    "search": lambda inner: GridSearchCV(inner, {"lr": [0.1, 0.01]}, cv=2).fit(X, y),
    "search of a pipeline": lambda inner: GridSearchCV(
        make_pipeline(StandardScaler(), inner), {"torchclassifier__lr": [0.1, 0.01]}, cv=2
    ).fit(X, y),
}


@pytest.mark.parametrize("meta", META)
def test_a_progress_bar_in_a_search_says_where_it_belongs(meta):
    inner = net().set_callbacks(ProgressBar())
    with pytest.raises((ValueError, TypeError, RuntimeError), match=r"search|GridSearchCV|meta"):
        META[meta](inner)


def test_a_progress_bar_on_the_net_alone_works(capsys):
    assert net().set_callbacks(ProgressBar()).fit(X, y).n_epochs_ == 2
