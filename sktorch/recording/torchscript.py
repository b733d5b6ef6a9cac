"""Basic operations as a program of TorchScript, which runs them without Python.

It does not hold Python's lock, so that several threads keep several cores busy, and small
operations take half of the time. TorchScript is deprecated and serves nothing else here: where it
fails, operations run as Python.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import fx

from sktorch._private.torch import OpOverload, unoptimized

# The source of a large program takes some hundreds of kilobytes, and its code a few times as much.
MAX_PROGRAMS = 64


@dataclass(frozen=True)
class Variable:
    """A variable of a program."""

    name: str
    kind: str

    def declaration(self) -> str:
        """Return the variable as an argument of the program."""
        return f"{self.name}: {self.kind}"


@lru_cache(MAX_PROGRAMS)
def compiled(source: str) -> Callable[..., Any]:
    """Return the function ``run`` that a source defines; nothing is run.

    It is freed when it is neither used nor among the last programs, where ``torch.jit.trace`` would
    keep for ever what it traced. Raise RuntimeError if TorchScript can't express it.
    """
    unit: Any = torch.jit.CompilationUnit(source)
    return unoptimized(unit.run)


def source_of(arguments: Iterable[str], lines: Iterable[str]) -> str:
    """Return the source of a function ``run`` of these arguments."""
    return "\n    ".join([f"def run({', '.join(arguments)}):", *lines]) + "\n"


def call(operation: OpOverload, args: Iterable[Any], kwargs: dict[str, Any]) -> str:
    """Return a call of an operation as TorchScript writes it."""
    written = [*map(expression, args)]
    written += [f"{name}={expression(value)}" for name, value in kwargs.items()]
    name = f"{operation.namespace}.{operation.overloadpacket.__name__}"
    return f"torch.ops.{name}({', '.join(written)})"


def expression(value: Any) -> str:
    """Return an argument of an operation as TorchScript writes it."""
    match value:
        case fx.Node() | Variable():
            return value.name
        case list() | tuple():
            return f"[{', '.join(map(expression, value))}]"
        case float() if not math.isfinite(value):
            return f"float('{value}')"
        case torch.device():
            return f"torch.device('{value}')"
        case torch.dtype() | torch.layout() | torch.memory_format():
            return str(value)
    return repr(value)
