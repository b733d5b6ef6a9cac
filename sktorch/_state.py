"""The state of a net: copied whatever it holds, pickled by any pickler, read on any machine."""

import copy
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from skorch.exceptions import DeviceWarning
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

from sktorch._device import resolve_device
from sktorch._private.torch import without_hook_of_weight_norm
from sktorch.persistence.modules import parametrized

State = dict[str, Any]


class _TensorCopies(TorchFunctionMode):
    """A mode in which `deepcopy` copies tensors by a function of ours."""

    def __init__(self, copied: Callable[[Tensor], Tensor | None]) -> None:
        super().__init__()
        self.copied = copied

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        own = self.copied(args[0]) if function is Tensor.__deepcopy__ else None
        return function(*args, **(kwargs or {})) if own is None else own


def deepcopied(value: Any, memo: dict[int, Any] | None = None) -> Any:
    """Return a deep copy, of results of autograd and of lazy buffers, too, which torch refuses.

    A result of autograd becomes a constant.
    """
    memo = {} if memo is None else memo
    before = memo.copy()
    with suppress(RuntimeError, ValueError):
        return copy.deepcopy(value, memo)
    memo.clear()
    memo.update(before)
    with _TensorCopies(_copied_where_torch_refuses):
        return copy.deepcopy(value, memo)


def _copied_where_torch_refuses(tensor: Tensor) -> Tensor | None:
    if isinstance(tensor, nn.UninitializedBuffer):
        kind: Any = type(tensor)
        return kind(tensor.requires_grad, tensor.device, tensor.dtype)
    return None if tensor.is_leaf else tensor.detach().clone()


def portable(state: State, device: torch.device) -> State:
    """Return attributes of which any pickler can take one after the other.

    Nothing is pickled here, so that it is the caller's pickler that meets the classes, those of a
    notebook too. Tensors on a device travel as tensors of the host that know their device.
    """
    allow_pickling(state)
    if device.type == "cpu":
        return state.copy()
    memo = {id(p): _Travelling.of(p) for p in _parameters(state) if _is_remote(p)}
    with _TensorCopies(lambda tensor: _Travelling.of(tensor) if _is_remote(tensor) else None):
        return copy.deepcopy(state, memo)


def available_device(device: str) -> str:
    """Return a device if this machine has it, else the CPU, with a warning."""
    try:
        resolve_device(device)
    except ValueError:
        warnings.warn(
            f"The net was on {device}, which is not available: it is loaded to the CPU.",
            DeviceWarning,
            stacklevel=2,
        )
        return "cpu"
    return device


def allow_pickling(state: State) -> None:
    """Let pickle take the parametrized layers of all modules, for which torch refuses it."""
    for module in state.values():
        for layer in module.modules() if isinstance(module, nn.Module) else ():
            if parametrize.is_parametrized(layer):  # It has a class of its own.
                type(layer).__reduce_ex__ = _reduced  # type: ignore[assignment]  # a plain function


def _reduced(layer: nn.Module, protocol: int) -> tuple[Callable, tuple, State]:
    """Reduce a parametrized layer, as `object.__reduce_ex__` does, to its class and attributes."""
    tensors: Any = layer.parametrizations
    original = parametrize.type_before_parametrizations(layer)
    return parametrized, (original, [*tensors]), without_hook_of_weight_norm(vars(layer))


class _Travelling(Tensor):
    """A tensor in the host's memory that is unpickled on the device from which it came."""

    original: Tensor

    @classmethod
    def of(cls, original: Tensor) -> "_Travelling":
        travelling = original.detach().cpu().as_subclass(cls)
        travelling.original = original
        return travelling

    def __reduce_ex__(self, protocol: Any) -> tuple[Callable, tuple]:
        original = self.original
        kind = type(original) if isinstance(original, nn.Parameter) else None
        host = self.as_subclass(Tensor)
        return _arrived, (host, str(original.device), kind, original.requires_grad)


def _arrived(
    tensor: Tensor, device: str, kind: type[nn.Parameter] | None, requires_grad: bool
) -> Tensor:
    """Return a tensor that has travelled, on its device if this machine has it."""
    with suppress(ValueError):  # The net warns once of all its tensors.
        tensor = tensor.to(resolve_device(device))
    return tensor.requires_grad_(requires_grad) if kind is None else kind(tensor, requires_grad)


def _is_remote(tensor: Tensor) -> bool:
    return tensor.device.type != "cpu"


def _parameters(state: State) -> list[nn.Parameter]:
    """Return the parameters of all modules, whose copies the mode does not see."""
    modules = (value for value in state.values() if isinstance(value, nn.Module))
    return [parameter for module in modules for parameter in module.parameters()]
