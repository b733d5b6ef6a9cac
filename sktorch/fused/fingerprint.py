"""Whether two modules are computed by the same code, and whether somebody changed one since."""

from collections.abc import Hashable, Mapping
from functools import partial
from itertools import chain
from operator import is_
from types import BuiltinFunctionType
from weakref import ReferenceType

import torch
from torch import Tensor, nn

from sktorch._private.torch import RECURRENT_ALIASES, module_has_hooks, tensor_has_hooks
from sktorch.losses.adapters import LossFunction

_PLAIN = {bool, int, float, str, bytes, complex, torch.dtype, torch.device, type(None)}
# torch keeps these in every module; `fingerprint` looks at them in its own way.
_TORCH_ATTRIBUTES = vars(nn.Module()).keys()


class NotStackable(Exception):
    """A model can't be compared with others; the message says why."""


def fingerprint(value: object, registered: Mapping[int, str] | None = None) -> Hashable:
    """Return what two objects have in common if they are computed by the same code.

    Of modules that is everything but the values of their parameters and buffers. `registered` has
    the names of layers and tensors by their ids: a layer may hold them in further attributes.
    """
    if type(value) in _PLAIN:
        return type(value), value
    inner = partial(fingerprint, registered=registered)
    if registered and id(value) in registered:
        return "registered", registered[id(value)]
    if isinstance(value, nn.Module):
        if registered and next(chain(value.parameters(), value.buffers()), None) is not None:
            raise NotStackable(f"it holds a {type(value).__name__} that is not registered")
        return _module_fingerprint(value)
    if isinstance(value, LossFunction):
        return inner(value.criterion)
    if isinstance(value, ReferenceType):
        return inner(value())
    if isinstance(value, dict):
        return tuple((name, inner(entry)) for name, entry in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return type(value), *map(inner, value)
    if isinstance(value, partial):
        return value.func, inner(value.args), inner(value.keywords)
    if isinstance(value, (*_PLAIN, type)) or _is_function(value):
        return type(value), value
    if (
        isinstance(value, Hashable)
        and callable(value)
        and getattr(value, "__module__", "").startswith("torch")
    ):
        return value
    raise NotStackable(f"it holds a {type(value).__name__}")


def _is_function(value: object) -> bool:
    return callable(value) and hasattr(value, "__code__")


def _module_fingerprint(module: nn.Module) -> Hashable:
    tensors = [*module.named_parameters(), *module.named_buffers()]
    for name, tensor in tensors:
        if tensor_has_hooks(tensor):
            raise NotStackable(f"{name} has hooks")
    return attributes(module), tuple(
        (name, tuple(t.shape), t.dtype, t.device, t.requires_grad) for name, t in tensors
    )


def attributes(module: nn.Module) -> Hashable:
    """Return the part of a fingerprint that has the layers with their own attributes."""
    layers = [*module.named_modules()]
    tensors = [*module.named_parameters(), *module.named_buffers()]
    registered = {id(part): name for name, part in [*layers, *tensors]}
    parts = []
    for name, layer in layers:
        if module_has_hooks(layer):
            raise NotStackable(f"its {type(layer).__name__} has hooks")
        own = {key: vars(layer)[key] for key in sorted(_own_attributes(layer))}
        parts.append((name, type(layer), layer.training, fingerprint(own, registered)))
    return tuple(parts)


def _own_attributes(layer: nn.Module) -> set[str]:
    names = vars(layer).keys() - _TORCH_ATTRIBUTES
    return names - RECURRENT_ALIASES if isinstance(layer, nn.RNNBase) else names


class Snapshot:
    """Everything that a module's fingerprint depends on, to see quickly whether it still holds.

    Objects are compared by identity, containers by what they hold, tensors by all but their values.
    Where a layer holds something else that may change inside, the snapshot never holds.
    """

    def __init__(self, module: nn.Module) -> None:
        self._layers = [*module.modules()]
        self._types = [*map(type, self._layers)]
        tensors = chain(module.parameters(), module.buffers())
        self._tensors = [(tensor, _facts(tensor)) for tensor in tensors]
        self._known = {*map(id, self._layers), *(id(tensor) for tensor, _ in self._tensors)}
        self._containers: list[tuple[dict | list, dict | list]] = []
        self._empty: list[dict | list] = []
        self._is_certain = all(map(self._take, self._layers))

    def _take(self, layer: nn.Module) -> bool:
        """Note the attributes of a layer; return False if a change could go unnoticed."""
        attributes = vars(layer)
        self._containers.append((attributes, attributes.copy()))
        own = _own_attributes(layer)
        return all(self._note(value) or key not in own for key, value in attributes.items())

    def _note(self, value: object) -> bool:
        """Note what a container holds; return False if a change inside could go unnoticed."""
        if type(value) in _PLAIN or id(value) in self._known:
            return True
        if isinstance(value, dict | list):
            self._known.add(id(value))  # It may hold itself.
            if not value:
                self._empty.append(value)
                return True
            self._containers.append((value, value.copy()))
            entries = value.values() if isinstance(value, dict) else value
            return all([self._note(entry) for entry in [*entries]])
        if isinstance(value, tuple):
            return all([self._note(entry) for entry in value])
        if isinstance(value, partial):
            return self._note(value.args) and self._note(value.keywords)
        return isinstance(value, type | BuiltinFunctionType | LossFunction) or _is_function(value)

    def holds(self) -> bool:
        """Say whether nobody has changed the module since."""
        return (
            self._is_certain
            and not any(self._empty)
            and all(map(is_, map(type, self._layers), self._types))
            and all(_is_same(container, before) for container, before in self._containers)
            and all(_facts(tensor) == facts for tensor, facts in self._tensors)
        )


def _is_same(container: dict | list, before: dict | list) -> bool:
    if len(container) != len(before):
        return False
    if isinstance(container, dict) and isinstance(before, dict):
        is_same = all(map(is_, container.values(), before.values()))
        return is_same and container.keys() == before.keys()
    return all(map(is_, container, before))


def _facts(tensor: Tensor) -> tuple:
    has_hooks = tensor_has_hooks(tensor)
    return tensor.requires_grad, tensor.dtype, tensor.shape, tensor.device, has_hooks
