"""skorch's callbacks: copied for each fit, told about batches, able to stop the training."""

import copy
import dis
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EpochScoring,
    EpochTimer,
    LRScheduler,
    PrintLog,
    TrainEndCheckpoint,
)
from skorch.dataset import Dataset
from skorch.utils import TeeGenerator
from torch.utils.data import Subset

from sktorch.data.structure import Outputs
from sktorch.data.tensors import take_rows

_BATCH_HOOKS = ("on_batch_begin", "on_batch_end", "on_grad_computed")


# Printed in the place of a learning rate, and as wide as one in scientific notation.
_STAND_IN = -987.6543


class EpochLog(PrintLog):
    """skorch's log, in which a learning rate below 0.0001 is not 0.0000."""

    def table(self, row: dict[str, Any]) -> str:
        """Return the line of an epoch below its header."""
        if "lr" not in row or self.floatfmt != ".4f":
            return super().table(row)
        text = super().table({**row, "lr": _STAND_IN})
        return text.replace(f"{_STAND_IN:.4f}", f"{row['lr']:.3e}")


class StopTraining(Exception):
    """A callback asks to end the training and to keep the model so far."""


def default_callbacks(verbose: bool, names: Iterable[str]) -> list[tuple[str, Callback]]:
    """Return the timer, and the log if it prints, or if one of a net's parameters is its."""
    is_logged = verbose or any(name.startswith("callbacks__print_log") for name in names)
    log: list[tuple[str, Callback]] = [("print_log", EpochLog())] if is_logged else []
    return [("epoch_timer", EpochTimer()), *log]


def copies_of_callbacks(callbacks: Iterable) -> list:
    """Return shallow copies of skorch callbacks, since a callback's state outlives a training.

    ``callbacks`` holds callbacks, classes, or pairs of a name and either. A copy shares what its
    original refers to (a log, a writer), but refers to the copies of other callbacks in the list.
    A callback of another net, from whose files a net begins, is copied as well.
    """
    pairs = [item if isinstance(item, tuple | list) else (None, item) for item in callbacks]
    for _, callback in pairs:
        _check_callback(callback)
    copies = {id(callback): copy.copy(callback) for _, callback in pairs}
    for callback in [*copies.values()]:
        if not isinstance(callback, type):
            for name, value in vars(callback).items():
                if isinstance(value, Callback) and id(value) not in copies:
                    copies[id(value)] = copy.copy(value).initialize()
                setattr(callback, name, copies.get(id(value), value))
    return [
        copies[id(callback)] if name is None else (name, copies[id(callback)])
        for name, callback in pairs
    ]


def _check_callback(callback: Any) -> None:
    """Raise TypeError for what is no callback of skorch."""
    if all(hasattr(callback, hook) for hook in ("initialize", "on_train_begin", "on_epoch_end")):
        return
    kind = callback if isinstance(callback, type) else type(callback)
    advice = (
        "Set callbacks of scikit-learn with set_callbacks()"
        if kind.__module__.startswith("sklearn.")
        else "Pass an instance, or leave it out"
    )
    raise TypeError(
        f"callbacks holds {callback!r}; expected callbacks of skorch, classes of them, or pairs of "
        f"a name and either. {advice}."
    )


def explained(error: Exception) -> ValueError | None:
    """Return an error that says what to change, if a callback found its monitor missing."""
    missing = re.search("Key '(.*?)(_best)?' was not found in history", str(error))
    if missing is None:
        return None
    return ValueError(
        f"A callback monitors {missing[1]!r}, which is not recorded. Set early_stopping=True or "
        "validation for what begins with valid_, add a score to scoring, or change the callback's "
        "monitor."
    )


def dataset_to_hand_out(X: Any, y: np.ndarray, index: np.ndarray) -> Subset:
    """Return rows and their encoded targets as the dataset that callbacks are told."""
    return Subset(Dataset(X, y), index)  # type: ignore[arg-type]  # an ndarray indexes as well


def rows_handed_out(dataset: Any) -> tuple[Any, np.ndarray] | None:
    """Return the rows and targets of a dataset that callbacks were told; None for any other."""
    if not isinstance(dataset, Subset) or not isinstance(dataset.dataset, Dataset):
        return None
    index = np.asarray(dataset.indices)
    return take_rows(dataset.dataset.X, index), dataset.dataset.y[index]


def fill_caches(net: NeuralNet, datasets: dict[str, Any], outputs: Outputs | None) -> None:
    """Give skorch's scores the outputs and targets that they would collect batch by batch.

    Training batches are shuffled, and targets of batches scaled for the loss. ``outputs`` are those
    for the rows that are validated on.
    """
    for _, callback in net.callbacks_:
        if isinstance(callback, EpochScoring) and callback.use_caching:
            dataset = datasets["dataset_train" if callback.on_train else "dataset_valid"]
            handed_out = rows_handed_out(dataset)
            if handed_out is not None:
                X, y = handed_out
                own = net.forward(X) if callback.on_train or outputs is None else outputs
                callback.y_trues_, callback.y_preds_ = [y], [own]


def raised_by_callback(interrupt: KeyboardInterrupt) -> bool:
    """Say whether a ``raise`` in a callback (skorch's way to stop) caused this, not Ctrl-C."""
    traceback = interrupt.__traceback__
    assert traceback is not None  # The interrupt was caught.
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    raised = traceback.tb_frame.f_code.co_code[traceback.tb_lasti] == dis.opmap["RAISE_VARARGS"]
    return raised and any(isinstance(v, Callback) for v in traceback.tb_frame.f_locals.values())


def are_plain(callbacks: Iterable[tuple[str, Callback]]) -> bool:
    """Say whether callbacks are those that every net has, which draw no random numbers."""
    return all(type(callback) in (EpochTimer, EpochLog, PrintLog) for _, callback in callbacks)


def prints_or_writes(callback: Callback) -> bool:
    """Say whether a callback is one of skorch's that print, log or write files."""
    kind = type(callback)
    writes = isinstance(callback, PrintLog | Checkpoint | TrainEndCheckpoint)
    return writes or (kind.__module__ == EpochTimer.__module__ and kind is not EpochTimer)


def listens_to_batches(callback: Callback) -> bool:
    """Say whether a callback does anything between the batches of an epoch."""
    # skorch's LRScheduler overrides the hooks, and does nothing in them if it steps by epochs.
    by_epoch = isinstance(callback, LRScheduler) and callback.step_every == "epoch"
    # EpochScoring collects outputs in them, which the net gives it at the end of the epoch.
    collects = type(callback) is EpochScoring
    return not (by_epoch or collects) and any(
        getattr(type(callback), hook) is not getattr(Callback, hook) for hook in _BATCH_HOOKS
    )


class BatchObserver:
    """An observer of batches that notifies skorch's callbacks and records the batch's loss."""

    def __init__(self, net: NeuralNet, training: bool):
        self.net, self.training = net, training
        self.prefix = "train" if training else "valid"

    def before(self, batch: tuple) -> None:
        """Notify the callbacks before a batch is used."""
        self.net.notify("on_batch_begin", batch=batch[:2], training=self.training)

    def on_gradient(self, batch: tuple) -> None:
        """Notify the callbacks when a batch's gradients are there."""
        self.net.notify(
            "on_grad_computed",
            named_parameters=TeeGenerator(self.net.get_all_learnable_params()),
            batch=batch[:2],
            training=self.training,
        )

    def after(self, batch: tuple, loss: torch.Tensor, output: Outputs) -> None:
        """Record a batch's loss, and notify the callbacks."""
        self.net.history.record_batch(f"{self.prefix}_loss", loss.item())
        self.net.history.record_batch(f"{self.prefix}_batch_size", len(batch[1]))
        self.net.notify(
            "on_batch_end", batch=batch[:2], training=self.training, loss=loss, y_pred=output
        )
