"""The table that comes in, and that comes out: an array, or a DataFrame of pandas or polars."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data


def library_of(X: Any) -> str:
    """Return "pandas" or "polars" if X is a DataFrame of that library, else "default"."""
    library = type(X).__module__.partition(".")[0]
    is_frame = type(X).__name__ == "DataFrame" and library in {"pandas", "polars"}
    return library if is_frame else "default"


def check_table(estimator: BaseEstimator, X: Any, *, reset: bool) -> Any:
    """Return X as a DataFrame or an ndarray; an estimator learns its names and size, or compares.

    Values are not looked at.
    """
    if library_of(X) == "default":
        return validate_data(estimator, X, dtype=None, ensure_all_finite=False, reset=reset)
    check_array(np.broadcast_to(0.0, X.shape), estimator=estimator)  # raises if there are no rows
    return validate_data(estimator, X, skip_check_array=True, reset=reset)


def to_container(
    values: np.ndarray,
    names: Sequence[str],
    cardinalities: Sequence[int],
    library: str,
    index: Any = None,
) -> Any:
    """Return a float array as a table in which columns of codes have a dtype that says so."""
    codes = {
        names[j]: (values[:, j].astype(np.int64), cardinality)
        for j, cardinality in enumerate(cardinalities)
        if cardinality
    }
    if library == "pandas":
        import pandas as pd

        frame = pd.DataFrame(values, columns=names, index=index)
        for name, (column, cardinality) in codes.items():
            frame[name] = pd.Categorical.from_codes(column, categories=range(cardinality))
        return frame
    if library == "polars":
        import polars as pl

        columns = {name: values[:, j] for j, name in enumerate(names)}
        return pl.DataFrame(columns | {name: column for name, (column, _) in codes.items()})
    return values
