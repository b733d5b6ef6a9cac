"""Step an optimizer without the hooks and profiler marks around its arithmetic."""

from functools import partial
from typing import Any

from torch.optim import Optimizer

from sktorch._private.torch import optimizer_has_hooks


class _BareOptimizer:
    """An optimizer's ``zero_grad`` and ``step``, with the same effect on parameters and state."""

    def __init__(self, optimizer: Optimizer) -> None:
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        step: Any = type(optimizer).step
        self.step = partial(step.__wrapped__, optimizer)

    def zero_grad(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None


def without_hooks(optimizer: Optimizer) -> Any:
    """Return an optimizer's ``zero_grad`` and ``step`` without hooks, if it has none of its own.

    torch wraps every ``step`` in profiler marks and calls of hooks, and ``zero_grad`` in marks: a
    seventh of a small net's training step. The arithmetic is the same function's. An optimizer with
    a hook or a replaced method comes back as it is.
    """
    return _BareOptimizer(optimizer) if _is_plain(optimizer) else optimizer


def is_of_torch(optimizer: Optimizer) -> bool:
    """Say whether an optimizer is one of torch's; others may draw numbers, or count in Python."""
    return type(optimizer).__module__.startswith("torch.optim.")


def _is_plain(optimizer: Optimizer) -> bool:
    """Say whether nothing listens to an optimizer's steps and none of its methods is replaced."""
    replaced = (
        not vars(optimizer).keys().isdisjoint({"step", "zero_grad"})
        or type(optimizer).zero_grad is not Optimizer.zero_grad
    )
    is_plain = not (replaced or optimizer_has_hooks(optimizer))
    return is_plain and hasattr(type(optimizer).step, "__wrapped__")
