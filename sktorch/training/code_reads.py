"""Find what code reads beside its arguments: global variables, closures, attributes of classes."""

import dis
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from sysconfig import get_path
from types import CellType, CodeType, FunctionType, MappingProxyType, ModuleType
from typing import Any, NamedTuple

from torch import nn

# Their code is taken to compute the same in every call.
_LIBRARIES = ("torch", "sktorch")
_LOAD_VARIABLE = {"LOAD_GLOBAL", "LOAD_NAME"}
_LOAD_ATTRIBUTE = {"LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR", "IMPORT_FROM"}
# Methods that are called by no name in the code.
_CALLED = {"__call__", "__getattr__", "__getattribute__", "forward", "backward", "setup_context"}
# By these, code may read anything.
_OPAQUE = {"eval", "exec", "globals", "locals", "open", "os", "sys", "time", "vars"}


@dataclass
class Reads:
    """Names in namespaces, and cells of closures, whose values decide what code computes."""

    namespaces: list[tuple[Mapping[str, Any], list[str]]] = field(default_factory=list)
    cells: list[CellType] = field(default_factory=list)
    opaque: list[str] = field(default_factory=list)  # names by which code may read anything

    def values(self) -> Iterator[tuple[str, object]]:
        """Yield every name with its value, and what the cells hold."""
        for namespace, names in self.namespaces:
            yield from ((name, namespace.get(name)) for name in names)
        yield from (("closure", contents(cell)) for cell in self.cells)

    def note(self, namespace: Mapping[str, Any], names: Iterable[str]) -> None:
        """Add the names that a namespace has, if there are any; another one may hide a class's."""
        found = sorted(namespace.keys() & names)
        if found or isinstance(namespace, MappingProxyType):
            self.namespaces.append((namespace, found))

    def note_function(self, function: FunctionType, names: "_Names") -> list[Any]:
        """Add what a function reads; return the values."""
        variables, own = function.__globals__, vars(function)
        defaults = dict(function.__kwdefaults__ or {})
        if function.__defaults__:
            defaults["defaults"] = function.__defaults__
        for namespace, read in ((variables, names.variables), (own, own), (defaults, defaults)):
            self.note(namespace, read)
        cells = function.__closure__ or ()
        self.cells += cells
        self.opaque += _OPAQUE & (names.variables | names.modules)
        return [
            *(variables[name] for name in names.variables & variables.keys()),
            *map(contents, cells),
            *own.values(),
            *map(sys.modules.get, names.modules),
        ]


def contents(cell: CellType) -> object:
    """Return what a cell of a closure holds; None if it is empty."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def is_library_code(module: nn.Module) -> bool:
    """Say whether a module is computed by torch and this package alone: then it reads nothing."""
    return all(
        package_of(type(layer)) in _LIBRARIES
        and all(package_of(v) in _LIBRARIES for v in vars(layer).values() if callable(v))
        for layer in module.modules()
    )


def reads_of_function(function: Any) -> Reads:
    """Return what is read by a function and by the code of its author that it calls."""
    return _followed([function], package_of(function))


def reads_of_layer(layer: nn.Module) -> Reads:
    """Return what is read by a layer's own methods that torch calls, and by what they call."""
    kind = type(layer)
    package = package_of(kind)
    own = [base for base in kind.__mro__ if _is_own(base, package)]
    inherited = {name for base in kind.__mro__ if base not in own for name in vars(base)}
    called = [
        value
        for base in own
        for name, value in vars(base).items()
        if name in inherited and not name.startswith("__")
    ]
    held = [value for value in vars(layer).values() if isinstance(value, type | ModuleType)]
    return _followed([*called, *held, *own], package)


def _followed(left: list[Any], package: str) -> Reads:
    """Return what functions read, and what they find in the classes and modules that they name."""
    reads, attributes, owners = Reads(), set[str](), list[Any]()
    seen: dict[int, object] = {}
    while left and package not in _LIBRARIES:
        value = _unwrapped(left.pop())
        if id(value) not in seen and _is_own(value, package):
            seen[id(value)] = value
            if isinstance(value, FunctionType):
                names = _names(value.__code__)
                attributes |= names.attributes
                left += reads.note_function(value, names)
            else:
                owners.append(value)
                left += getattr(value, "__mro__", ())
        if not left:  # Another round, as more attributes are known.
            named = (v for owner in owners for v in _named(owner, attributes).values())
            left = [v for v in map(_unwrapped, named) if id(v) not in seen and _is_own(v, package)]
    for owner in owners:
        values = _named(owner, attributes)
        reads.note(vars(owner), [n for n, v in values.items() if not callable(_unwrapped(v))])
    return reads


def _named(owner: Any, names: set[str]) -> dict[str, Any]:
    """Return the attributes of a class or module that code names, or that Python or torch calls."""
    if "getattr" in names:
        return {n: v for n, v in vars(owner).items() if n in names or not n.startswith("__")}
    is_module = isinstance(owner, ModuleType) or issubclass(owner, nn.Module)
    return {
        name: value
        for name, value in vars(owner).items()
        if name in names
        or name in _CALLED
        or (not is_module and name.startswith("__") and isinstance(value, FunctionType))
    }


def _unwrapped(value: Any) -> Any:
    """Return the function of a property, a class method or a static method."""
    return getattr(value, "fget", None) or getattr(value, "__func__", value)


class _Names(NamedTuple):
    variables: frozenset[str]  # global ones
    attributes: frozenset[str]
    modules: frozenset[str]  # that are imported inside


@cache
def _names(code: CodeType) -> _Names:
    """Return the names that code loads, and the functions inside it."""
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    variables = _loaded(code, _LOAD_VARIABLE).union(*(names.variables for names in inner))
    return _Names(
        variables,
        # By getattr, any attribute may be read.
        (_loaded(code, _LOAD_ATTRIBUTE) | variables & {"getattr"}).union(
            *(names.attributes for names in inner)
        ),
        _loaded(code, {"IMPORT_NAME"}).union(*(names.modules for names in inner)),
    )


def _loaded(code: CodeType, opnames: set[str]) -> frozenset[str]:
    return frozenset(i.argval for i in dis.get_instructions(code) if i.opname in opnames)


def _is_own(value: Any, package: str) -> bool:
    """Say whether a value is code of a package, or of somebody who did not install it."""
    if not isinstance(value, FunctionType | ModuleType | type):
        return False
    name = package_of(value)
    return name not in _LIBRARIES and (name == package or not is_installed(name))


@cache
def is_installed(package: str) -> bool:
    """Say whether a package is Python's own, or among those that are installed."""
    file = getattr(sys.modules.get(package), "__file__", None) or ""
    places = {path for path in map(get_path, ("purelib", "platlib", "stdlib")) if path}
    return package in sys.stdlib_module_names or any(map(Path(file).is_relative_to, places))


def package_of(code: Any) -> str:
    """Return the top-level package of a module, class or function."""
    name = code.__name__ if isinstance(code, ModuleType) else getattr(code, "__module__", None)
    return (name or "").partition(".")[0]
