"""Plain values, arrays and tensors as JSON that refers to tensors by name, and back.

A list is a list, and a dict of strings a dict. `nodes.py` has the rest.
"""

from array import array
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import numpy as np
from torch import Tensor

from sktorch._device import resolve_device
from sktorch.persistence import nodes
from sktorch.persistence import tensors as placement
from sktorch.persistence.nodes import BadTree, NotPlain, checked_list

MAX_DEPTH = 200


class Encoder:
    """Makes JSON of values, and keeps the tensors that the JSON refers to.

    Objects, arrays and tensors that come again are the same again when they are read.
    """

    def __init__(self, unnamed: Iterable[str] = ()) -> None:
        self._unnamed = {"", *unnamed}  # parts of paths that are not in names of tensors
        self._path: list[str] = []
        self._seen: dict[int, int] = {}  # numbers of objects by identity
        self._once: list[Any] = []  # these objects: no other has their identity while they live
        self._again: set[int] = set()  # numbers of those that came again
        self._nodes: list[tuple[int, dict]] = []
        self._tensors: list[tuple[str, Tensor, dict]] = []

    def encode(self, value: Any, name: str = "") -> Any:
        """Return the JSON of a value; tensors are named after the places where they are."""
        if len(self._path) > MAX_DEPTH:
            raise NotPlain(f"{self.place} is nested more than {MAX_DEPTH} levels deep")
        self._path.append(name)
        try:
            node = nodes.atom(value)
            return self._encode(value) if node is NotImplemented else node
        finally:
            self._path.pop()

    def finish(self) -> dict[str, Tensor]:
        """Finish all JSON that was returned; return the tensors to keep beside it."""
        for number, node in self._nodes:
            if number in self._again:
                node["id"] = number
        return placement.place(self._tensors)

    @property
    def place(self) -> str:
        """The path to the value that is encoded."""
        return ".".join(part for part in self._path if part not in self._unnamed) or "content"

    def encode_object(self, value: Any) -> Any:
        """Return the JSON of an object, which only a subclass can have."""
        raise self.refused(value)

    def refused(self, value: Any, advice: str = "Expected plain values, arrays and tensors") -> Any:
        """Return the error for a value that has no place in a file."""
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        return NotPlain(f"{self.place} is of type {kind}, which can't be saved. {advice}.")

    def items(self, values: Any) -> list:
        """Return the JSON of each value."""
        return [self.encode(value, str(index)) for index, value in enumerate(values)]

    def _encode(self, value: Any) -> Any:
        if type(value) is list:
            return self.items(value)
        if type(value) is dict and all(type(key) is str and key[:1] != "$" for key in value):
            return {key: self.encode(item, key) for key, item in value.items()}
        if type(value) in (dict, OrderedDict):
            pairs = [
                [
                    self.encode(key, f"key{index}"),
                    self.encode(value[key], key if type(key) is str else f"{index}"),
                ]
                for index, key in enumerate(value)
            ]
            return {"$": type(value).__name__, "of": pairs}
        container = nodes.members(value)
        if container is not None:
            kind, items = container
            return {"$": kind, "of": self.items(items)}
        if type(value) is array and value.typecode in nodes.COLUMNS:
            code, values = nodes.column_node(value)
            return {"$": "column", "code": code, "of": self.encode(values)}
        if id(value) in self._seen:
            self._again.add(self._seen[id(value)])
            return {"$": "again", "of": self._seen[id(value)]}
        number = self._seen[id(value)] = len(self._once)
        self._once.append(value)
        node = self._encode_once(value)
        self._nodes.append((number, node))
        return node

    def _encode_once(self, value: Any) -> dict:
        if isinstance(value, Tensor):
            settings = placement.settings(value)
            return self.encode_object(value) if settings is None else self._keep(value, settings)
        if type(value) is np.ndarray and value.dtype.names is None and value.dtype.kind != "T":
            node, data = nodes.array_node(value)
            if data is not None:
                return node | {"of": self._keep(data, {"$": "tensor"})}
            return node | {"of": self.items(value.ravel(node.get("order", "C")).tolist())}
        return self.encode_object(value)

    def _keep(self, tensor: Tensor, node: dict) -> dict:
        self._tensors.append((self.place, tensor, node))
        return node


class Decoder:
    """Makes values of the JSON of an encoder; `tensors` are the values kept beside it, by name.

    A tensor returns to its device, if the machine has it.
    """

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self._tensors = {(name, "cpu"): tensor for name, tensor in tensors.items()}
        self._made: dict[int, Any] = {}
        self._arrays: set[str] = set()  # names of tensors that arrays have
        self._depth = 0

    def decode(self, node: Any) -> Any:
        """Return the value of a node."""
        if self._depth > MAX_DEPTH:
            raise BadTree(f"values are nested more than {MAX_DEPTH} levels deep")
        self._depth += 1
        try:
            if isinstance(node, list):
                return [self.decode(item) for item in node]
            if not isinstance(node, dict):
                return node
            if "$" not in node:
                return {key: self.decode(item) for key, item in node.items()}
            value = nodes.read_atom(node)
            return self._decode(node) if value is NotImplemented else value
        finally:
            self._depth -= 1

    def decode_object(self, node: dict[str, Any]) -> Any:
        """Return the object of a node, which only a subclass can make."""
        raise BadTree(f"{node['$']!r} is no kind of value")

    def remember(self, node: dict[str, Any], value: Any) -> Any:
        """Let a node that says "again" be the value of this node; return the value."""
        if "id" in node:
            self._made[node["id"]] = value
        return value

    def _decode(self, node: dict[str, Any]) -> Any:
        kind: Any = node["$"]
        of: Any = node.get("of")
        if kind == "again":
            return self._made[of]
        if kind in ("dict", "OrderedDict"):
            pairs = [(self.decode(key), self.decode(value)) for key, value in checked_list(of)]
            return dict(pairs) if kind == "dict" else OrderedDict(pairs)
        if kind in nodes.CONTAINERS:
            return nodes.CONTAINERS[kind](self.decode(checked_list(of)))
        if kind == "column":
            return nodes.read_column(node["code"], self.decode(nodes.checked_kind(of, "array")))
        if kind == "tensor":
            return self.remember(node, placement.read(node, self._on_device))
        if kind == "array":
            return self.remember(node, nodes.read_array(node, self.decode(self._unread(of))))
        return self.decode_object(node)

    def _unread(self, of: Any) -> Any:
        """Return the values of an array; no other has them, so that a file bounds the memory."""
        if not isinstance(of, list):
            name = nodes.checked_kind(of, "tensor")["in"]
            if name in self._arrays:
                raise BadTree(f"the tensor {name!r} is the values of more than one array")
            self._arrays.add(name)
        return of

    def _on_device(self, name: str, device: str) -> Tensor:
        """Return kept values on a device, the same for all that share them."""
        key = name, device
        if key not in self._tensors:
            values = self._tensors[name, "cpu"]
            with suppress(ValueError):
                values = values.to(resolve_device(device))
            self._tensors[key] = values
        return self._tensors[key]
