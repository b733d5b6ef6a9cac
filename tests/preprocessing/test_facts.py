"""What columns hold, in the words of the report."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from sktorch.preprocessing import TableCleaner, make_cleaner

# Columns as in UCI Adult, and some that are worth a look.
PEOPLE = {
    "age": [39, 50, 38, 53, 28, 37, 49, 52, 31, 42] * 3,
    "workclass": [*(["Private"] * 7), "State-gov", "?", "?"] * 3,
    "capital-gain": [0.0] * 29 + [2174.0],
    "hours": [None, *map(str, range(31, 40))] * 3,
    "interview": ["1994-03-01", "1994-03-02T12:00:00", "1994-04-01", "", "1994-05-01"] * 6,
    "country": ["United-States"] * 30,
    "ssn": [f"{number:03}-x" for number in range(30)],
    "number": [*range(100, 130)],
    "rarely": [None] * 20 + ["a", "b"] * 5,
    "never": [None] * 30,
}


def rows(make=pd.DataFrame, **parameters):
    cleaner = TableCleaner(**{"max_one_hot": 2, "outliers": "smooth"} | parameters)
    return {row["column"]: row for row in cleaner.fit(make(PEOPLE)).report()}


def test_facts_of_numbers():
    row = rows()["age"]
    assert (row["kind"], row["dtype"], row["missing"]) == ("number", "int64", 0)
    assert (row["lowest"], row["median"], row["highest"]) == (28, 40.5, 53)
    assert row["outputs"] == ["age"]
    assert row["most_frequent"] is row["earliest"] is None


def test_facts_of_categories():
    row = rows()["workclass"]
    assert row["kind"] == "category"
    assert (row["missing"], row["missing_values"]) == (0.2, ["'?'"])
    assert (row["n_categories"], row["n_rare"]) == (2, 0)
    assert (row["most_frequent"], row["most_frequent_share"]) == ("Private", 0.7)
    assert row["outputs"] == ["workclass_Private", "workclass_State-gov"]
    rare = pd.DataFrame({"a": ["x"] * 199 + ["y"]})
    assert make_cleaner().fit(rare).report()[0]["n_rare"] == 1


def test_facts_of_dates():
    row = rows()["interview"]
    assert (row["kind"], row["missing"], row["missing_values"]) == ("date", 0.2, ["''"])
    assert (row["earliest"], row["latest"]) == ("1994-03-01", "1994-05-01")
    assert len(row["outputs"]) == 8


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
def test_what_is_worth_a_look(make):
    found = {column: row["warnings"] for column, row in rows(make).items() if row["warnings"]}
    assert found == {
        "hours": ["numbers that are stored as text"],
        "country": ["the same value in every row that has one"],
        "ssn": ["another value in every row: an identifier?"],
        "number": ["another value in every row: an identifier?"],
        "rarely": ["missing in more than half of the rows"],
        "never": ["no value in any row"],
    }


def test_what_is_not_worth_a_look():
    X = pd.DataFrame({"measured": np.random.RandomState(0).normal(size=50), "a": [*"xy"] * 25})
    assert [row["warnings"] for row in make_cleaner().fit(X).report()] == [[], []]
    few = pd.DataFrame({"a": [*"abcde"], "b": range(5)})
    assert [row["warnings"] for row in make_cleaner().fit(few).report()] == [[], []]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, np.nan, 2.0], ["NaN"]),
        ([1.0, np.inf, -np.inf], ["inf"]),
        (np.array([["1"], ["inf"], ["?"], [None]], dtype=object), ["'inf'", "'?'", "None"]),
        (np.array(["2020-01-01", "NaT"], dtype="datetime64[D]"), ["NaT"]),
        (pd.array([1, None], dtype="Int64"), ["NaN"]),
        ([1, 2, 3], []),
    ],
)
def test_what_was_read_as_missing(values, expected):
    X = values if getattr(values, "ndim", 1) == 2 else pd.DataFrame({"a": values})
    (row,) = make_cleaner().fit(X).report()
    assert row["missing_values"] == expected
