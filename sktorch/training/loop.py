"""The classic recipe: train step, train epoch, evaluation.

Free functions in the order in which they are called. A *batch* is ``(X, y, weight)``, tensors on
the module's device; ``weight`` is None where rows are not weighted. A *loss function* takes
``(output, y, weight)`` and returns the mean loss of the batch.
"""

import inspect
from functools import cache

import torch

from sktorch.training.optimizers import without_hooks


def forward_backward(module, loss_function, optimizer, batch, on_gradient=None):
    """Loss and output of a batch, and the gradients of the loss.

    Parameters
    ----------
    module : torch.nn.Module
    loss_function : callable
        ``(output, y, weight) -> loss``, a scalar tensor.
    optimizer : torch.optim.Optimizer
        Its gradients are zeroed first.
    batch : tuple
        ``(X, y, weight)``.
    on_gradient : callable, default=None
        Called with the batch when the gradients are ready.

    Returns
    -------
    loss, output : torch.Tensor
        On the device; nothing has waited for them.
    """
    X, y, weight = batch
    optimizer.zero_grad()
    output = module(X)
    loss = loss_function(output, y, weight)
    loss.backward()
    if on_gradient is not None:
        on_gradient(batch)
    return loss, output


def train_step(module, loss_function, optimizer, batch, on_gradient=None):
    """Fit the parameters to one batch; arguments and results as in `forward_backward`."""
    loss, output = forward_backward(module, loss_function, optimizer, batch, on_gradient)
    optimizer.step()
    return loss.detach(), output.detach()


def train_step_with_closure(module, loss_function, optimizer, batch, on_gradient=None):
    """As `train_step`, for an optimizer that evaluates the loss itself, as LBFGS does.

    The loss and output are those of its first evaluation, before the step.
    """
    evaluations = []

    def closure():
        evaluations.append(forward_backward(module, loss_function, optimizer, batch, on_gradient))
        return evaluations[-1][0]

    optimizer.step(closure)
    loss, output = evaluations[0]
    return loss.detach(), output.detach()


def step_for(optimizer):
    """The training step that an optimizer needs: with a closure where it demands one."""
    return train_step_with_closure if _demands_closure(type(optimizer)) else train_step


@cache
def _demands_closure(optimizer_class):
    closure = inspect.signature(optimizer_class.step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


def train_epoch(module, loss_function, optimizer, batches, *, observer=None):
    """Fit the parameters to every batch once, in train mode.

    Parameters
    ----------
    module, loss_function, optimizer
        As in `forward_backward`.
    batches : iterable of tuple
        ``(X, y, weight)`` each.
    observer : object, default=None
        Its ``before(batch)``, ``on_gradient(batch)`` and ``after(batch, loss, output)`` are called
        around each step.

    Returns
    -------
    losses : list of float
        Mean loss of each batch. They cross to the host once, when the epoch is over.
    sizes : list of int
        Number of rows of each batch.
    """
    module.train()
    step, optimizer = step_for(optimizer), without_hooks(optimizer)
    losses, sizes = [], []
    for batch in batches:
        if observer is None:
            loss, _ = step(module, loss_function, optimizer, batch)
        else:
            observer.before(batch)
            module.train()  # An observer may have looked at predictions.
            loss, output = step(module, loss_function, optimizer, batch, observer.on_gradient)
            observer.after(batch, loss, output)
        losses.append(loss)
        sizes.append(len(batch[1]))
    return torch.stack(losses).tolist() if losses else [], sizes


@torch.no_grad()
def evaluate(module, loss_function, batches, *, observer=None):
    """Loss and outputs of every batch, in eval mode and without gradients.

    Parameters
    ----------
    module, loss_function, batches, observer
        As in `train_epoch`; ``observer.on_gradient`` is not called.

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
        output = module(X)
        loss = loss_function(output, y, weight)
        if observer is not None:
            observer.after(batch, loss, output)
        losses.append(loss)
        sizes.append(len(y))
        outputs.append(output)
    return torch.stack(losses).tolist(), sizes, torch.cat(outputs)


@torch.no_grad()
def infer(module, inputs, n_rows):
    """Outputs of all rows, in eval mode and without gradients.

    Under ``no_grad``, not ``inference_mode``: a module that keeps a tensor (a cached mask, a
    positional table) could not train with it afterwards, and nothing was measured to be gained.

    Parameters
    ----------
    module : torch.nn.Module
    inputs : iterable of torch.Tensor
        Batches of rows.
    n_rows : int
        Number of rows in all of them.

    Returns
    -------
    outputs : torch.Tensor of shape (n_rows, ...)
        On the device; written in place as the batches go by.
    """
    module.eval()
    outputs, done = None, 0
    for X in inputs:
        output = module(X)
        if outputs is None:
            outputs = torch.empty(
                n_rows, *output.shape[1:], dtype=output.dtype, device=output.device
            )
        outputs[done : done + len(output)] = output
        done += len(output)
    return outputs
