"""A module's input: one tensor, or several in a dict (by name) or a tuple (by position)."""

from torch import Tensor

Inputs = Tensor | dict[str, Tensor] | tuple[Tensor, ...]
# Inputs, targets, and the rows' weights or None.
Batch = tuple[Inputs, Tensor, Tensor | None]


def tree_map(function, X):
    """``function(X)``, or its values for every entry of a dict or tuple, in one of the same."""
    if isinstance(X, dict):
        return {name: function(x) for name, x in X.items()}
    return tuple(map(function, X)) if isinstance(X, tuple) else function(X)


def tree_leaves(X):
    """The tensors or arrays of X, a list."""
    if isinstance(X, dict):
        return [*X.values()]
    return [*X] if isinstance(X, tuple) else [X]


def split_rows(X, size):
    """X cut along its rows, a list of pieces of ``size`` rows."""
    if not isinstance(X, dict | tuple):
        return X.split(size)
    pieces = zip(*(x.split(size) for x in tree_leaves(X)), strict=True)
    return [dict(zip(X, piece, strict=True)) if isinstance(X, dict) else piece for piece in pieces]


def call_module(module, X):
    """The module's output for X."""
    if isinstance(X, dict):
        return module(**X)
    return module(*X) if isinstance(X, tuple) else module(X)
