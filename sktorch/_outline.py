"""What processes that train one model compare before they begin."""

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
    parameters = estimator.get_params(deep=False)
    plain = {k: v for k, v in parameters.items() if _is_plain(v) and k not in _FREE}
    return data | {name: repr(value) for name, value in plain.items()}


def _is_plain(value: Any) -> bool:
    parts = value if isinstance(value, tuple | list) else [value]
    return all(isinstance(part, _PLAIN) for part in parts)


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
