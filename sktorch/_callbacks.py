"""skorch's callbacks: copied for each fit, told about batches, able to stop the training."""

import copy
import dis
from collections.abc import Iterable

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, LRScheduler
from skorch.utils import TeeGenerator

from sktorch.data.structure import Outputs

_BATCH_HOOKS = ("on_batch_begin", "on_batch_end", "on_grad_computed")


class StopTraining(Exception):
    """A callback asks to end the training and to keep the model so far."""


def copies_of_callbacks(callbacks: Iterable) -> list:
    """Return shallow copies of skorch callbacks, since a callback's state outlives a training.

    ``callbacks`` holds callbacks, classes, or pairs of a name and either. A copy shares what its
    original refers to (a log, a writer), but refers to the copies of other callbacks in the list.
    """
    pairs = [item if isinstance(item, tuple | list) else (None, item) for item in callbacks]
    copies = {id(callback): copy.copy(callback) for _, callback in pairs}
    for callback in copies.values():
        if not isinstance(callback, type):
            for name, value in vars(callback).items():
                setattr(callback, name, copies.get(id(value), value))
    return [
        copies[id(callback)] if name is None else (name, copies[id(callback)])
        for name, callback in pairs
    ]


def raised_by_callback(interrupt: KeyboardInterrupt) -> bool:
    """Say whether a ``raise`` in a callback (skorch's way to stop) caused this, not Ctrl-C."""
    traceback = interrupt.__traceback__
    assert traceback is not None  # The interrupt was caught.
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    raised = traceback.tb_frame.f_code.co_code[traceback.tb_lasti] == dis.opmap["RAISE_VARARGS"]
    return raised and any(isinstance(v, Callback) for v in traceback.tb_frame.f_locals.values())


def listens_to_batches(callback: Callback) -> bool:
    """Say whether a callback does anything between the batches of an epoch."""
    # skorch's LRScheduler overrides the hooks, and does nothing in them if it steps by epochs.
    by_epoch = isinstance(callback, LRScheduler) and callback.step_every == "epoch"
    return not by_epoch and any(
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
