"""The classic recipe: train an epoch, evaluate, infer.

Free functions over batches; `sktorch.training.step` says what a batch and a step are.
"""

from contextlib import nullcontext
from itertools import islice

import torch

from sktorch.data.structure import call_module


def train_epoch(module, step, batches, *, accumulate=1, observer=None, after_step=None):
    """Fit the parameters to every batch once, in train mode.

    Parameters
    ----------
    module : torch.nn.Module
    step : TrainStep
        Called with each batch.
    batches : iterable of tuple
        ``(X, y, weight)`` each.
    accumulate : int, default=1
        Number of batches whose gradients are averaged for one step of the optimizer.
    observer : object, default=None
        Its ``before(batch)``, ``on_gradient(batch)`` and ``after(batch, loss, output)`` are called
        around each step.
    after_step : callable, default=None
        Called after each step of the optimizer, without arguments.

    Returns
    -------
    losses : list of float
        Mean loss of each batch. They cross to the host once, when the epoch is over.
    sizes : list of int
        Number of rows of each batch.
    """
    module.train()
    losses, sizes = [], []
    for batch, *place in _grouped(batches, accumulate):
        if observer is None:
            loss, _ = step(batch, *place)
        else:
            observer.before(batch)
            module.train()  # An observer may have looked at predictions.
            loss, output = step(batch, *place, observer.on_gradient)
            observer.after(batch, loss, output.detach())
        if after_step is not None and place[1]:
            after_step()
        losses.append(loss)
        sizes.append(len(batch[1]))
    return torch.stack(losses).tolist() if losses else [], sizes


def _grouped(batches, size):
    """Batches, with whether each is first and last of its group, and its share in it."""
    batches = iter(batches)
    while group := list(islice(batches, size)):
        for position, batch in enumerate(group, start=1):
            yield batch, position == 1, position == len(group), 1 / len(group)


@torch.no_grad()
def evaluate(module, loss_function, batches, *, autocast=nullcontext, observer=None):
    """Loss and outputs of every batch, in eval mode and without gradients.

    Parameters
    ----------
    module : torch.nn.Module
    loss_function : callable
        ``(output, y, weight) -> loss``.
    batches, observer
        As in `train_epoch`; ``observer.on_gradient`` is not called.
    autocast : callable, default=nullcontext
        Makes the context of the forward pass and the loss.

    Returns
    -------
    losses : list of float
        Mean loss of each batch.
    sizes : list of int
        Number of rows of each batch.
    outputs : torch.Tensor
        Outputs of all rows, on the device.
    """
    module.eval()
    losses, sizes, outputs = [], [], []
    for batch in batches:
        if observer is not None:
            observer.before(batch)
            module.eval()
        X, y, weight = batch
        with autocast():
            output = call_module(module, X)
            loss = loss_function(output, y, weight)
        if observer is not None:
            observer.after(batch, loss, output)
        losses.append(loss)
        sizes.append(len(y))
        outputs.append(output)
    return torch.stack(losses).tolist(), sizes, torch.cat(outputs)


@torch.no_grad()
def infer(module, inputs, n_rows, *, autocast=nullcontext):
    """Outputs of all rows, in eval mode and without gradients.

    Under ``no_grad``, not ``inference_mode``: a module that keeps a tensor (a cached mask, a
    positional table) could not train with it afterwards, and nothing was measured to be gained.

    Parameters
    ----------
    module : torch.nn.Module
    inputs : iterable of torch.Tensor
        Batches of rows.
    n_rows : int or None
        Number of rows in all of them, if it is known.
    autocast : callable, default=nullcontext
        Makes the context of the forward pass.

    Returns
    -------
    outputs : torch.Tensor of shape (n_rows, ...)
        On the device; written in place as the batches go by, where ``n_rows`` is known.
    """
    module.eval()
    outputs, done = None, 0
    if n_rows is None:
        return torch.cat([*_outputs(module, inputs, autocast)])
    for output in _outputs(module, inputs, autocast):
        if outputs is None:
            outputs = output.new_empty(n_rows, *output.shape[1:])
        outputs[done : done + len(output)] = output
        done += len(output)
    return outputs


def _outputs(module, inputs, autocast):
    for X in inputs:
        with autocast():
            output = call_module(module, X)
        yield output
