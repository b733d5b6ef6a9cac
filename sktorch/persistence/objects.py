"""Objects as trees: the name of the class, and its state. Only allowed classes are made again.

An object is made without its constructor, as by pickle; but no file says what is called.
"""

import copyreg
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from sktorch.persistence.names import Names, is_named
from sktorch.persistence.nodes import BadTree, NotPlain, checked_kind, checked_list
from sktorch.persistence.tree import Decoder, Encoder


@dataclass(frozen=True)
class Reduced:
    """An object taken apart."""

    type: type
    args: tuple = ()  # of what makes it
    state: Any = None
    items: Any = ()  # of a list
    pairs: Any = ()  # of a dict


@dataclass(frozen=True)
class Adapter:
    """How objects of a class are taken apart and made again, where that is not as by pickle.

    An object is made before its state is read, which may refer to it.
    """

    reduce: Callable[[Any], Reduced]
    make: Callable[..., Any]
    fill: Callable[[Any, Any], None]


Adapters = Mapping[type, Adapter]
_LISTS = ("args", "items", "pairs")


def reduce(value: Any) -> Reduced:
    """Take an object apart as pickle does, if a class and a state are all it needs."""
    make, args, *rest = value.__reduce_ex__(2)
    if make is not copyreg.__newobj__:  # type: ignore[attr-defined]  # documented by PEP 307
        raise NotPlain(f"It is made by {make!r}, not of a class and its state")
    state, items, pairs = (*rest, None, None, None)[:3]
    return Reduced(args[0], args[1:], state, items or (), pairs or ())


def make(cls: type, *args: Any) -> Any:
    """Make an object without state."""
    return cls.__new__(cls, *args)


def fill(value: Any, state: Any) -> None:
    """Give an object its state, as pickle does."""
    if hasattr(value, "__setstate__"):
        value.__setstate__(state)
        return
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    vars(value).update(attributes or {})
    for name, attribute in (slots or {}).items():
        setattr(value, name, attribute)


PICKLED = Adapter(reduce, make, fill)


class ObjectEncoder(Encoder):
    """Makes JSON of objects, too."""

    def __init__(self, names: Names, adapters: Adapters, unnamed: Iterable[str] = ()) -> None:
        super().__init__(unnamed)
        self.names, self._adapters = names, adapters
        self._named: dict[str, Any] = {}

    def encode_object(self, value: Any) -> Any:
        """Return the JSON of an object, a class or a function."""
        if is_named(value):
            return {"$": "name", "of": self._name(value)}
        if type(value) is partial:
            return {"$": "partial", "of": self.items([value.func, value.args, value.keywords])}
        if type(value) is defaultdict and value.default_factory is dict:
            return {"$": "defaultdict", "of": self.encode(dict(value))}
        try:
            reduced = _adapter_of(type(value), self._adapters).reduce(value)
        except (TypeError, AttributeError, NotImplementedError) as error:
            raise self.refused(value, f"{error}") from error
        node: dict[str, Any] = {"$": "object", "type": self._name(reduced.type)}
        if reduced.args:
            node["args"] = self.items(reduced.args)
        if reduced.state is not None:
            node["state"] = self.encode(reduced.state)
        if items := self.items(reduced.items):
            node["items"] = items
        if pairs := [self.items(pair) for pair in reduced.pairs]:
            node["pairs"] = pairs
        return node

    def needs_trust(self) -> dict[str, Any]:
        """Return the classes and functions, by name, that no file may use without being trusted."""
        return {k: value for k, value in self._named.items() if not self.names.knows(k)}

    def _name(self, value: Any) -> str:
        name = self.names.name_of(value)
        if self._named.setdefault(name, value) is not value:
            raise self.refused(value, f"Another one is called {name}, too; give it another name")
        return name


class ObjectDecoder(Decoder):
    """Makes objects again of JSON, of the classes that the names know."""

    def __init__(self, tensors: dict[str, Tensor], names: Names, adapters: Adapters) -> None:
        super().__init__(tensors)
        self._names, self._adapters = names, adapters

    def decode_object(self, node: dict[str, Any]) -> Any:
        """Return the object, class or function of a node."""
        match node["$"]:
            case "name":
                return self.remember(node, self._names.find(node["of"]))
            case "partial":
                function, args, keywords = self.decode(checked_list(node["of"]))
                return self.remember(node, partial(function, *args, **keywords))
            case "defaultdict":
                entries = self.decode(checked_kind(node["of"], "dict"))
                return self.remember(node, defaultdict(dict, entries))
            case "object":
                return self._object(node)
        return super().decode_object(node)

    def _object(self, node: dict[str, Any]) -> Any:
        cls = self._names.find(node["type"])
        if not isinstance(cls, type):
            raise BadTree(f"{node['type']} is no class")
        adapter = _adapter_of(cls, self._adapters)
        args, items, pairs = (checked_list(node.get(name, [])) for name in _LISTS)
        value = adapter.make(cls, *self.decode(args))
        self.remember(node, value)
        if "state" in node:
            adapter.fill(value, self.decode(node["state"]))
        # By the class: an attribute of the object, which the file sets, must not be called.
        if items:
            _checked(value, list).extend(value, self.decode(items))
        for key, item in self.decode(pairs):
            _checked(value, dict).__setitem__(value, key, item)
        return value


def _checked(value: Any, base: type) -> Any:
    """Return a base class of an object; raise if it is none."""
    if not isinstance(value, base):
        raise BadTree(f"a {type(value).__name__} is no {base.__name__}")
    return base


def names_in(node: Any) -> Iterator[str]:
    """Yield the names of all classes and functions in a tree."""
    if isinstance(node, list):
        for item in node:
            yield from names_in(item)
    elif isinstance(node, dict):
        kind = node.get("$")
        if kind in ("name", "object"):
            name = node.get("of" if kind == "name" else "type")
            if isinstance(name, str):  # Decoding tells what is not.
                yield name
        for item in node.values():
            yield from names_in(item)


def _adapter_of(cls: type, adapters: Adapters) -> Adapter:
    return next((adapters[base] for base in cls.__mro__ if base in adapters), PICKLED)
