"""Classes and functions by names, and which of them a file may use without being trusted."""

import sys
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import partial
from importlib import import_module
from types import BuiltinFunctionType, FunctionType
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader

from sktorch.persistence.nodes import checked_str

# Functions of torch itself, most of whose others read files or run code.
_ACTIVATIONS = (
    *("celu", "cos", "exp", "relu", "rrelu", "selu", "sigmoid", "sin", "softmax", "square"),
    "tanh",
)


class Untrusted(ValueError):
    """A file asks for classes or functions that nobody trusts."""


def _is_class(base: type | tuple[type, ...], value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, base) and value is not nn.DataParallel


def _is_function(value: Any) -> bool:
    return isinstance(value, FunctionType | BuiltinFunctionType)


def _is_functional(value: Any) -> bool:
    homes = ("torch.nn.functional", "torch._C._nn", "torch")
    public = (found for name, found in vars(nn.functional).items() if name[:1] != "_")
    return _is_function(value) and value.__module__ in homes and any(value is f for f in public)


# What a file may use of torch: building or calling it has no effect beside its result.
_HARMLESS: dict[Any, Callable[[Any], bool]] = {
    nn: partial(_is_class, nn.Module),
    nn.functional: _is_functional,
    nn.init: _is_function,
    parametrizations: lambda value: _is_function(value) or _is_class((nn.Module, Enum), value),
    parametrize: partial(_is_class, nn.Module),
    torch.optim: partial(_is_class, torch.optim.Optimizer),
    lr_scheduler: partial(_is_class, lr_scheduler.LRScheduler),
    torch: lambda value: any(value is getattr(torch, name) for name in _ACTIVATIONS),
    torch.utils.data: lambda value: value is DataLoader,
}


class Names:
    """Names of classes and functions: ``known`` and torch's may be used, others if trusted."""

    def __init__(self, known: Mapping[str, Any], trusted: Mapping[str, Any] | None = None) -> None:
        self._known, self._trusted = known, trusted or {}
        self._names = {id(value): name for name, value in known.items()}

    def name_of(self, value: Any) -> str:
        """Return the name of a class or function, which a file keeps."""
        if id(value) in self._names:
            return self._names[id(value)]
        name = getattr(value, "__name__", "")
        for module, is_harmless in _HARMLESS.items():
            if vars(module).get(name) is value and is_harmless(value):
                return f"{module.__name__}.{name}"
        return import_path(value)

    def find(self, name: Any) -> Any:
        """Return the class or function of a name; raise Untrusted."""
        name = checked_str(name)
        for known in (self._trusted, self._known):
            if name in known:
                return known[name]
        found = _of_torch(name)
        if found is None:
            raise Untrusted(f"{name} is not trusted")
        return found

    def knows(self, name: str) -> bool:
        """Say whether a file may use a name."""
        try:
            self.find(name)
        except Untrusted:
            return False
        return True


def is_named(value: Any) -> bool:
    """Say whether a value is a class or a function, which files know by their names."""
    return isinstance(value, type) or _is_function(value)


def import_path(value: Any) -> str:
    """Return where a class or function says that it is."""
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", repr(value))
    return f"{getattr(value, '__module__', None)}.{name}"


def trusted_names(trusted: Iterable[Any]) -> dict[str, Any]:
    """Return classes and functions by name; those given by their names are imported."""
    if isinstance(trusted, str) or not isinstance(trusted, Iterable):
        raise TypeError(
            f"trusted={trusted!r:.100} is no list; expected names, classes and functions, as in "
            "trusted=['package.module.Class']."
        )
    trusted = [*trusted]
    for value in trusted:
        if not isinstance(value, str) and not is_named(value):
            raise TypeError(
                f"trusted holds {value!r:.100}; expected names, classes and functions, as in "
                "trusted=['package.module.Class']."
            )
    return {
        value if isinstance(value, str) else import_path(value): imported(value)
        for value in trusted
    }


def imported(value: Any) -> Any:
    """Return the class or function of an import path, and anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return _walked(value)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"trusted holds {value!r}, which can't be imported: {error}. Pass the class or "
            "function itself, or a name as in 'package.module.Class'."
        ) from error


def _walked(path: str) -> Any:
    """Return what an import path leads to, which may be inside of a class."""
    module, _, name = path.rpartition(".")
    try:
        found = import_module(module)
    except ModuleNotFoundError:
        if "." not in module:
            raise
        found = _walked(module)
        if not isinstance(found, type):  # Modules among them were imported by their own names.
            raise
    return getattr(found, name)


def _of_torch(name: str) -> Any:
    """Return what torch has under a name, if it is harmless."""
    path, _, attribute = name.rpartition(".")
    if path.startswith("torch.nn.modules."):
        found = vars(sys.modules.get(path, nn)).get(attribute)
        return found if _is_class(nn.Module, found) else None
    for module, is_harmless in _HARMLESS.items():
        found = vars(module).get(attribute)
        if module.__name__ == path and found is not None and is_harmless(found):
            return found
    return None
