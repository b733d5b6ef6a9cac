"""Digests of values by content: equal in every process for equal data, settings and code."""

import os
import random
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial, singledispatch
from hashlib import sha256
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sktorch.training.code_reads import contents, is_installed, package_of

_PLAIN = (type(None), bool, int, float, complex, str, torch.dtype, torch.device, np.dtype)
# Rows are read a few at a time, so that those of a file never fill the memory.
_CHUNK_BYTES = 2**24


def digest(value: Any) -> str:
    """Return a digest of a value.

    Data count by their numbers, functions and classes of the user by their code and what it reads,
    those of libraries by their names, and other objects by their class and attributes.
    """
    return _digested(value, {})


def _digested(value: Any, known: dict[int, tuple[str, Any]]) -> str:
    """Return a digest; `known` has those of objects by their ids, and keeps these alive."""
    hashed = sha256()  # Processors have instructions for it: data take half of blake2b's time.
    if isinstance(value, _PLAIN):
        hashed.update(f"{type(value).__name__} {value!r}".encode())
    elif isinstance(value, bytes):
        hashed.update(value)
    elif id(value) in known:
        return known[id(value)][0]
    else:
        known[id(value)] = "itself", value  # until it is known: it may hold itself
        parts = [_digested(part, known) for part in _parts(value)]
        if isinstance(value, set | frozenset):
            parts.sort()
        kind = np.ndarray if isinstance(value, np.memmap) else type(value)  # as joblib hands it on
        hashed.update(" ".join([kind.__name__, *parts]).encode())
        known[id(value)] = hashed.hexdigest(), value
    return hashed.hexdigest()


@singledispatch
def _parts(value: Any) -> Iterator[Any]:
    """Yield the parts of a value that make it what it is."""
    yield type(value)
    if hasattr(value, "__array__"):  # a table, or an array of another library
        yield list(getattr(value, "columns", ()))
        yield from _parts(np.asarray(value))
        return
    state = getattr(value, "__dict__", None)
    with suppress(Exception):
        state = value.__getstate__()
    text = repr(value) if state is None else ""
    yield None if " at 0x" in text else text
    yield state


@_parts.register
def _(value: np.ndarray) -> Iterator[Any]:
    yield value.dtype.str
    yield value.shape
    if value.dtype.hasobject:
        yield value.tolist()
        return
    rows = value.reshape(1) if value.ndim == 0 else value
    n_rows = max(_CHUNK_BYTES * len(rows) // max(rows.nbytes, 1), 1)
    for start in range(0, len(rows), n_rows):
        yield np.ascontiguousarray(rows[start : start + n_rows]).tobytes()


@_parts.register
def _(value: np.generic) -> Iterator[Any]:
    yield value.dtype.str
    yield value.tobytes()


@_parts.register
def _(value: Tensor) -> Iterator[Any]:
    yield value.dtype
    yield value.requires_grad
    value = value.detach()
    if value.layout is not torch.strided:
        sparse = value.to_sparse_coo().coalesce()
        yield value.shape
        yield sparse.indices()
        value = sparse.values()
    value = value.resolve_conj().resolve_neg().cpu().contiguous()
    yield tuple(value.shape)
    yield from _parts(value.reshape(-1).view(torch.uint8).numpy())


@_parts.register(list)
@_parts.register(tuple)
@_parts.register(set)
@_parts.register(frozenset)
def _(value: Any) -> Iterator[Any]:
    yield from value


@_parts.register
def _(value: Mapping) -> Iterator[Any]:
    for key in value:
        yield key
        yield value[key]


@_parts.register
def _(value: partial) -> Iterator[Any]:
    yield from (value.func, value.args, value.keywords)


@_parts.register
def _(value: MethodType) -> Iterator[Any]:
    yield from (value.__func__, value.__self__)


@_parts.register
def _(value: CodeType) -> Iterator[Any]:
    yield from (value.co_code, value.co_consts, value.co_names, value.co_varnames, value.co_flags)


@_parts.register(BuiltinFunctionType)
@_parts.register(ModuleType)
def _(value: Any) -> Iterator[Any]:
    yield getattr(value, "__qualname__", value.__name__)


@_parts.register
def _(value: FunctionType) -> Iterator[Any]:
    yield value.__qualname__
    if _is_library_code(value):
        yield value.__module__
        return
    yield from (value.__code__, value.__defaults__, value.__kwdefaults__)
    yield [contents(cell) for cell in value.__closure__ or ()]
    read = {name: value.__globals__.get(name) for name in _names(value.__code__)}
    yield {name: v for name, v in read.items() if isinstance(v, (*_PLAIN, FunctionType, type))}


@_parts.register
def _(value: type) -> Iterator[Any]:
    yield value.__qualname__
    if _is_library_code(value):
        yield value.__module__
        return
    yield value.__bases__
    for name, attribute in sorted(vars(value).items()):
        if isinstance(attribute, FunctionType) or not name.startswith("__"):
            yield name
            yield _unwrapped(attribute)


@_parts.register
def _(value: property) -> Iterator[Any]:
    yield from (value.fget, value.fset, value.fdel)


@_parts.register
def _(value: os.PathLike) -> Iterator[Any]:
    yield os.fspath(value)


@_parts.register(np.random.RandomState)
def _(value: Any) -> Iterator[Any]:
    yield value.get_state()


@_parts.register
def _(value: np.random.Generator) -> Iterator[Any]:
    yield value.bit_generator.state


@_parts.register
def _(value: random.Random) -> Iterator[Any]:
    yield value.getstate()


@_parts.register
def _(value: torch.Generator) -> Iterator[Any]:
    yield value.get_state()


def _is_library_code(value: Any) -> bool:
    package = package_of(value)
    return package == "sktorch" or is_installed(package)


def _names(code: CodeType) -> list[str]:
    """Return the names that a function and those inside it use, sorted."""
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return sorted({*code.co_names}.union(*inner))


def _unwrapped(attribute: Any) -> Any:
    return getattr(attribute, "__func__", attribute)
