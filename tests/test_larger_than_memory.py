"""Memory maps: the models of arrays, in bounded memory."""

import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from sktorch import TorchClassifier
from sktorch.modules import MLP


def mapped(path, values):
    np.save(path, values)
    return np.load(path, mmap_mode="r")


@pytest.fixture
def rows(tmp_path):
    X = np.random.RandomState(0).randn(700, 6)
    return X, (X[:, 0] + X[:, 1] > 0).astype(int)


def fitted(X, y, *fit_args, **parameters):
    settings = {"max_epochs": 3, "batch_size": 64, "random_state": 0, "device": "cpu"}
    return TorchClassifier(**(settings | parameters)).fit(X, y, *fit_args)


class Named(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.output = nn.Linear(6, n_outputs)

    def forward(self, rows):
        return self.output(rows)


PARAMETERS = {
    "defaults": {},
    "MLP": {"module": MLP},
    "early stopping": {"early_stopping": True},
    "class weights": {"class_weight": "balanced"},
    "shuffled in blocks": {"iterator_train__shuffle": "blocks"},
    "in order": {"iterator_train__shuffle": False},
    "DataLoader": {"iterator_train__num_workers": 0},
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
@pytest.mark.parametrize("parameters", PARAMETERS)
def test_a_memory_map_trains_the_model_of_the_array(rows, tmp_path, parameters, dtype):
    X, y = rows
    X = (100 * X).astype(dtype)
    parameters = PARAMETERS[parameters]
    in_file = mapped(tmp_path / "X.npy", X)
    array, file = fitted(X, y, **parameters), fitted(in_file, y, **parameters)
    assert file.data_placement_ == "source"
    assert file.loss_curve_ == array.loss_curve_
    assert file.validation_scores_ == array.validation_scores_
    assert np.array_equal(file.predict_proba(in_file), array.predict_proba(X))
    assert file.score(in_file, y) == array.score(X, y)


def test_a_mapped_target_and_named_entries(rows, tmp_path):
    X, y = rows
    in_file, y_in_file = mapped(tmp_path / "X.npy", X), mapped(tmp_path / "y.npy", y)
    array = fitted({"rows": X}, y, module=Named)
    file = fitted({"rows": in_file}, y_in_file, module=Named)
    assert file.loss_curve_ == array.loss_curve_
    assert np.array_equal(file.predict_proba({"rows": in_file}), array.predict_proba({"rows": X}))


def test_rows_to_validate_on_may_be_in_a_file(rows, tmp_path):
    X, y = rows
    in_file = mapped(tmp_path / "X.npy", X)
    array = fitted(X[:500], y[:500], validation=(X[500:], y[500:]))
    file = fitted(in_file[:500], y[:500], validation=(in_file[500:], y[500:]))
    assert file.validation_scores_ == array.validation_scores_


class Peak:
    """The most private memory that the process had, beside pages of files, over its start."""

    def __init__(self):
        self.start = self.most = private_bytes()

    @property
    def growth(self):
        return self.most - self.start


def private_bytes():
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("RssAnon"))
    return 1024 * int(line.split()[1])


@contextmanager
def watched():
    """Watch the process's memory many times a second."""
    peak, over = Peak(), threading.Event()

    def watch():
        while not over.wait(0.002):
            peak.most = max(peak.most, private_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Rows of 400 MB in a file, and their labels."""
    shape = 100_000, 1000
    X = np.memmap(tmp_path_factory.mktemp("large") / "X.dat", "float32", "w+", shape=shape)
    X[:] = np.random.RandomState(0).randn(shape[1])
    X[:, 0] = np.random.RandomState(1).randn(shape[0])
    y = (X[:, 0] > 0).astype(int)
    X.flush()
    return np.memmap(X.filename, "float32", "r", shape=shape), y


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
@pytest.mark.parametrize("parameters", ["defaults", "early stopping", "shuffled in blocks"])
def test_memory_is_bounded(large, parameters):
    X, y = large
    settings = {"max_epochs": 1, "batch_size": 2048, "module__hidden": (4,)}
    fitted(*(part[:3000] for part in large), **settings)  # What is loaded once.
    with watched() as peak:
        estimator = fitted(X, y, **settings, **PARAMETERS[parameters])
        estimator.predict_proba(X)
        estimator.score(X, y)
    assert X.nbytes == 400_000_000
    # A fresh process takes 80 MB; the C library's heap, where others have left holes, up to 200.
    assert peak.growth < 0.75 * X.nbytes
