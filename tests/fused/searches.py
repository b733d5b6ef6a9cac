"""Searches, callbacks and a memory limit that tests of the backend share."""

import _thread
import threading
import weakref

import joblib
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.model_selection import GridSearchCV, KFold, cross_validate
from skorch.callbacks import Callback

from sktorch import TorchClassifier


def classifier(**parameters):
    return TorchClassifier(
        **{"max_epochs": 4, "batch_size": 32, "random_state": 0, "lr": 0.01} | parameters
    )


def both(function):
    """Return a function's value without the backend and with it."""
    alone = function()
    with joblib.parallel_config("sktorch"):
        return alone, function()


def grid_search(X, y, **parameters):
    grid = {"lr": [0.001, 0.01], "optimizer__weight_decay": [0, 0.1]}
    search = GridSearchCV(classifier(**parameters), grid, cv=KFold(4)).fit(X, y)
    return search.cv_results_["mean_test_score"], search.predict_proba(X)


class Watching(Callback):
    """A callback that listens to batches, so that its fit trains alone."""

    def on_batch_end(self, net, **kwargs):
        self.n_batches_ = getattr(self, "n_batches_", 0) + 1


class Raising(Callback):
    def __init__(self, error):
        self.error = error

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            raise self.error


class Pressing(Callback):
    """Presses Ctrl-C, once."""

    pressed = threading.Event()

    def on_epoch_end(self, net, **kwargs):
        if not self.pressed.is_set():
            self.pressed.set()
            _thread.interrupt_main()


def n_task_threads():
    return sum("sktorch task" in thread.name for thread in threading.enumerate())


class Taking(TransformerMixin, BaseEstimator):
    """A transformer that takes memory for as long as it lives."""

    taken, lock = [], threading.Lock()

    def __init__(self, size):
        self.size = size

    def fit(self, X, y=None):
        with self.lock:
            self.taken.append(self.size)
        weakref.finalize(self, self.taken.remove, self.size)
        return self

    def transform(self, X):
        return X


def free_of_100(with_unused=False):
    return {"host": 100 - sum(Taking.taken)}


def limited(free_memory=free_of_100, **settings):
    """Return a configuration with 100 bytes of memory, where one task begins at a time."""
    settings = {"inner_max_num_threads": 1, "free_memory": free_memory} | settings
    return joblib.parallel_config("sktorch", **settings)


def nested_search(X, y):
    search = GridSearchCV(classifier(), {"lr": [0.01, 0.1]}, cv=3)
    return cross_validate(search, X, y, cv=3)["test_score"]
