"""Whether two modules are computed by the same code, and whether somebody changed one since."""

from collections.abc import Callable, Hashable, Mapping
from functools import partial
from itertools import chain, starmap
from operator import is_, itemgetter
from types import BuiltinFunctionType, CellType, FunctionType, MethodType, ModuleType
from typing import Any
from weakref import ReferenceType

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sktorch._private.torch import RECURRENT_ALIASES, module_has_hooks, tensor_has_hooks
from sktorch.losses.adapters import LossFunction
from sktorch.training.code_reads import Reads, contents, reads_of_function, reads_of_layer

_PLAIN = {bool, int, float, str, bytes, complex, torch.dtype, torch.device, type(None)}
# torch keeps these in every module; `fingerprint` looks at them in its own way.
_TORCH_ATTRIBUTES = vars(nn.Module()).keys()

# A dict or list, its length, a function that gets its entries, and those that it had.
_Watched = tuple[Mapping | list, int, Callable[..., tuple], tuple]


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
    if isinstance(value, slice):
        return slice, inner((value.start, value.stop, value.step))
    if isinstance(value, partial):
        return value.func, inner(value.args), inner(value.keywords)
    if isinstance(value, FunctionType):
        return value, _reads_fingerprint(reads_of_function(value), registered)
    if isinstance(value, MethodType):
        return inner(value.__func__), inner(value.__self__)
    if isinstance(value, (*_PLAIN, type, ModuleType)) or _is_function(value):
        return type(value), value
    if (
        isinstance(value, Hashable)
        and callable(value)
        and (getattr(value, "__module__", None) or "").startswith("torch")
    ):
        return value
    raise NotStackable(f"it holds a {type(value).__name__}")


def _is_function(value: object) -> bool:
    return callable(value) and hasattr(value, "__code__")


def _reads_fingerprint(reads: Reads, registered: Mapping[int, str] | None) -> Hashable:
    if reads.opaque:
        raise NotStackable(f"its code uses {reads.opaque[0]}, by which it may read anything")
    # Functions are followed by the reads themselves: here they are what they are called.
    return tuple(
        (name, value if isinstance(value, FunctionType) else fingerprint(value, registered))
        for name, value in reads.values()
    )


def _module_fingerprint(module: nn.Module) -> Hashable:
    tensors = [*module.named_parameters(), *module.named_buffers()]
    for name, tensor in tensors:
        if tensor_has_hooks(tensor):
            raise NotStackable(f"{name} has hooks")
    return attributes(module), tuple(
        (name, tuple(t.shape), _strides(t), t.dtype, t.device, t.requires_grad)
        for name, t in tensors
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
        code = type(layer).forward, _reads_fingerprint(reads_of_layer(layer), registered)
        parts.append((name, type(layer), code, layer.training, fingerprint(own, registered)))
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
        tensors = [*module.parameters(), *module.buffers()]
        self._tensors = [(tensor, _facts(tensor)) for tensor in tensors]
        self._n_hooks = RemovableHandle.next_id  # torch counts all hooks of modules and tensors
        self._known = {*map(id, self._layers), *map(id, tensors)}
        self._watched: list[_Watched] = []
        self._cells: list[tuple[CellType, object]] = []
        self._empty: list[dict | list] = []
        self._is_certain = all([self._take(layer) for layer in self._layers])

    def _take(self, layer: nn.Module) -> bool:
        """Note the attributes of a layer; return False if a change could go unnoticed."""
        attributes, own = vars(layer), _own_attributes(layer)
        self._watched.append(_watch(attributes, ["training", *own]))
        for name in ("_parameters", "_buffers", "_modules"):
            self._note(attributes[name])
        certain = [self._note(attributes[name]) for name in own]
        return all([*certain, self._note_reads(reads_of_layer(layer))])

    def _note_reads(self, reads: Reads) -> bool:
        """Note the variables that code reads; return False if a change could go unnoticed."""
        self._watched += [_watch(namespace, names) for namespace, names in reads.namespaces]
        self._cells += [(cell, contents(cell)) for cell in reads.cells]
        values = [value for _, value in reads.values()]
        followed = [isinstance(value, FunctionType) or self._note(value) for value in values]
        return all(followed) and not reads.opaque

    def _note(self, value: object) -> bool:
        """Note what a container holds; return False if a change inside could go unnoticed."""
        if type(value) in _PLAIN or id(value) in self._known:
            return True
        if isinstance(value, dict | list):
            self._known.add(id(value))  # It may hold itself.
            if not value:
                self._empty.append(value)
                return True
            keys = [*value] if isinstance(value, dict) else [*range(len(value))]
            self._watched.append(_watch(value, keys))
            return all([self._note(value[key]) for key in keys])
        if isinstance(value, tuple):
            return all([self._note(entry) for entry in value])
        if isinstance(value, slice):
            return self._note((value.start, value.stop, value.step))
        if isinstance(value, partial):
            return self._note(value.args) and self._note(value.keywords)
        if isinstance(value, FunctionType) and id(value) not in self._known:
            self._known.add(id(value))
            return self._note_reads(reads_of_function(value))
        if isinstance(value, MethodType):
            return self._note(value.__func__) and self._note(value.__self__)
        known = type | ModuleType | BuiltinFunctionType | LossFunction
        return isinstance(value, known) or _is_function(value)

    def holds(self) -> bool:
        """Say whether nobody has changed the module since."""
        return (
            self._is_certain
            and not any(self._empty)
            and all(map(is_, map(type, self._layers), self._types))
            and all(starmap(_is_same, self._watched))
            and all(contents(cell) is before for cell, before in self._cells)
            and all(_facts(tensor) == facts for tensor, facts in self._tensors)
            and not self._has_new_hooks()
        )

    def _has_new_hooks(self) -> bool:
        """Say whether a layer or tensor has hooks, if any hook was registered since anywhere."""
        n_hooks = RemovableHandle.next_id
        if n_hooks != self._n_hooks:
            tensors = (tensor for tensor, _ in self._tensors)
            if any(map(module_has_hooks, self._layers)) or any(map(tensor_has_hooks, tensors)):
                return True
            self._n_hooks = n_hooks
        return False


def _watch(container: Mapping | list, keys: list) -> _Watched:
    # Of a single key it would return no tuple, and without one it can't be made.
    entries = itemgetter(*keys, keys[0]) if keys else _nothing
    return container, len(container), entries, entries(container)


def _is_same(container: Any, length: int, entries: Callable[..., tuple], before: tuple) -> bool:
    try:
        return len(container) == length and all(map(is_, entries(container), before))
    except LookupError:
        return False


def _nothing(container: Any) -> tuple:
    return ()


def _facts(tensor: Tensor) -> tuple:
    return tensor.requires_grad, tensor.dtype, tensor.shape, _strides(tensor), tensor.device


def _strides(tensor: Tensor) -> tuple[int, ...] | None:
    return tensor.stride() if tensor.layout is torch.strided else None
