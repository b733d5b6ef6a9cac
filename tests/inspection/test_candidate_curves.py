"""Curves of candidates: means of the folds, as long as the candidate was there."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV

from sktorch import TorchClassifier
from sktorch.inspection import CandidateCurvesDisplay
from sktorch.model_selection import HalvingSearchCV

X, y = load_iris(return_X_y=True)
net = TorchClassifier(max_epochs=9, random_state=0)
LRS = {"lr": [1e-4, 1e-3, 1e-2]}
search = HalvingSearchCV(net, LRS, min_resources=3, cv=2).fit(X, y)


class Search(BaseEstimator):
    """A search that has been fitted."""

    def fit(self, X, y=None):
        return self


def test_lines_are_means_of_the_folds():
    display = CandidateCurvesDisplay.from_search(search)
    table = pd.DataFrame(search.learning_curves_)
    means = table.groupby(["candidate", "epoch"])["train_loss"].mean()
    assert [*display.lines_] == [0, 1, 2]
    for number, line in display.lines_.items():
        np.testing.assert_allclose(line.get_ydata(), means[number], rtol=1e-12)
        np.testing.assert_array_equal(line.get_xdata(), means[number].index)
    assert {number: len(line.get_xdata()) for number, line in display.lines_.items()} == {
        0: 3,
        1: 3,
        2: 9,
    }


def test_the_best_and_the_rungs_are_marked():
    display = CandidateCurvesDisplay.from_search(search)
    assert display.best == 2
    assert [number for number, line in display.lines_.items() if line.get_color() == "black"] == [2]
    assert [line.get_xdata()[0] for line in display.rung_lines_] == search.n_resources_
    assert display.ax_.get_ylabel() == "training loss, mean of the folds"


def test_folds_of_several_lengths():
    """A fold that has stopped early has no part in the means of later epochs."""
    table = {
        "candidate": np.array([0, 0, 0, 0]),
        "epoch": np.array([1, 2, 1, 2]),
        "train_loss": np.array([4.0, 2.0, 6.0, np.nan]),
    }
    search = Search()
    search.learning_curves_, search.n_resources_ = table, [2]
    display = CandidateCurvesDisplay.from_search(search)
    np.testing.assert_array_equal(display.lines_[0].get_ydata(), [5, 2])


def test_another_metric_and_axes():
    _, ax = plt.subplots()
    fitted = HalvingSearchCV(
        net.set_params(lr_schedule="cosine"), LRS, min_resources=3, cv=2, refit=False
    ).fit(X, y)
    display = CandidateCurvesDisplay.from_search(fitted, metric="lr", ax=ax)
    assert display.ax_ is ax
    assert ax.get_ylabel() == "learning rate, mean of the folds"


def test_a_display_of_arrays():
    curves = {4: np.array([3.0, 2.0]), 7: np.array([2.0, -1.0])}
    display = CandidateCurvesDisplay(curves=curves)
    assert display.plot(line_kw={"color": "red"}) is display
    assert display.lines_[7].get_color() == "red"
    assert display.ax_.get_yscale() == "linear"


WRONG = {
    "not fitted": (HalvingSearchCV(net, LRS), {}, NotFittedError, "not fitted"),
    "no curves": (GridSearchCV(net, LRS, cv=2).fit(X, y), {}, TypeError, "GridSearchCV keeps no"),
    "no metric": (search, {"metric": "valid_loss"}, ValueError, "'valid_loss'.*'train_loss'"),
}


@pytest.mark.parametrize(("given", "more", "error", "match"), WRONG.values(), ids=WRONG)
def test_wrong_inputs(given, more, error, match):
    with pytest.raises(error, match=match):
        CandidateCurvesDisplay.from_search(given, **more)
