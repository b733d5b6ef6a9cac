"""What processes that train one model compare before they begin."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from sktorch._digest import digest
from sktorch._part import Part
from sktorch.data.rows import RowSource

# Rows that are compared, over the whole of the data: to read all takes as long as an epoch.
N_ROWS = 1000
_PLAIN = (bool, int, float, str, type(None))
# Parameters that may differ: in where a process computes, and in what it prints and writes.
_FREE = {"device", "verbose", "checkpoint", "checkpoint_every", "random_state", "callbacks"}


def outline_of(estimator: BaseEstimator, train: Part, valid: Part | None) -> dict[str, str]:
    """Return digests of arguments of a fit by name: of data, of some rows only."""
    parts = {"": train} if valid is None else {"": train, " to validate on": valid}
    data = {
        f"{name}{suffix}": digest(value)
        for suffix, part in parts.items()
        for name, value in _values(part).items()
    }
    parameters = estimator.get_params(deep=False).items()
    return data | {name: repr(_outline(value)) for name, value in parameters if name not in _FREE}


def _outline(value: Any) -> Any:
    """Return numbers and text as they are, and the names of classes and functions."""
    if isinstance(value, tuple | list):
        return [*map(_outline, value)]
    if isinstance(value, Mapping):
        return {name: _outline(part) for name, part in value.items()}
    if isinstance(value, np.generic):  # equal to Python's number, but another repr
        value = value.item()
    if isinstance(value, _PLAIN):
        return value
    return getattr(value, "__qualname__", type(value).__qualname__)


def _values(part: Part) -> dict[str, Any]:
    return {
        "X": _some_rows(part),
        "y": part.y[part.index],
        "sample_weight": part.used_weights,
        "rows": part.index,
    }


def _some_rows(part: Part) -> Any:
    """Return rows of X; its type, where the user's code makes them."""
    source = part.source
    if source.runs_user_code or not isinstance(source, RowSource):
        return type(source.given).__name__
    rows = np.unique(np.linspace(0, source.n_rows - 1, N_ROWS).astype(np.int64))
    return source.n_rows, source.take(rows)
