"""An optimizer's two methods without what surrounds them."""

from functools import partial

import torch
from torch.optim import Optimizer

from sktorch._private.torch import TorchDispatchMode, optimizer_has_hooks, schema


class _Bare:
    """``zero_grad`` and ``step`` alone, with the same effect on parameters and state."""

    def __init__(self, optimizer):
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.step = partial(type(optimizer).step.__wrapped__, optimizer)

    def zero_grad(self):
        for parameter in self._parameters:
            parameter.grad = None


def without_hooks(optimizer):
    """The optimizer as a training step needs it, without its hooks and profiler marks if it can.

    torch wraps every ``step`` in profiler marks and calls of hooks, and ``zero_grad`` in marks:
    a seventh of a small net's training step. The arithmetic is the same function's.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer

    Returns
    -------
    optimizer : object with ``zero_grad()`` and ``step()``
        The optimizer itself where somebody listens to its steps or has replaced a method.
    """
    return _Bare(optimizer) if _is_plain(optimizer) else optimizer


def _is_plain(optimizer):
    replaced = (
        not vars(optimizer).keys().isdisjoint({"step", "zero_grad"})
        or type(optimizer).zero_grad is not Optimizer.zero_grad
    )
    is_plain = not (replaced or optimizer_has_hooks(optimizer))
    return is_plain and hasattr(type(optimizer).step, "__wrapped__")


class ReplayedOptimizer:
    """Steps that only write to tensors by operations which stay the same, as those operations.

    An optimizer decides in every step anew what to do. A fused one comes to a few operations in
    place, on the same parameters, gradients and states and with the same numbers every time. One
    that makes further tensors, or looks into one, is called as it is.

    Parameters
    ----------
    optimizer : object with ``step()``
        Its settings stay, and its parameters' gradients are written to the same tensors.
    """

    def __init__(self, optimizer):
        self._optimizer, self._writes = optimizer, None
        self._n_tries = 2  # The first step may make the states.

    def step(self):
        """Step, by the optimizer itself or by what it comes to."""
        if self._writes is not None:
            with torch.no_grad():
                for operation, arguments, options in self._writes:
                    operation(*arguments, **options)
        elif self._n_tries:
            self._n_tries -= 1
            with _Writes() as seen:
                self._optimizer.step()
            self._writes = seen.writes
        else:
            self._optimizer.step()


class _Writes(TorchDispatchMode):
    """Notes the operations that write to tensors; None once there is one of another kind."""

    def __init__(self):
        super().__init__()
        self.writes = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        # Private, yet what torch prints of an operation. Were it renamed, this would fail.
        if not schema(operation).is_mutable:
            self.writes = None
        elif self.writes is not None:
            self.writes.append((operation, args, kwargs))
        return operation(*args, **kwargs)
