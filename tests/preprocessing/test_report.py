"""The report: what a cleaner made of each column."""

import pickle

import pandas as pd
import polars as pl
import pytest
from sklearn.exceptions import NotFittedError

from sktorch.preprocessing import CleaningReport, TableCleaner, make_cleaner
from tests.preprocessing.test_facts import PEOPLE, rows


@pytest.mark.parametrize(
    ("column", "smooth", "flag"),
    [
        ("age", "scaled robustly and bent", "scaled robustly"),
        (
            "capital-gain",
            "scaled by its range and bent",
            "scaled to [0, 1]",
        ),
        ("hours", "scaled robustly and bent, indicator of missing", None),
        ("workclass", "2 columns of 0 and 1", "2 columns of 0 and 1"),
        ("ssn", "codes 1 to 30", "codes 1 to 30"),
        ("country", "dropped", "dropped"),
        (
            "interview",
            "scaled robustly and bent, indicator of missing, 6 points on circles",
            "scaled robustly, indicator of missing, 6 points on circles",
        ),
    ],
)
def test_what_columns_become(column, smooth, flag):
    assert rows()[column]["becomes"] == smooth
    assert flag is None or rows(outliers="flag")[column]["becomes"] == flag


def test_indicators_alone():
    X = pd.DataFrame({"a": [1.0, None, 1.0] * 9, "b": [*range(26), 1e6]})
    single, wild = make_cleaner(outliers="flag").fit(X).report()
    assert single["becomes"] == "indicator of missing"
    assert wild["becomes"] == "scaled robustly, indicator of outliers"


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
def test_text(make):
    report = TableCleaner(max_one_hot=2).fit(make(PEOPLE)).report()
    head, age, workclass, *_ = str(report).splitlines()
    assert head.split() == ["column", "kind", "missing", "values", "becomes", "worth", "a", "look"]
    assert age.split() == ["age", "number", "28", "…", "40.5", "…", "53", "scaled", "robustly"]
    assert "20.0% ('?') 2: Private 70% 2 columns" in " ".join(workclass.split())
    assert repr(report) == str(report)


def test_html_is_escaped():
    X = pd.DataFrame({"<b>&": ["<script>", "x", "?"], "b": [1, 2, 3]})
    html = make_cleaner().fit(X).report()._repr_html_()
    assert "<td>&lt;b&gt;&amp;</td>" in html
    assert "&lt;script&gt; 33%" in html
    assert "<script>" not in html
    assert html.count("<tr>") == 3


def test_long_texts_are_cut_and_kept_on_one_line():
    X = pd.DataFrame({"a" * 99: ["line\nbreak" + "x" * 99, "y", "y", "z"]})
    text = str(make_cleaner().fit(X).report())
    assert len(text.splitlines()) == 2
    assert "a" * 39 + "…" in text


def test_tables_of_it():
    report = make_cleaner().fit(pd.DataFrame(PEOPLE)).report()
    assert isinstance(report, CleaningReport)
    assert pd.DataFrame(report)["column"].tolist() == list(PEOPLE)
    assert pl.DataFrame(report)["median"][0] == 40.5


def test_an_array_and_a_pickle():
    cleaner = make_cleaner().fit(pd.DataFrame(PEOPLE).to_numpy(dtype=object))
    report = cleaner.report()
    assert [row["column"] for row in report] == [f"x{j}" for j in range(10)]
    assert pickle.loads(pickle.dumps(cleaner)).report() == report


def test_there_is_none_before_fit():
    with pytest.raises(NotFittedError):
        TableCleaner().report()
