"""Checkpoints and early stopping by skorch's callbacks."""

import io
import json
from functools import partial

import numpy as np
import pytest
import torch
from skorch.callbacks import (
    Checkpoint,
    EarlyStopping,
    LoadInitState,
    LRScheduler,
    TrainEndCheckpoint,
)

from tests.callbacks.shared import held_out, net


def test_checkpoint_loads_the_best(tumours, tmp_path):
    X, y = tumours
    checkpoint = Checkpoint(
        monitor="valid_loss_best", dirname=str(tmp_path), load_best=True, sink=(said := []).append
    )
    # A rate that spoils the weights after a few epochs.
    spoil = LRScheduler("LambdaLR", lr_lambda=lambda epoch: 1 if epoch < 3 else 100)
    fitted = held_out(callbacks=[checkpoint, spoil], max_epochs=6).fit(X, y)
    losses = np.array(json.loads((tmp_path / "history.json").read_text()), dtype=object)
    assert len(losses) < 6
    assert fitted.history_[-1, "event_cp"] is True
    assert fitted.history_[-1, "valid_loss"] == min(fitted.history_[:, "valid_loss"])
    saved = torch.load(tmp_path / "params.pt", weights_only=True)
    assert saved.keys() == fitted.module_.state_dict().keys()
    assert all(torch.equal(value, fitted.module_.state_dict()[key]) for key, value in saved.items())
    assert {path.name for path in tmp_path.iterdir()} == {
        "params.pt",
        "optimizer.pt",
        "criterion.pt",
        "history.json",
    }
    assert said[-1].startswith("Loading best checkpoint")
    assert fitted.score(X, y) > 0.9


def test_checkpoint_in_memory_by_training_loss(tumours):
    X, y = tumours
    file = io.BytesIO()
    checkpoint = Checkpoint(
        monitor="train_loss_best", f_params=file, f_optimizer=None, f_criterion=None, f_history=None
    )
    fitted = net(callbacks=[("checkpoint", checkpoint)], max_epochs=1).fit(X, y)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    assert all(torch.equal(value, fitted.module_.state_dict()[key]) for key, value in saved.items())


@pytest.mark.parametrize("kind", [TrainEndCheckpoint, partial(Checkpoint, "train_loss_best")])
def test_training_goes_on_from_a_checkpoint(tumours, tmp_path, kind):
    X, y = tumours
    checkpoint = kind(dirname=str(tmp_path))
    # As skorch's documentation has it: the second refers to the first.
    estimator = net(callbacks=[checkpoint, LoadInitState(checkpoint)], max_epochs=2)
    first = estimator.fit(X, y).loss_curve_
    assert len(first) == 2
    second = estimator.set_params(max_epochs=3, random_state=1).fit(X, y).loss_curve_
    assert len(second) == 5
    assert second[:2] == first
    assert second[2] < first[1]
    assert vars(checkpoint) == vars(kind(dirname=str(tmp_path)))


def test_early_stopping_callback_loads_the_best(tumours):
    X, y = tumours
    stopping = EarlyStopping(patience=3, load_best=True, sink=(said := []).append)
    spoil = LRScheduler("LambdaLR", lr_lambda=lambda epoch: 1 if epoch < 4 else 1000)
    fitted = held_out(callbacks=[stopping, spoil], max_epochs=50).fit(X, y)
    losses = fitted.history_[:, "valid_loss"]
    best = int(np.argmin(losses))
    assert fitted.n_epochs_ == best + 1 + 3
    assert said == [f"Restoring best model from epoch {best + 1}."]
    stopped_there = held_out(max_epochs=best + 1).fit(X, y)
    assert losses[best] == min(stopped_there.history_[:, "valid_loss"])


def test_early_stopping_callback_on_the_training_loss(tumours):
    X, y = tumours
    stopping = EarlyStopping(monitor="train_loss", patience=2, threshold=0.5)
    fitted = net(callbacks=[stopping], max_epochs=100, n_iter_no_change=100).fit(X, y)
    assert 3 <= fitted.n_epochs_ < 100
    assert fitted.score(X, y) > 0.9
    assert fitted.best_epoch_ == fitted.n_epochs_
    assert len(fitted.loss_curve_) == fitted.n_epochs_
