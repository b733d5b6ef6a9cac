"""A module's input: one tensor, or several in a dict (by name) or a tuple (by position)."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

Inputs = Tensor | dict[str, Tensor] | tuple[Tensor, ...]
Batch = tuple[Inputs, Tensor, Tensor | None]  # X, y, weights


def tree_map(function: Callable[..., Any], X: Any, *others: Any) -> Any:
    """Return ``function(X, *others)``; of dicts or tuples, the same of the function's values."""
    if isinstance(X, dict):
        return {name: function(x, *(other[name] for other in others)) for name, x in X.items()}
    if isinstance(X, tuple):
        return tuple(function(*parts) for parts in zip(X, *others, strict=True))
    return function(X, *others)


def tree_leaves(X: Any) -> list[Any]:
    """Return the tensors or arrays of X."""
    if isinstance(X, dict):
        return [*X.values()]
    return [*X] if isinstance(X, tuple) else [X]


def only_entry(X: Any, arguments: tuple[str, ...] | None) -> Any:
    """Return the entry of a mapping or tuple that has just one, if it is the first argument.

    A name that ``forward`` lacks is that of the user's column; a later argument stays by its name.
    """
    if arguments is None or not isinstance(X, Mapping | tuple) or len(X) != 1:
        return X
    if isinstance(X, tuple):
        return X[0]
    (name,) = X
    return X if name in arguments[1:] or not isinstance(name, str) else X[name]


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
