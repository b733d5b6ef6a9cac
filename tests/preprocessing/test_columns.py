"""Reading raw columns as numbers, dates and categories."""

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest

from sktorch.preprocessing._columns import Coded, Column, column_kind, column_of, read_column

WORDS = {"", "?", "na"}
NAN, NAT = np.nan, np.datetime64("NaT")
DAY, FOUR_HOURS = np.datetime64("2024-02-29", "us"), np.timedelta64(4, "h")


def kind_and_values(table):
    column = column_of(table, 0)
    kind = column_kind(column, WORDS)
    return kind, by_row(read_column(column, kind, WORDS, "a"))


def by_row(values):
    return np.array(values.names)[values.codes] if isinstance(values, Coded) else values


def columns(values, **pandas):
    """The same column as an array of objects, in pandas and in polars."""
    return [
        np.array([[value] for value in values], dtype=object),
        pd.DataFrame({"a": pd.Series(values, **pandas)}),
        pl.DataFrame({"a": pl.Series(values, strict=False)}),
    ]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ([1, 2, None], [1, 2, NAN]),
        ([1.5, np.inf, -np.inf], [1.5, NAN, NAN]),
        ([True, False, None], [1, 0, NAN]),
        ([Decimal("1.5"), None, Decimal(2)], [1.5, NAN, 2]),
        (["1", " 2.5 ", "1e3"], [1, 2.5, 1000]),
        (["1", "?", " NA "], [1, NAN, NAN]),
        (["1", "", None], [1, NAN, NAN]),
        (["1", "inf", "-inf"], [1, NAN, NAN]),
        ([timedelta(seconds=90), None, timedelta(days=1)], [90, NAN, 86400]),
    ],
)
def test_numbers(raw, expected):
    for table in columns(raw)[isinstance(raw[0], timedelta) :]:
        kind, values = kind_and_values(table)
        assert kind == "number"
        assert values.dtype == np.float64
        np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("dtype", ["Int64", "Float64", "UInt8", "boolean", "bool", "int16", "f4"])
def test_numeric_dtypes_of_pandas(dtype):
    raw = [1, 0, pd.NA] if dtype[0].isupper() or dtype == "boolean" else [1, 0, 1]
    kind, values = kind_and_values(pd.DataFrame({"a": pd.array(raw, dtype=dtype)}))
    assert kind == "number"
    np.testing.assert_array_equal(values, [1, 0, NAN if pd.NA is raw[2] else 1])


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ([datetime(2024, 2, 29), None], [DAY, NAT]),
        ([date(2024, 2, 29), None], [DAY, NAT]),
        (["2024-02-29", "?"], [DAY, NAT]),
        (["2024-02-29T12:30:00", ""], [DAY + np.timedelta64(750, "m"), NAT]),
        (["2024-02-29 01:00:00+01:00", None], [DAY, NAT]),
        ([datetime(2024, 2, 28, 23, tzinfo=timezone(timedelta(hours=-1))), None], [DAY, NAT]),
        ([pd.Timestamp("2024-02-29"), None], [DAY, NAT]),
        ([pd.Timestamp("2024-02-29 13:00", tz="Asia/Tokyo"), None], [DAY + FOUR_HOURS, NAT]),
    ],
)
def test_dates(raw, expected):
    for table in columns(raw):
        kind, values = kind_and_values(table)
        assert kind == "date"
        np.testing.assert_array_equal(values, np.array(expected, dtype="datetime64[us]"))


def test_an_array_of_datetimes():
    kind, values = kind_and_values(np.array([["2024-02-29"], ["NaT"]], dtype="datetime64[D]"))
    assert kind == "date"
    np.testing.assert_array_equal(values, [DAY, NAT])


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (["a", "b", None], ["a", "b", ""]),
        ([" a", "a ", "?"], ["a", "a", ""]),
        (["1", "2", "many"], ["1", "2", "many"]),
        (["2024-02-29", "never", "NA"], ["2024-02-29", "never", ""]),
    ],
)
def test_categories(raw, expected):
    for table in columns(raw):
        kind, values = kind_and_values(table)
        assert kind == "category"
        assert values.tolist() == expected


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame({"a": pd.Categorical([2, 1, None])}),
        pd.DataFrame({"a": pd.Categorical(["2", "1", None])}),
        pl.DataFrame({"a": pl.Series(["2", "1", None], dtype=pl.Categorical)}),
        pl.DataFrame({"a": pl.Series(["2", "1", None], dtype=pl.Enum(["1", "2"]))}),
    ],
)
def test_a_dtype_that_says_category_is_believed(table):
    kind, values = kind_and_values(table)
    assert kind == "category"
    assert values.tolist() == ["2", "1", ""]


def test_whole_numbers_are_one_category_with_and_without_a_missing_one():
    whole = np.array([1, 2, 3], dtype=object)
    floating = np.array([1.0, 2.0, NAN])
    for values, expected in [(whole, ["1", "2", "3"]), (floating, ["1", "2", ""])]:
        read = read_column(Column(values), "category", WORDS, "a")
        assert by_row(read).tolist() == expected


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("number", ["1", "abc", "x", "y", "z"], r"held a number .* missing: 'abc', 'x', 'y', …"),
        ("number", np.array(["2024-01-01"], "datetime64[us]"), "'a' held a number in each row"),
        ("date", ["2024-01-01", "tomorrow"], "held a date .* counts as missing: 'tomorrow'"),
        ("date", np.array([1.0]), "held a date"),
    ],
)
def test_what_cannot_be_read_is_missing_with_a_warning(kind, values, message):
    values = values if isinstance(values, np.ndarray) else np.array(values, dtype=object)
    with pytest.warns(UserWarning, match=message):
        read = read_column(Column(values), kind, WORDS, "a")
    assert np.isnat(read[-1]) if kind == "date" else np.isnan(read[-1])


@pytest.mark.parametrize("value", [{"a": 1}, [1, 2], np.zeros(2), {1}])
def test_values_that_are_no_values(value):
    column = np.empty((2, 1), dtype=object)
    column[0, 0], column[1, 0] = 1.0, value
    with pytest.raises(TypeError, match=r"unhashable type.* must be missing, a string, a boolean"):
        kind_and_values(column)


def test_complex_columns():
    with pytest.raises(ValueError, match="Complex data not supported: column 0"):
        column_of(pd.DataFrame({"a": [1j, 2j]}), 0)
