"""Find what code reads beside its arguments: global variables, closures, attributes of classes."""

import dis
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

from torch import nn

# Their code is taken to compute the same in every call.
_LIBRARIES = ("torch", "sktorch")
_LOAD_VARIABLE = {"LOAD_GLOBAL", "LOAD_NAME"}
_LOAD_ATTRIBUTE = {"LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"}


@dataclass
class Reads:
    """Names in namespaces, and cells of closures, whose values decide what code computes."""

    namespaces: list[tuple[Mapping[str, Any], list[str]]] = field(default_factory=list)
    cells: list[CellType] = field(default_factory=list)

    def values(self) -> Iterator[tuple[str, object]]:
        """Yield every name with its value, and what the cells hold."""
        for namespace, names in self.namespaces:
            yield from ((name, namespace.get(name)) for name in names)
        yield from (("closure", contents(cell)) for cell in self.cells)

    def note(self, namespace: Mapping[str, Any], names: Iterable[str]) -> None:
        """Add the names that a namespace has, if there are any."""
        if found := sorted(namespace.keys() & names):
            self.namespaces.append((namespace, found))


def contents(cell: CellType) -> object:
    """Return what a cell of a closure holds; None if it is empty."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def is_library_code(module: nn.Module) -> bool:
    """Say whether a module is computed by torch and this package alone: then it reads nothing."""
    return all(
        _package(type(layer)) in _LIBRARIES
        and all(_package(v) in _LIBRARIES for v in vars(layer).values() if callable(v))
        for layer in module.modules()
    )


def reads_of_function(function: Any) -> Reads:
    """Return what is read by a function and by the functions of its package that it calls."""
    return _followed([function], _package(function), ())


def reads_of_layer(layer: nn.Module) -> Reads:
    """Return what is read by a layer's own methods that torch calls, and by what they call."""
    kind = type(layer)
    package = _package(kind)
    own = tuple(base for base in kind.__mro__ if _package(base) == package)
    inherited = {name for base in kind.__mro__ if base not in own for name in vars(base)}
    called = [
        value
        for base in own
        for name, value in vars(base).items()
        if name in inherited and not name.startswith("__")
    ]
    return _followed(called, package, own)


def _followed(functions: list[Any], package: str, classes: tuple[type, ...]) -> Reads:
    """Return what functions of a package read, some of which are methods of these classes."""
    reads, left, seen = Reads(), functions, set[FunctionType]()
    while left and package not in _LIBRARIES:
        function = _unwrapped(left.pop())
        if not isinstance(function, FunctionType) or function in seen:
            continue
        if _package(function) != package:
            continue
        seen.add(function)
        names, variables = _names(function.__code__), function.__globals__
        reads.note(variables, names.variables)
        reads.cells += function.__closure__ or ()
        held = [variables[name] for name in names.variables & variables.keys()]
        held += map(contents, function.__closure__ or ())
        owners = [*classes, *(v for v in held if isinstance(v, ModuleType | type))]
        for owner in owners:
            if _package(owner) == package:
                own = vars(owner)
                attributes = {name: own[name] for name in names.attributes & own.keys()}
                methods = {n for n, v in attributes.items() if callable(_unwrapped(v))}
                reads.note(own, attributes.keys() - methods)
                left += map(attributes.get, methods)
        left += held
    return reads


def _unwrapped(value: Any) -> Any:
    """Return the function of a property, a class method or a static method."""
    return getattr(value, "fget", None) or getattr(value, "__func__", value)


class _Names(NamedTuple):
    variables: frozenset[str]  # global ones
    attributes: frozenset[str]


@cache
def _names(code: CodeType) -> _Names:
    """Return the names that code loads, and the functions inside it."""
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return _Names(
        _loaded(code, _LOAD_VARIABLE).union(*(names.variables for names in inner)),
        _loaded(code, _LOAD_ATTRIBUTE).union(*(names.attributes for names in inner)),
    )


def _loaded(code: CodeType, opnames: set[str]) -> frozenset[str]:
    return frozenset(i.argval for i in dis.get_instructions(code) if i.opname in opnames)


def _package(code: Any) -> str:
    """Return the top-level package of a module, class or function."""
    name = code.__name__ if isinstance(code, ModuleType) else getattr(code, "__module__", None)
    return (name or "").partition(".")[0]
