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
from torch import Tensor, fx

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


@dataclass(frozen=True)
class Source:
    """A function of tensors: the names of its arguments, its lines, the names of its results."""

    arguments: tuple[str, ...]
    lines: tuple[str, ...]
    results: tuple[str, ...] = ()

    def compiled(self) -> Callable[..., Any]:
        """Return the function; raise RuntimeError if TorchScript can't express it."""
        returned = [f"return ({', '.join(self.results)},)"] if self.results else []
        return _compiled(self.arguments, (*self.lines, *returned))


def looped(
    step: Source, batch: slice, update: Source, *, gathered: bool = False
) -> Callable[..., Tensor]:
    """Return a function that repeats a step and an update for the batches of a block.

    Its arguments are those of the step, with the batches of a block along a first dimension where
    a batch's tensors are, and those of the update. It returns the step's first results. If batches
    are `gathered`, a last argument is the index of what each step takes of a batch's own first
    dimension. One program for many steps takes a third less time than a call of two for each.
    """
    names = step.arguments[batch]
    blocks = {name: f"{name}_block" for name in names}
    arguments = [blocks.get(name, name) for name in step.arguments]
    cut = "torch.ops.aten.select({}, 0, number)"
    if gathered:
        cut = f"torch.ops.aten.index_select({cut}, 0, index)"
    body = [
        *(f"{name} = {cut.format(block)}" for name, block in blocks.items()),
        *step.lines,
        *update.lines,
        f"results.append({step.results[0]})",
    ]
    return _compiled(
        (*arguments, *update.arguments, *(["index"] if gathered else [])),
        (
            "results = torch.jit.annotate(List[Tensor], [])",
            f"for number in range(torch.ops.aten.size({blocks[names[0]]}, 0)):",
            *(f"    {line}" for line in body),
            "return torch.ops.aten.stack(results)",
        ),
    )


@lru_cache(MAX_PROGRAMS)
def _compiled(arguments: tuple[str, ...], lines: tuple[str, ...]) -> Callable[..., Any]:
    """Return a function of TorchScript; nothing is run.

    It is freed when it is neither used nor among the last programs, where ``torch.jit.trace`` would
    keep for ever what it traced.
    """
    source = "\n    ".join([f"def run({', '.join(arguments)}):", *lines]) + "\n"
    unit: Any = torch.jit.CompilationUnit(source)
    return unoptimized(unit.run)


def forget_compiled() -> None:
    """Free the programs that nobody uses."""
    _compiled.cache_clear()


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
