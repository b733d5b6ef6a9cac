"""Step an optimizer without the hooks and profiler marks around its arithmetic."""

from functools import partial
from typing import Any

from torch.optim import Optimizer
from torch.optim import optimizer as torch_optimizer


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


def _is_plain(optimizer: Optimizer) -> bool:
    # The hooks' names are private in torch; were they renamed, the optimizer would be used as is.
    hooks = [
        getattr(optimizer, "_optimizer_step_pre_hooks", True),
        getattr(optimizer, "_optimizer_step_post_hooks", True),
        getattr(torch_optimizer, "_global_optimizer_pre_hooks", True),
        getattr(torch_optimizer, "_global_optimizer_post_hooks", True),
    ]
    replaced = (
        not vars(optimizer).keys().isdisjoint({"step", "zero_grad"})
        or type(optimizer).zero_grad is not Optimizer.zero_grad
    )
    return not (any(hooks) or replaced) and hasattr(type(optimizer).step, "__wrapped__")
