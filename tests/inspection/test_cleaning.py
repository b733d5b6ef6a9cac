"""Bars of a cleaner's columns: shares, kinds, and what became of them."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktorch import TabularClassifier, TorchClassifier
from sktorch.inspection import CleaningDisplay
from sktorch.preprocessing import TableCleaner

X = pd.DataFrame(
    {
        "age": ["31", "?", "54", "20"] * 5,
        "city": ["Kyiv", "Oslo", None, None] * 5,
        "born": ["2020-01-02", "2021-02-03", "2022-01-01", "2022-01-01"] * 5,
        "constant": [1] * 20,
    }
)
y = ["a", "b"] * 10
AROUND = {
    "cleaner": lambda: TableCleaner(),
    "table": lambda: TabularClassifier(n_members=2, max_epochs=1),
    "pipeline": lambda: make_pipeline(TableCleaner(), TorchClassifier(max_epochs=1)),
    "pipeline of tables": lambda: make_pipeline(
        "passthrough", TabularClassifier(n_members=2, max_epochs=1)
    ),
}


@pytest.mark.parametrize("make", AROUND.values(), ids=AROUND)
def test_bars_are_shares_of_known_and_missing_values(make):
    display = CleaningDisplay.from_estimator(make().fit(X, y))
    known = [bar.get_width() for bar in display.bars_]
    np.testing.assert_allclose(known, [0.75, 0.5, 1, 1])
    np.testing.assert_allclose(
        [bar.get_width() for bar in display.missing_bars_], 1 - np.array(known)
    )
    np.testing.assert_allclose([bar.get_x() for bar in display.missing_bars_], known)
    assert [text.get_text() for text in display.ax_.get_yticklabels()] == [*X.columns]
    becomes = [row["becomes"] for row in display.report]
    assert [text.get_text() for text in display.texts_] == becomes
    assert becomes[-1] == "dropped"


def test_colours_are_kinds_and_dropped_columns_are_pale():
    display = CleaningDisplay.from_estimator(TableCleaner().fit(X))
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts == ["number", "category", "date", "missing"]
    assert [bar.get_alpha() for bar in display.bars_] == [1, 1, 1, 0.3]
    colors = [bar.get_facecolor()[:3] for bar in display.bars_]
    assert colors[0] == colors[3]
    assert len({*colors}) == 3


def test_a_display_of_a_list():
    _, ax = plt.subplots()
    row = {"column": "a\n" + 60 * "b", "kind": "?", "missing": 0.0, "becomes": "scaled"}
    display = CleaningDisplay(report=[row])
    assert display.plot(ax) is display
    assert display.ax_ is ax
    assert display.ax_.get_yticklabels()[0].get_text() == "a " + 37 * "b" + "…"


WRONG = {
    "not fitted": (TableCleaner(), NotFittedError, "not fitted"),
    "no cleaner": (StandardScaler().fit([[1.0], [2.0]]), TypeError, "no TableCleaner inside"),
}


@pytest.mark.parametrize(("given", "error", "match"), WRONG.values(), ids=WRONG)
def test_wrong_inputs(given, error, match):
    with pytest.raises(error, match=match):
        CleaningDisplay.from_estimator(given)
