"""A module's input: one tensor, or several in a dict (by name) or a tuple (by position)."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

Inputs = Tensor | dict[str, Tensor] | tuple[Tensor, ...]
Batch = tuple[Inputs, Tensor, Tensor | None]  # X, y, weights


def tree_map(function: Callable[[Any], Any], X: Any) -> Any:
    """Return ``function(X)``, or a dict or tuple of the same with the function's values."""
    if isinstance(X, dict):
        return {name: function(x) for name, x in X.items()}
    return tuple(map(function, X)) if isinstance(X, tuple) else function(X)


def tree_leaves(X: Any) -> list[Any]:
    """Return the tensors or arrays of X."""
    if isinstance(X, dict):
        return [*X.values()]
    return [*X] if isinstance(X, tuple) else [X]


def split_rows(X: Inputs, size: int) -> list[Any]:
    """Return X in pieces of ``size`` rows."""
    if isinstance(X, Tensor):
        return [*X.split(size)]
    pieces = zip(*(x.split(size) for x in tree_leaves(X)), strict=True)
    return [dict(zip(X, piece, strict=True)) if isinstance(X, dict) else piece for piece in pieces]


def call_module(module: nn.Module, X: Inputs) -> Any:
    """Return the module's output for X, a row for each of X's rows."""
    if isinstance(X, dict):
        output = module(**X)
    else:
        output = module(*X) if isinstance(X, tuple) else module(X)
    return as_one_row(output) if len(tree_leaves(X)[0]) == 1 else output


def as_one_row(output: Any) -> Any:
    """Return the output for one row with the dimension of rows, which ``squeeze()`` takes away."""
    squeezed = isinstance(output, Tensor) and output.shape[:1] != (1,)
    return output.unsqueeze(0) if squeezed else output
