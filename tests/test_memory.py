"""What is predicted and what is written down takes little memory beside the data."""

import json
import pickle

import numpy as np
import pytest
import torch
from skorch.callbacks import EpochScoring, EpochTimer, PrintLog
from skorch.history import History
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sktorch import TorchClassifier, TorchRegressor

RNG = np.random.default_rng(0)
X = RNG.random((60, 4), dtype=np.float32)
y = np.arange(60) % 2


class LargestOutput(TorchDispatchMode):
    """Notes the bytes of the largest tensor that an operation makes, beside views of others."""

    def __init__(self):
        super().__init__()
        self.n_bytes, self.operation = 0, None

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        known = {
            part.untyped_storage().data_ptr()
            for part in tree_leaves((args, kwargs))
            if isinstance(part, torch.Tensor)
        }
        value = operation(*args, **(kwargs or {}))
        for part in tree_leaves(value):
            if isinstance(part, torch.Tensor) and part.untyped_storage().data_ptr() not in known:
                n_bytes = part.untyped_storage().nbytes()
                if n_bytes > self.n_bytes:
                    self.n_bytes, self.operation = n_bytes, str(operation)
        return value


N_ROWS = 400_000
MANY = {
    "tensor": lambda: torch.rand(N_ROWS, 50),
    "tensor of float64": lambda: torch.rand(N_ROWS // 2, 50, dtype=torch.float64),
    "array": lambda: np.ones((N_ROWS, 50), np.float32),
    "dict of tensors": lambda: {"X": torch.rand(N_ROWS, 50)},
}


class Small(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.output = nn.Linear(50, n_outputs)

    def forward(self, X):
        return self.output(X)


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
@pytest.mark.parametrize("rows", MANY)
def test_predictions_take_a_part_of_the_rows_at_a_time(rows, method):
    given = MANY[rows]()
    few = {"X": given["X"][:60]} if isinstance(given, dict) else given[:60]
    fitted = TorchClassifier(Small, max_epochs=1).fit(few, y)
    leaves = given.values() if isinstance(given, dict) else [given]
    n_bytes = sum(part.nbytes for part in leaves)
    with LargestOutput() as seen:
        getattr(fitted, method)(given)
    assert seen.n_bytes < n_bytes / 8, seen.operation


def test_a_check_of_a_tensor_finds_a_value_anywhere():
    fitted = TorchClassifier(Small, max_epochs=1).fit(torch.rand(60, 50), y)
    for position in (0, 123_456, N_ROWS - 1):
        given = torch.rand(N_ROWS, 50)
        given[position, 7] = torch.nan
        with pytest.raises(ValueError, match="NaN"):
            fitted.predict(given)


def net(**parameters):
    defaults = {"batch_size": 2, "tol": -np.inf, "random_state": 0}
    return TorchClassifier(**defaults | parameters)


@pytest.fixture(scope="module")
def history():
    callbacks = [EpochScoring("accuracy", name="own", lower_is_better=False)]
    fitted = net(max_epochs=3, validation=(X[:10], y[:10]), callbacks=callbacks, verbose=0)
    return fitted.fit(X, y).history_


def test_a_history_is_read_as_skorch_s_is(history):
    assert isinstance(history, History)
    assert len(history) == 3
    assert history[:, "epoch"] == [1, 2, 3]
    assert len(history[-1, "batches"]) == 30 + 5  # those of validation after those of training
    losses = history[:, "batches", :, "train_loss"]
    assert np.shape(losses) == (3, 30)
    assert all(type(loss) is float for loss in losses[0])
    assert history[-1, "batches", 29, "train_loss"] == losses[-1][-1]
    assert history[-1, "batches", -1, "valid_loss"] > 0
    assert history[-1, "batches", 0, ("train_loss", "train_batch_size")] == (losses[-1][0], 2)
    sizes = history[0, "batches", :, "train_batch_size"]
    assert sizes == [2] * 30
    assert len(history[0, "batches", -5:, "valid_loss"]) == 5
    assert history[0]["batches"][3]["train_loss"] == losses[0][3]
    assert {*history[0]["batches"][0]} == {"train_loss", "train_batch_size"}
    assert {*history[0]["batches"][-1]} == {"valid_loss", "valid_batch_size"}
    assert [batch["train_loss"] for batch in history[1, "batches"][:30]] == losses[1]
    mean = np.average(losses[2], weights=sizes)
    assert history[2, "train_loss"] == pytest.approx(mean)
    with pytest.raises(KeyError):
        history[0, "batches", :, "nothing"]
    with pytest.raises(IndexError):
        history[0, "batches", 99]


def test_a_history_is_listed_saved_and_loaded(history, tmp_path):
    rows = history.to_list()
    assert rows[1]["batches"][2]["train_loss"] == history[1, "batches", 2, "train_loss"]
    history.to_file(str(tmp_path / "history.json"))
    loaded = History.from_file(str(tmp_path / "history.json"))
    assert loaded[:, "batches", :, "train_loss"] == history[:, "batches", :, "train_loss"]
    json.dumps(rows)
    other = pickle.loads(pickle.dumps(history))
    assert (
        other[:, "batches", :, "train_batch_size"] == history[:, "batches", :, "train_batch_size"]
    )


def test_a_history_grows_by_its_user(history):
    copy = pickle.loads(pickle.dumps(history))
    copy.new_epoch()
    copy.record("mine", 1)
    copy.new_batch()
    copy.record_batch("mine", 2)
    assert copy[-1, "mine"] == 1
    assert copy[-1, "batches", -1, "mine"] == 2


class Reading(EpochTimer):
    """Reads and writes batches while they come."""

    def on_batch_end(self, net, training=True, **_):
        if training:
            assert net.history[-1, "batches", -1, "train_loss"] > 0
            net.history.record_batch("mine", len(net.history[-1, "batches"]))


@pytest.mark.parametrize("kind", [TorchClassifier, TorchRegressor])
def test_a_callback_reads_and_writes_batches(kind):
    fitted = kind(max_epochs=2, batch_size=20, callbacks=[Reading(), PrintLog(sink=str)]).fit(X, y)
    assert fitted.history_[:, "batches", :, "mine"] == [[1, 2, 3]] * 2
