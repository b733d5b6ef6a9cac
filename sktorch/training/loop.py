"""The classic recipe: train step, train epoch, evaluation.

Free functions in the order in which they are called. A *batch* is ``(X, y, weight)``, tensors on
the module's device; ``weight`` is None where rows are not weighted. A *loss function* takes
``(output, y, weight)`` and returns the mean loss of the batch.
"""

import inspect

import torch


def needs_closure(optimizer):
    """Whether ``optimizer.step`` evaluates the loss itself, several times, as LBFGS does."""
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


def train_step(module, loss_function, optimizer, batch, *, on_gradient=None):
    """Fit the parameters to one batch, in train mode.

    Parameters
    ----------
    module : torch.nn.Module
    loss_function : callable
        ``(output, y, weight) -> loss``, a scalar tensor.
    optimizer : torch.optim.Optimizer
    batch : tuple
        ``(X, y, weight)``.
    on_gradient : callable, default=None
        Called without arguments when the gradients are ready, before the step.

    Returns
    -------
    loss, output : torch.Tensor
        Loss and output before the step, detached, on the device: nothing waits for them.
    """
    X, y, weight = batch
    first = []

    def forward_backward():
        optimizer.zero_grad()
        output = module(X)
        loss = loss_function(output, y, weight)
        loss.backward()
        if on_gradient is not None:
            on_gradient()
        if not first:
            first.extend((loss.detach(), output.detach()))
        return loss

    if needs_closure(optimizer):
        optimizer.step(forward_backward)
    else:
        forward_backward()
        optimizer.step()
    return tuple(first)


def train_epoch(module, loss_function, optimizer, batches, *, observer=None):
    """Fit the parameters to every batch once.

    Parameters
    ----------
    module, loss_function, optimizer
        As in `train_step`.
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
    losses, sizes = [], []
    for batch in batches:
        if observer is None:
            loss, _ = train_step(module, loss_function, optimizer, batch)
        else:
            observer.before(batch)
            loss, output = train_step(
                module,
                loss_function,
                optimizer,
                batch,
                on_gradient=lambda batch=batch: observer.on_gradient(batch),
            )
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
def infer(module, inputs):
    """Outputs of each input batch, in eval mode and without gradients.

    Parameters
    ----------
    module : torch.nn.Module
    inputs : iterable of torch.Tensor

    Yields
    ------
    output : torch.Tensor
        On the device.
    """
    module.eval()
    for X in inputs:
        yield module(X)
