"""The table that comes out: an array, or a DataFrame of the library that came in or was asked."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def library_of(X: Any) -> str:
    """Return "pandas" or "polars" if X is a DataFrame of that library, else "default"."""
    library = type(X).__module__.partition(".")[0]
    is_frame = type(X).__name__ == "DataFrame" and library in {"pandas", "polars"}
    return library if is_frame else "default"


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
