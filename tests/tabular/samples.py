"""Small tables of every kind of column, and estimators that are quick."""

import numpy as np
import pandas as pd
import polars as pl

from sktorch import TabularClassifier, TabularRegressor

QUICK = {"n_members": 3, "hidden": (8,), "max_epochs": 5, "random_state": 0}


def classifier(**parameters):
    return TabularClassifier(**QUICK | parameters)


def regressor(**parameters):
    return TabularRegressor(**QUICK | parameters)


def numbers(n_rows=90, n_columns=3, seed=0):
    """Return X, labels that follow from it, and numbers that do."""
    X = np.random.default_rng(seed).standard_normal((n_rows, n_columns))
    return X, np.where(X[:, 0] > 0, "yes", "no"), X[:, 0] + X[:, 1] ** 2


def frame(n_rows=60):
    """Return a DataFrame of pandas with numbers, text, categories, dates and missing values."""
    rows = np.arange(n_rows)
    return pd.DataFrame(
        {
            "number": np.where(rows % 7 == 0, np.nan, rows % 11),
            "written": np.where(rows % 5 == 0, "?", (rows % 13).astype(str)),
            "city": pd.Series(np.array(["Kyiv", "Oslo", None], dtype=object)[rows % 3]),
            "kind": pd.Categorical(np.array(["a", "b", "c", "d"])[rows % 4]),
            "flag": rows % 2 == 0,
            "day": pd.date_range("2024-01-01", periods=n_rows, freq="13h"),
        }
    )


def frames():
    """Return a frame of each library by its name."""
    return {"pandas": frame(), "polars": as_polars(frame())}


def as_polars(table):
    """Return a DataFrame of polars; its own function needs pyarrow for texts."""
    columns = {}
    for name, column in table.items():
        is_category = isinstance(column.dtype, pd.CategoricalDtype)
        values = column.astype(object).where(column.notna(), None)
        columns[name] = pl.Series(values.tolist(), dtype=pl.Categorical if is_category else None)
    return pl.DataFrame(columns)
