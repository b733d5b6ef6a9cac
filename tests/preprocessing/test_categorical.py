"""Columns that are categories because somebody says so."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from sktorch.preprocessing import TableCleaner

CODED = {"zip": [3, 1, 2, 3, 1], "size": [1.5, 2.5, np.nan, 1.5, 0.5], "city": [*"abcab"]}


@pytest.mark.parametrize("named", [[True, False, False], [0], ["zip"], np.array([0]), ("zip",)])
@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
def test_named_categories(named, make):
    table = TableCleaner(categorical_features=named).fit(make(CODED))
    assert table.kinds_ == ["category", "number", "category"]
    names = table.get_feature_names_out().tolist()
    assert names[2:5] == ["zip_1", "zip_2", "zip_3"]


@pytest.mark.parametrize("named", [[True, False], [0], np.array([True, False])])
@pytest.mark.parametrize("dtype", [np.float32, np.int64, object])
def test_named_categories_of_an_array(named, dtype):
    X = np.array([[3, 1], [1, 2], [2, 4], [3, 8]], dtype=dtype)
    table = TableCleaner(categorical_features=named).fit(X)
    assert table.kinds_ == ["category", "number"]
    assert table.get_feature_names_out().tolist() == ["x1", "x0_1", "x0_2", "x0_3"]
    assert table.transform(np.array([[9, 1]], dtype=dtype))[0, 1:].tolist() == [0, 0, 0]


@pytest.mark.parametrize("named", [None, [], [1], [False, True]])
def test_named_categories_replace_what_dtypes_say(named):
    X = pd.DataFrame({"a": pd.Categorical([1, 2, 1]), "b": ["x", "y", "z"]})
    assert TableCleaner().fit(X).kinds_ == ["category", "category"]
    assert TableCleaner(categorical_features=named).fit(X).kinds_ == ["number", "category"]


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("zip", r"='zip' must be 'from_dtype', a mask.*One name goes into a list: \['zip'\]"),
        (["zap"], "names the column 'zap', which X does not have; its columns are .*'size'"),
        ([True], "is a mask of 1 columns, but X has 3: give True or False for each column"),
        ([3], "holds the position 3, but X has 3 columns: positions go from 0 to 2"),
        ([-1], "holds the position -1, but X has 3 columns"),
        ([1.0], r"=\[1.0\] must be 'from_dtype', a mask, positions or names"),
        ([[True, False, False]], "must be 'from_dtype', a mask, positions or names"),
        (1, "=1 must be 'from_dtype', a mask, positions or names"),
        ([None], "holds None; it must be 'from_dtype', a mask, positions or names"),
    ],
)
def test_categories_that_X_does_not_have(named, message):
    with pytest.raises(ValueError, match="categorical_features.*" + message):
        TableCleaner(categorical_features=named).fit(pd.DataFrame(CODED))


def test_names_of_categories_for_an_array():
    with pytest.raises(ValueError, match="names the column 'zip', but the columns of X have no na"):
        TableCleaner(categorical_features=["zip"]).fit(np.eye(3))
