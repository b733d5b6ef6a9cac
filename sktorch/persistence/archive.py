"""One safetensors file for a tree of plain values, arrays and tensors: written whole or not at all.

The tree is JSON in the file's metadata, beside the format's version, the kind of content and a
checksum. Tensors are the file's own, named after their places in the tree, for other tools to read.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NoReturn

import torch
from torch import Tensor

from sktorch.persistence.files import write_whole
from sktorch.persistence.names import Untrusted
from sktorch.persistence.nodes import BadTree, NotPlain
from sktorch.persistence.tree import Decoder, Encoder

VERSION = 1
MAX_JSON = 2**25  # in bytes: what JSON is read into takes up to 30 times as much
_FORMAT = "sktorch"
_DAMAGES = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError)


def write(path: str | os.PathLike, content: Any, kind: str, encoder: Encoder | None = None) -> None:
    """Write content of a kind to a file, which holds all of it or is as it was before.

    Raises TypeError for content that is no tree of plain values, arrays and tensors, and OSError
    where the file can't be written.
    """
    write_whole(path, dumps(content, kind, encoder))


def dumps(content: Any, kind: str, encoder: Encoder | None = None) -> bytes:
    """Return the bytes of such a file."""
    safetensors = _safetensors()
    encoder = encoder or Encoder()
    root = encoder.encode(content)
    tensors = encoder.finish()
    tree = json.dumps(root, allow_nan=False, separators=(",", ":"))
    if len(tree) > MAX_JSON:
        raise NotPlain(f"the content beside tensors is {len(tree)} bytes, {MAX_JSON} are possible")
    metadata = {"format": _FORMAT, "version": str(VERSION), "kind": kind, "content": tree}
    metadata["checksum"] = checksum(metadata, tensors)
    return safetensors.torch.save(tensors, metadata)


def read(path: str | os.PathLike, kind: str, decoder: type[Decoder] = Decoder) -> Any:
    """Return the content of a file that `write` wrote.

    Raises ValueError for a file that is damaged, of another kind or of a newer version, and OSError
    where the file can't be read.
    """
    tree, tensors = load(path, kind)
    with damage_is_told(path):
        return decoder(tensors).decode(tree)


def load(path: str | os.PathLike, kind: str) -> tuple[Any, dict[str, Tensor]]:
    """Return the JSON of a file, and its tensors in memory of their own."""
    safetensors = _safetensors()
    with open(path, "rb"):  # Python's errors say more than those of the library.
        pass
    with _foreign_is_told(path), safetensors.safe_open(os.fspath(path), "pt") as file:
        metadata = file.metadata() or {}
        _check_metadata(path, metadata, kind)
        # Mapped tensors begin anywhere, and sums depend on where a tensor begins.
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    return _parsed(path, metadata, tensors), tensors


def loads(source: str, data: bytes, kind: str) -> tuple[Any, dict[str, Tensor]]:
    """Return the JSON and the tensors of the bytes of a file; ``source`` is for errors."""
    safetensors = _safetensors()
    with _foreign_is_told(source):
        tensors = {k: tensor.clone() for k, tensor in safetensors.torch.load(data).items()}
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    metadata = header.get("__metadata__", {})
    _check_metadata(source, metadata, kind)
    return _parsed(source, metadata, tensors), tensors


def checksum(metadata: dict[str, str], tensors: dict[str, Tensor]) -> str:
    """Return a checksum of all that a file holds; it finds accidents, and no attacker."""
    digest = hashlib.sha256()
    for name in ("format", "version", "kind", "content"):
        digest.update(f"{metadata.get(name)}\n".encode())
    for name in sorted(tensors):
        values = tensors[name].contiguous()
        digest.update(f"{name} {values.dtype} {[*values.shape]}\n".encode())
        if values.numel():
            digest.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


@contextmanager
def damage_is_told(path: str | os.PathLike) -> Iterator[None]:
    """Raise ValueError for whatever goes wrong while a file's content is read."""
    try:
        yield
    except Untrusted:
        raise
    except _DAMAGES as error:
        damaged(path, error)


def damaged(path: str | os.PathLike, cause: Any) -> NoReturn:
    """Raise ValueError for a file whose content makes no sense."""
    error = cause if isinstance(cause, Exception) else None
    reason = f"{type(cause).__name__}: {cause}" if error and type(error) is not BadTree else cause
    raise ValueError(f"{path} is damaged: {reason!s:.300}. Save it again.") from error


def _parsed(source: str | os.PathLike, metadata: dict[str, str], tensors: dict[str, Tensor]) -> Any:
    if checksum(metadata, tensors) != metadata.get("checksum"):
        damaged(source, "its checksum does not hold")
    with damage_is_told(source):
        return json.loads(metadata["content"], parse_constant=_refuse)


@contextmanager
def _foreign_is_told(source: str | os.PathLike) -> Iterator[None]:
    try:
        yield
    except _safetensors().SafetensorError as error:
        raise ValueError(
            f"{source} is no file of sktorch, or not all of one: {error}. Save it again."
        ) from error


def _check_metadata(path: str | os.PathLike, metadata: dict[str, str], kind: str) -> None:
    if metadata.get("format") != _FORMAT:
        raise ValueError(f"{path} holds tensors, but was not written by sktorch.")
    version = metadata.get("version", "")
    if not version.isdecimal() or not 1 <= int(version[:9]) <= VERSION:
        raise ValueError(
            f"{path} has version {version[:20]!r} of the format; this sktorch reads versions up to "
            f"{VERSION}. Read it with a newer sktorch."
        )
    if metadata.get("kind") != kind:
        raise ValueError(
            f"{path} holds {_a(metadata.get('kind', '')[:40])}, expected a file with {_a(kind)}."
        )
    if len(metadata.get("content", "")) > MAX_JSON:
        damaged(path, f"its JSON has more than {MAX_JSON} bytes")


def _a(noun: str) -> str:
    return f"{'an' if noun.startswith(tuple('aeiou')) else 'a'} {noun}"


def _refuse(constant: str) -> NoReturn:
    raise BadTree(f"{constant} is not JSON")


def _safetensors() -> ModuleType:
    """Return safetensors, which comes with an extra."""
    try:
        import safetensors.torch
    except ImportError as error:
        raise ImportError(
            "Files of sktorch need safetensors. Install it with: pip install 'sktorch[safe]'"
        ) from error
    return safetensors
