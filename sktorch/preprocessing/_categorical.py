"""The columns that somebody named as categories."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np

EXPECTED = "'from_dtype', a mask, positions or names of columns, or None"


def category_mask(
    categorical_features: Any, n_features: int, names: Sequence[str] | None
) -> np.ndarray | None:
    """Return which columns were named as categories, or None if their dtypes are to say it."""
    if isinstance(categorical_features, str):
        if categorical_features == "from_dtype":
            return None
        raise ValueError(
            f"categorical_features={categorical_features!r} must be {EXPECTED}. One name goes into "
            f"a list: [{categorical_features!r}]."
        )
    if categorical_features is None:
        return np.zeros(n_features, dtype=bool)
    named = np.asarray(categorical_features)
    if named.ndim != 1 or not (named.size == 0 or named.dtype.kind in "biuUOT"):
        raise ValueError(f"categorical_features={categorical_features!r} must be {EXPECTED}.")
    if named.dtype.kind == "b":
        return _from_mask(named, n_features)
    mask = np.zeros(n_features, dtype=bool)
    mask[_positions(named.tolist(), n_features, names)] = True
    return mask


def _from_mask(mask: np.ndarray, n_features: int) -> np.ndarray:
    if mask.size != n_features:
        raise ValueError(
            f"categorical_features is a mask of {mask.size} columns, but X has {n_features}: give "
            "True or False for each column."
        )
    return mask


def _positions(named: list, n_features: int, names: Sequence[str] | None) -> list[int]:
    """Return the positions of columns that are given by name or position."""
    known = {} if names is None else {name: position for position, name in enumerate(names)}
    positions = []
    for column in named:
        if isinstance(column, str):
            if names is None:
                raise ValueError(
                    f"categorical_features names the column {column!r}, but the columns of X have "
                    "no names. Give their positions, or X as a DataFrame."
                )
            if column not in known:
                raise ValueError(
                    f"categorical_features names the column {column!r}, which X does not have; "
                    f"its columns are {list(names)}."
                )
            positions.append(known[column])
        elif isinstance(column, Integral) and not isinstance(column, bool):
            if not 0 <= int(column) < n_features:
                raise ValueError(
                    f"categorical_features holds the position {column}, but X has {n_features} "
                    f"columns: positions go from 0 to {n_features - 1}."
                )
            positions.append(int(column))
        else:
            raise ValueError(f"categorical_features holds {column!r}; it must be {EXPECTED}.")
    return positions
