"""A module's inputs or outputs: one tensor, or several in a dict (by name) or a tuple."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

Inputs = Tensor | dict[str, Tensor] | tuple[Tensor, ...]
Outputs = Inputs
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
    """Return the module's output for X; a list of several as a tuple."""
    if isinstance(X, dict):
        output = module(**X)
    else:
        output = module(*X) if isinstance(X, tuple) else module(X)
    if isinstance(output, list) and all(isinstance(part, Tensor) for part in output):
        return tuple(output)
    return output
