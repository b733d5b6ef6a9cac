"""skorch's callbacks: copied for a fit, told about batches, able to stop the training."""

import copy
import dis

from skorch.callbacks import Callback, LRScheduler
from skorch.utils import TeeGenerator

_BATCH_HOOKS = ("on_batch_begin", "on_batch_end", "on_grad_computed")


class StopTraining(Exception):
    """A callback asks to end the training; what is trained so far is kept."""


def copies_of_callbacks(callbacks):
    """Shallow copies of skorch callbacks, which keep state from one training to the next.

    What they refer to (a log, a writer) is shared; where one refers to another of the list, its
    copy refers to the other's copy.

    Parameters
    ----------
    callbacks : list of callbacks, classes, or pairs of a name and either

    Returns
    -------
    callbacks : list
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


def raised_by_callback(interrupt):
    """Whether a ``raise`` of a callback did it (skorch's way to stop), rather than Ctrl-C."""
    traceback = interrupt.__traceback__
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    raised = traceback.tb_frame.f_code.co_code[traceback.tb_lasti] == dis.opmap["RAISE_VARARGS"]
    return raised and any(isinstance(v, Callback) for v in traceback.tb_frame.f_locals.values())


def listens_to_batches(callback):
    """Whether a callback does anything between the batches of an epoch."""
    # A schedule by epochs has the hook, too, and does nothing in it.
    by_epoch = isinstance(callback, LRScheduler) and callback.step_every == "epoch"
    return not by_epoch and any(
        getattr(type(callback), hook) is not getattr(Callback, hook) for hook in _BATCH_HOOKS
    )


class BatchObserver:
    """Tells skorch callbacks about each batch, and writes what they may read to the history."""

    def __init__(self, net, training):
        self.net, self.training = net, training
        self.prefix = "train" if training else "valid"

    def before(self, batch):
        self.net.notify("on_batch_begin", batch=batch[:2], training=self.training)

    def on_gradient(self, batch):
        self.net.notify(
            "on_grad_computed",
            named_parameters=TeeGenerator(self.net.get_all_learnable_params()),
            batch=batch[:2],
            training=self.training,
        )

    def after(self, batch, loss, output):
        self.net.history.record_batch(f"{self.prefix}_loss", loss.item())
        self.net.history.record_batch(f"{self.prefix}_batch_size", len(batch[1]))
        self.net.notify(
            "on_batch_end", batch=batch[:2], training=self.training, loss=loss, y_pred=output
        )
