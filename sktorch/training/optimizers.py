"""An optimizer's two methods without what surrounds them."""

from functools import partial

from torch.optim import Optimizer
from torch.optim import optimizer as torch_optimizer

# Private, yet the name that torch's documentation of dispatch modes gives. Were it moved, this
# import would fail.


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
