"""Private names of torch."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

# torch's documentation of dispatch modes and of nested inputs uses both modules by these names,
# and OpOverload is the class of every basic operation. Without them, importing sktorch fails.
from torch._ops import OpOverload
from torch.nn.utils.parametrizations import weight_norm
from torch.optim import Optimizer
from torch.optim import optimizer as optimizer_module
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import TreeSpec, tree_flatten, tree_leaves, tree_map, tree_unflatten

__all__ = [
    "RECURRENT_ALIASES",
    "SOFTMAXES",
    "UNSAFE_VIEW",
    "OpOverload",
    "TorchDispatchMode",
    "TreeSpec",
    "copy_all",
    "mark_stepped",
    "materialise",
    "module_has_hooks",
    "optimizer_has_hooks",
    "overload_name",
    "renew_lazy_hooks",
    "schema",
    "tensor_has_hooks",
    "tree_flatten",
    "tree_leaves",
    "tree_map",
    "tree_unflatten",
    "unoptimized",
    "version",
    "without_hook_of_weight_norm",
    "without_lazy_hooks",
    "wrapped_by_schedule",
]

# The view that autograd takes of its own new tensors, an operation of ``torch.ops.aten``. Under
# another name, recordings would hold a few views that change nothing.
UNSAFE_VIEW = "_unsafe_view"

# What softmaxes and their gradients become, operations of ``torch.ops.aten``. Under other names,
# those of few classes would take three to six times as long in a stack.
SOFTMAXES = frozenset(
    getattr(torch.ops.aten, name).default
    for name in (
        "_softmax", "_log_softmax", "_softmax_backward_data", "_log_softmax_backward_data"
    )
    if hasattr(torch.ops.aten, name)
)  # fmt: skip

# Attributes in which recurrent layers hold their parameters a second time. Under other names, a
# stack could not compare recurrent modules, and they would train alone.
RECURRENT_ALIASES = frozenset({"_flat_weights", "_flat_weight_refs"})


def schema(operation: OpOverload) -> torch.FunctionSchema:
    """Return the arguments of an operation and whether it writes to them; recording needs it."""
    return operation._schema


def overload_name(operation: OpOverload) -> str:
    """Return an operation's overload ("Tensor" of ``add.Tensor``); recording needs it."""
    return operation._overloadname


def unoptimized(function: Callable) -> Callable:
    """Return a function of TorchScript that runs as it is written.

    This is ``torch.jit.optimized_execution(False)``, which takes as long as two small operations.
    The optimizing executor takes longer than a recording in its first two calls, gains nothing on
    basic operations, and may change last bits. Without the names, importing sktorch fails.
    """
    is_optimized, set_optimized = (
        torch._C._get_graph_executor_optimize,
        torch._C._set_graph_executor_optimize,
    )

    def run(*args: Any) -> Any:
        before = is_optimized()
        set_optimized(False)
        try:
            return function(*args)
        finally:
            set_optimized(before)

    return run


def copy_all(to: list[torch.Tensor], tensors: list[torch.Tensor]) -> None:
    """Copy tensors to others of the same shapes; without a private name one by one."""
    copy = getattr(torch, "_foreach_copy_", None)
    if copy is not None:
        copy(to, tensors)
        return
    for target, tensor in zip(to, tensors, strict=True):
        target.copy_(tensor)


def version(tensor: torch.Tensor) -> int:
    """Return how often a tensor was written to in place; without it, fused training fails.

    torch's notes on autograd describe the counter, which has no public name.
    """
    return tensor._version


def tensor_has_hooks(tensor: torch.Tensor) -> bool:
    """Say whether a tensor has hooks; without these names, fused training fails."""
    return bool(tensor._backward_hooks or tensor._post_accumulate_grad_hooks)


_HOOKS = [name for name in vars(nn.Module()) if name.endswith("_hooks")]


def module_has_hooks(module: nn.Module) -> bool:
    """Say whether a module (not its children) has hooks, or all modules have.

    Under other names, stacks and recordings skip a module's hooks; without the second name, fits
    fail.
    """
    return any(map(vars(module).get, _HOOKS)) or torch.nn.modules.module._has_any_global_hook()


def optimizer_has_hooks(optimizer: Optimizer) -> bool:
    """Say whether hooks listen to an optimizer's steps; without the names, its own step is used."""
    return any(
        getattr(owner, name, True)
        for owner, name in (
            (optimizer, "_optimizer_step_pre_hooks"),
            (optimizer, "_optimizer_step_post_hooks"),
            (optimizer_module, "_global_optimizer_pre_hooks"),
            (optimizer_module, "_global_optimizer_post_hooks"),
        )
    )


def wrapped_by_schedule(step: Any) -> bool:
    """Say whether a schedule wrapped this ``step``; without the name, they train alone."""
    return hasattr(step, "_wrapped_by_lr_sched")


def mark_stepped(optimizer: Optimizer) -> None:
    """Mark an optimizer as stepped; without it, its schedule warns that it came first."""
    optimizer._opt_called = True  # type: ignore[attr-defined]  # set by torch's schedules alone


def materialise(layer: Any, args: tuple, kwargs: dict[str, Any]) -> None:
    """Give a lazy layer its parameters as a call would, once; without it, lazy fits fail."""
    if layer.has_uninitialized_params():
        layer._infer_parameters(layer, args, kwargs)


def renew_lazy_hooks(layer: Any) -> None:
    """Give a lazy layer without hooks those of a new one.

    The constructor, which adds them, takes other arguments in every class. Without the names, a
    module that has not seen data can't be read from a file.
    """
    layer._load_hook = layer._register_load_state_dict_pre_hook(layer._lazy_load_hook)
    layer._initialize_hook = layer.register_forward_pre_hook(
        layer._infer_parameters, with_kwargs=True
    )


def without_lazy_hooks(state: dict[str, Any]) -> dict[str, Any]:
    """Return a lazy layer's attributes without those that `renew_lazy_hooks` sets."""
    return {name: value for name, value in state.items() if not name.endswith(("_hook", "_hooks"))}


def without_hook_of_weight_norm(state: dict[str, Any]) -> dict[str, Any]:
    """Return a layer's attributes without a hook for state dicts of torch before 2.0.

    It is a local function. Under another name, a module with `weight_norm` can't be pickled.
    """
    name = "_load_state_dict_pre_hooks"
    hooks = OrderedDict(
        (key, hook)
        for key, hook in state[name].items()
        if getattr(hook, "hook", hook).__module__ != weight_norm.__module__
    )
    return state | {name: hooks}
