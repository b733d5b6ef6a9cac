"""A net's way through the batches of an epoch: alone, or with nets of other threads."""

import torch

from sktorch.data.batches import Batches
from sktorch.fused.epoch import EpochTask
from sktorch.fused.rendezvous import current_task, detached
from sktorch.losses.adapters import LossFunction
from sktorch.training.loop import evaluate, train_epoch
from sktorch.training.randomness import n_streams_entered

# Many models fetch rows at once; what each fetches should stay in the caches until it is used.
BLOCK_BYTES_TOGETHER = 2**18


def train_pass(net, batches, engine, observer, after_step):
    """Fit a net to every batch once.

    Parameters
    ----------
    net : Net
    batches : iterable of batches
    engine : Engine
        Makes the training step of a net alone.
    observer : BatchObserver or None
    after_step : callable or None
        Called after each step of the optimizer.

    Returns
    -------
    losses : list of float
        Mean loss of each batch.
    sizes : list of int
        Number of rows of each batch.
    """
    if _meets(batches, engine, observer):
        return _together(net, batches, engine, net.optimizer_, after_step)[:2]
    with detached():
        loss_function = LossFunction(net.criterion_)
        step = engine.step(
            net.module_, loss_function, net.optimizer_, observed=observer is not None
        )
        return train_epoch(
            net.module_,
            step,
            batches,
            accumulate=engine.accumulate,
            observer=observer,
            after_step=after_step,
        )


def evaluate_pass(net, batches, engine, observer):
    """Losses, sizes and outputs of every batch, in eval mode and without gradients."""
    if _meets(batches, engine, observer):
        return _together(net, batches, engine)
    with detached():
        return evaluate(
            net.module_,
            LossFunction(net.criterion_),
            batches,
            autocast=engine.precision.autocast,
            observer=observer,
        )


def _meets(batches, engine, observer):
    """Whether nets of other threads may go along, and the batches can be drawn ahead."""
    # A fit in a fit (of a callback, say) would wait while the outer one keeps others from drawing.
    in_task = current_task() is not None and n_streams_entered() == 1 and observer is None
    return in_task and engine.is_plain and type(batches) is Batches and len(batches) > 0


def _together(net, batches, engine, optimizer=None, after_step=None):
    ticket = current_task()
    batches.block_bytes = BLOCK_BYTES_TOGETHER
    one = EpochTask(
        net.module_,
        net.criterion_,
        batches.epoch(),
        net.stream_,
        optimizer,
        precision=engine.precision,
        clip_norm=engine.clip_norm,
        work=net.work_,
        cancelled=ticket.is_cancelled,
        after_step=after_step,
        order=ticket.order,
        kept=engine.kept,
    )
    with net.stream_.paused():
        identity = batches.identity  # A look at all rows, by as many threads at a time as run.
        if identity is not None and torch.device(net.device).type != "cpu":
            batches.share(ticket.rendezvous.tensors)  # Copies, which others need not have again.
        ticket.rendezvous.run(one)
    return one.losses, one.sizes, torch.cat(one.outputs) if one.outputs else None
