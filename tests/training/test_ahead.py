"""Epochs trained ahead are the epochs trained one by one, and only while nobody looks."""

import copy

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.callback import ProgressBar
from sklearn.datasets import load_iris
from skorch.callbacks import Callback
from torch import nn

from sktorch import TorchClassifier
from sktorch.data.batches import Batches
from sktorch.data.rows import Rows
from sktorch.data.sources import as_source
from sktorch.fused import sharing
from sktorch.modules import RecurrentNet
from sktorch.training import ahead
from sktorch.training.engine import Engine
from sktorch.training.programs import program_of
from tests.training.replays import decide_without_clock

X, Y = load_iris(return_X_y=True)


@pytest.fixture(autouse=True)
def without_clock(monkeypatch):
    decide_without_clock(monkeypatch)
    program_of.cache_clear()


@pytest.fixture
def n_calls(monkeypatch):
    """The number of epochs of each call of the engine."""
    numbers, train = [], Engine.train

    def counted(self, net, batches, *args):
        numbers.append(getattr(batches, "n_epochs", 1))
        return train(self, net, batches, *args)

    monkeypatch.setattr(Engine, "train", counted)
    return numbers


def classifier(**parameters):
    given = {"max_epochs": 12, "batch_size": 32, "n_iter_no_change": 5, "random_state": 0}
    return TorchClassifier(**(given | parameters))


def assert_same_fit(one, other):
    assert one.loss_curve_ == other.loss_curve_
    batches = [[row["batches"] for row in fitted.history_.to_list()] for fitted in (one, other)]
    assert [[*map(dict, rows)] for rows in batches[0]] == [
        [*map(dict, rows)] for rows in batches[1]
    ]
    for key, value in one.module_.state_dict().items():
        assert torch.equal(value, other.module_.state_dict()[key]), key


ALIKE = {
    "as it is": {},
    "stops early": {"n_iter_no_change": 2, "tol": 0.3},
    "never stops": {"tol": -np.inf},
    "whole batches": {"iterator_train__drop_last": True},
    "in order": {"iterator_train__shuffle": False},
    "one row left": {"batch_size": 149},
    "class weights": {"class_weight": {0: 1, 1: 2, 2: 3}},
    "sgd": {"optimizer": "sgd", "lr": 0.1},
}


@pytest.mark.parametrize("name", ALIKE)
def test_a_fit_is_that_of_single_epochs(name, n_calls, monkeypatch):
    together = classifier(**ALIKE[name]).fit(X, Y)
    assert max(n_calls) > 1
    assert sum(n_calls) == together.n_epochs_
    monkeypatch.setattr(ahead, "MAX_STEPS", 0)
    n_calls.clear()
    assert_same_fit(together, classifier(**ALIKE[name]).fit(X, Y))
    assert {*n_calls} == {1}


def test_several_fits_go_ahead_together(n_calls):
    with joblib.parallel_config("sktorch"):
        fits = (joblib.delayed(clone(classifier()).fit)(X, Y) for _ in range(4))
        together = joblib.Parallel()(fits)
    alone = classifier().fit(X, Y)
    for fitted in together:
        np.testing.assert_allclose(fitted.loss_curve_, alone.loss_curve_, rtol=1e-4)
        assert fitted.n_epochs_ == alone.n_epochs_


class Looks(Callback):
    """Looks at the weights after each epoch."""

    def on_epoch_end(self, net, **kwargs):
        norm = sum(p.norm().item() for p in net.module_.parameters())
        net.history.record("norm", norm)


class OwnModule(nn.Linear):
    """A module whose code is not the library's."""

    def __init__(self, n_features, n_outputs):
        super().__init__(n_features, n_outputs)


class Noisy(torch.optim.SGD):
    """Draws in its steps, for all that is known."""


class RecurrentOnColumns(nn.Module):
    """Reads the columns one after another."""

    def __init__(self, n_outputs):
        super().__init__()
        self.cell, self.head = nn.GRU(1, 4, batch_first=True), nn.Linear(4, n_outputs)

    def forward(self, X):
        return self.head(self.cell(X.unsqueeze(-1))[0][:, -1])


WATCHED = {
    "a callback": {"callbacks": [Looks]},
    "a line each": {"verbose": 1},
    "an optimizer of somebody's": {"optimizer": Noisy},
    "an optimizer that evaluates": {"optimizer": "lbfgs"},
    "a recurrent layer": {"module": RecurrentOnColumns},
    "a hold-out": {"early_stopping": True},
    "accumulated gradients": {"gradient_accumulation": 3},
    "a score": {"scoring": "accuracy"},
    "a schedule": {"lr_schedule": "cosine"},
    "own code": {"module": OwnModule},
    "own loss": {"criterion": lambda output, target: nn.functional.cross_entropy(output, target)},
    "random numbers": {"module__dropout": 0.5},
}


@pytest.mark.parametrize("name", WATCHED)
def test_each_epoch_ends_where_somebody_looks(name, n_calls):
    fitted = classifier(max_epochs=4, **WATCHED[name]).fit(X, Y)
    assert n_calls == [1] * 4
    if name == "a callback":
        assert len({*fitted.history_[:, "norm"]}) == 4


def test_each_epoch_ends_where_scikit_learn_counts_them(n_calls):
    classifier(max_epochs=4).set_callbacks(ProgressBar()).fit(X, Y)
    assert n_calls == [1] * 4


def test_large_epochs_are_trained_one_by_one(n_calls, monkeypatch):
    monkeypatch.setattr(ahead, "MAX_MULTIPLY_ADDS", 2 * 150 * 1000)
    classifier(max_epochs=4).fit(X, Y)
    assert {*n_calls} == {1} or max(n_calls) <= 2


def test_many_layers_are_trained_one_epoch_at_a_time(n_calls):
    layers = [nn.Linear(4, 4) for _ in range(600)]
    classifier(max_epochs=2, module=nn.Sequential(*layers, nn.Linear(4, 3))).fit(X, Y)
    assert n_calls == [1, 1]


def test_recurrent_layers_of_the_library_are_not_trained_ahead(n_calls):
    X = np.random.default_rng(0).normal(size=(60, 5, 2)).astype(np.float32)
    classifier(max_epochs=3, module=RecurrentNet).fit(X, Y[::2][:60] % 2)
    assert n_calls == [1] * 3


def test_rows_of_epochs_gone_by_are_forgotten():
    X = torch.arange(12.0).reshape(6, 2)
    rows = Rows(as_source(X), X.dtype, torch.device("cpu"))
    batches = Batches(rows, X[:, 0], None, torch.arange(6), batch_size=2, shuffle=True)
    epochs = batches.repeated(3).epoch()
    shared = copy.copy(epochs)
    for number in range(len(epochs.sizes)):
        epochs.block(number)
        held = [epoch for epoch in epochs._epochs if epoch._last is not None]
        assert len(held) == 1
    assert all(epoch._last is None for epoch in shared._epochs), "a copy has rows of its own"
    again = [shared.block(3 * number)[1] for number in range(3)]
    assert torch.equal(again[-1][0], held[0]._last[1][0])


def test_equal_data_are_digested_once_a_fit(monkeypatch):
    digested, real = [], sharing.digest

    def digest(tensor):
        digested.append(tensor)
        return real(tensor)

    monkeypatch.setattr(sharing, "digest", digest)
    numbers = []
    for max_epochs in (1, 12):
        digested.clear()
        with joblib.parallel_config("sktorch"):
            joblib.Parallel()([joblib.delayed(classifier(max_epochs=max_epochs).fit)(X, Y)])
        numbers.append(len(digested))
    assert numbers[0] == numbers[1]
