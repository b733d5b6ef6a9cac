"""What JSON does not have, as the dicts that stand for it.

Each is a dict whose entry "$" names the kind: `{"$": "tuple", "of": [1, 2]}`.
"""

import math
import re
from array import array
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

MAX_INT = 2**63  # Longer ones are hexadecimal: Python limits decimal integers to 4300 digits.
COLUMNS = ("d", "b", "h", "i", "q")  # type codes of Python's own arrays
MAX_RANGE = 10**6  # Whoever makes a list of one needs the memory.
CONTAINERS: dict[str, Callable] = {
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "shape": torch.Size,
    "slice": lambda items: slice(*items),
    "range": lambda items: _short(range(*items)),
}
DTYPES = {str(value): value for value in vars(torch).values() if isinstance(value, torch.dtype)}


class NotPlain(TypeError):
    """A value that has no place in a file."""


class BadTree(ValueError):
    """JSON, or a tensor that it refers to, that no encoder wrote."""


def members(value: Any) -> tuple[str, list] | None:
    """Return the kind and the members of a container that is neither list nor dict."""
    match value:
        case slice():
            return "slice", [value.start, value.stop, value.step]
        case range():
            return "range", [value.start, value.stop, value.step]
    kind = next((kind for kind, made in CONTAINERS.items() if type(value) is made), None)
    if kind is None:
        return None
    # The order of strings in a set is another one in every process.
    return kind, sorted(value, key=repr) if kind in ("set", "frozenset") else [*value]


def atom(value: Any) -> Any:
    """Return the JSON of a value without members; NotImplemented for others."""
    match value:
        case None | bool():
            return value
        case torch.dtype():
            return {"$": "dtype", "of": str(value)}
        case torch.device():
            return {"$": "device", "of": str(value)}
        case np.dtype() if value.names is None and value.subdtype is None:
            return {"$": "numpy dtype", "of": value.str}
        case np.generic() if not value.dtype.hasobject and value.dtype.names is None:
            return {"$": "scalar", "dtype": value.dtype.str, "of": _text(value.tobytes())}
    if type(value) is str:
        return value
    if type(value) is int:
        return value if -MAX_INT <= value < MAX_INT else {"$": "int", "of": hex(value)}
    if type(value) is float:
        return value if math.isfinite(value) else {"$": "float", "of": repr(value)}
    if type(value) is complex:
        return {"$": "complex", "of": [atom(value.real), atom(value.imag)]}
    if type(value) is bytes:
        return {"$": "bytes", "of": _text(value)}
    return NotImplemented


def read_atom(node: dict[str, Any]) -> Any:
    """Return the value of a dict made by `atom`; NotImplemented for others."""
    of: Any = node.get("of")
    match node["$"]:
        case "dtype":
            return DTYPES[of]
        case "device":
            return torch.device(checked_str(of))
        case "numpy dtype":
            return numpy_dtype(of, objects=True)
        case "scalar":
            (value,) = np.frombuffer(b64decode(of, validate=True), numpy_dtype(node["dtype"]))
            return value
        case "int":
            return int(of, 16)
        case "float":
            return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[of]
        case "complex":
            real, imaginary = (read_atom(part) if isinstance(part, dict) else part for part in of)
            return complex(real, imaginary)
        case "bytes":
            return b64decode(of, validate=True)
    return NotImplemented


def numpy_dtype(text: Any, *, objects: bool = False) -> np.dtype:
    """Return the dtype of a string that `dtype.str` returned."""
    if not re.fullmatch(r"[<>|][a-zA-Z]\d{0,9}(\[\d*\w+\])?", checked_str(text)):
        raise BadTree(f"{text!r} is no dtype")
    dtype = np.dtype(text)
    if dtype.hasobject and not objects:
        raise BadTree(f"{text!r} is a dtype of objects")
    return dtype


def checked_str(value: Any) -> str:
    """Return a string; raise for anything else."""
    if not isinstance(value, str):
        raise BadTree(f"{value!r} stands where a string should")
    return value


def checked_list(value: Any) -> list:
    """Return a list; raise for anything else, which may have more members than the file."""
    if not isinstance(value, list):
        raise BadTree(f"{value!r:.100} stands where a list should")
    return value


def checked_kind(value: Any, kind: str) -> dict[str, Any]:
    """Return a node of a kind; raise for anything else, such as a node that says "again"."""
    if not isinstance(value, dict) or value.get("$") != kind:
        raise BadTree(f"{value!r:.100} stands where a node of kind {kind!r} should")
    return value


def array_node(value: np.ndarray) -> tuple[dict[str, Any], Tensor | None]:
    """Return an array's node and its values as a tensor; None for an array of objects.

    Numbers that torch or safetensors does not have, and strings, travel as bytes.
    """
    order: Any = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
    node: dict[str, Any] = {"$": "array"} | ({"order": "F"} if order == "F" else {})
    if value.dtype == object:
        return node | {"shape": [*value.shape]}, None
    if value.dtype.kind in "biuf" and value.dtype.isnative and value.dtype.itemsize <= 8:
        ordered = value.T if order == "F" else value
        return node, torch.from_numpy(np.array(ordered, order="C"))
    node |= {"dtype": value.dtype.str, "shape": [*value.shape]}
    return node, torch.from_numpy(np.frombuffer(value.tobytes(order), np.uint8).copy())


def read_array(node: dict[str, Any], data: Tensor | list) -> np.ndarray:
    """Return the array of a node and its values."""
    order: Any = "F" if node.get("order") == "F" else "C"
    if isinstance(data, list):
        objects = np.empty(len(data), object)
        for index, value in enumerate(data):  # Lists among them stay lists.
            objects[index] = value
        return objects.reshape(checked_shape(node["shape"]), order=order)
    if "dtype" in node:
        values = np.frombuffer(bytearray(data.numpy().tobytes()), numpy_dtype(node["dtype"]))
        return values.reshape(checked_shape(node["shape"]), order=order)
    return data.numpy().T if order == "F" else data.numpy()


def checked_shape(value: Any) -> tuple[int, ...]:
    """Return a shape (or strides); raise for what is none."""
    if not isinstance(value, list) or not all(type(n) is int and 0 <= n < MAX_INT for n in value):
        raise BadTree(f"{value!r} is no shape")
    return tuple(value)


def column_node(value: array) -> tuple[str, np.ndarray]:
    """Return the type code of an array of Python's own, and its numbers."""
    return value.typecode, np.array(value)


def read_column(code: Any, values: Any) -> array:
    """Return an array of Python's own."""
    if code not in COLUMNS:
        raise BadTree(f"{code!r} is no type of a column")
    return array(code, np.asarray(values, code).tobytes())


def _short(numbers: range) -> range:
    if len(numbers) > MAX_RANGE:
        raise BadTree(f"{numbers} is longer than {MAX_RANGE}")
    return numbers


def _text(value: bytes) -> str:
    return b64encode(value).decode()
