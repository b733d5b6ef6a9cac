"""A module's inputs or outputs: one tensor, or several in a dict (by name) or a tuple."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

Inputs = Tensor | dict[str, Tensor] | tuple[Tensor, ...]
Outputs = Inputs
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


def n_rows_of(X: Inputs) -> int:
    """Return the number of rows."""
    return len(tree_leaves(X)[0])


def concatenated(parts: Sequence[Any]) -> Any:
    """Return rows of the same structure as one."""
    first = parts[0]
    if isinstance(first, dict):
        return {name: torch.cat([part[name] for part in parts]) for name in first}
    if isinstance(first, tuple):
        return tuple(map(torch.cat, zip(*parts, strict=True)))
    return torch.cat([*parts])


def floating_dtype(X: Outputs) -> torch.dtype:
    """Return the dtype of the first tensor of floats, or that of the first tensor."""
    tensors = tree_leaves(X)
    return next((x.dtype for x in tensors if x.is_floating_point()), tensors[0].dtype)


def moved(X: Outputs, device: str | torch.device, dtype: torch.dtype) -> Outputs:
    """Return tensors on a device, those of floats in a dtype."""
    return tree_map(lambda x: x.to(device, dtype if x.is_floating_point() else x.dtype), X)


def split_rows(X: Inputs, size: int) -> list[Any]:
    """Return X in pieces of ``size`` rows."""
    if isinstance(X, Tensor):
        return [*X.split(size)]
    pieces = zip(*(x.split(size) for x in tree_leaves(X)), strict=True)
    return [dict(zip(X, piece, strict=True)) if isinstance(X, dict) else piece for piece in pieces]


def call_module(module: nn.Module, X: Inputs) -> Any:
    """Return the module's output for X, a row for each of X's rows; a list as a tuple."""
    if isinstance(X, dict):
        output = module(**X)
    else:
        output = module(*X) if isinstance(X, tuple) else module(X)
    if isinstance(output, list) and all(isinstance(part, Tensor) for part in output):
        output = tuple(output)
    if torch.compiler.is_compiling():  # A program is one for any number of rows.
        return output
    return as_one_row(output) if n_rows_of(X) == 1 else output


def as_one_row(output: Any) -> Any:
    """Return the output for one row with the dimension of rows, which ``squeeze()`` takes away."""
    squeezed = isinstance(output, Tensor) and output.shape[:1] != (1,)
    return output.unsqueeze(0) if squeezed else output
