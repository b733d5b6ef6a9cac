"""Candidates by their parameters: every score where its value is."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from torch import nn

from sktorch import TorchClassifier
from sktorch.inspection import CandidatesDisplay
from sktorch.model_selection import HalvingSearchCV

X, y = load_iris(return_X_y=True)
linear = LogisticRegression(max_iter=1000)
grid = {"C": [0.01, 1.0, 100.0], "fit_intercept": [True, False], "tol": [1e-4]}
search = GridSearchCV(linear, grid, cv=3).fit(X, y)


def points(container):
    """Return where dots are, and how long their bars are."""
    line, _, (bars,) = container
    lengths = [segment[1, 1] - segment[0, 1] for segment in bars.get_segments()]
    return line.get_xdata(), line.get_ydata(), lengths


def test_dots_are_the_scores_of_the_search():
    display = CandidatesDisplay.from_search(search)
    assert [*display.axes_] == ["C", "fit_intercept"], "tol has one value"
    results = search.cv_results_
    for name, places in {"C": results["param_C"], "fit_intercept": [0, 1] * 3}.items():
        (dots,) = display.dots_[name]
        x, scores, lengths = points(dots)
        np.testing.assert_array_equal(x, np.asarray(places, float))
        np.testing.assert_array_equal(scores, results["mean_test_score"])
        np.testing.assert_allclose(lengths, 2 * results["std_test_score"], atol=1e-12)


def test_axes_say_what_they_show():
    axes = CandidatesDisplay.from_search(search).axes_
    assert [ax.get_xlabel() for ax in axes.values()] == ["C", "fit_intercept"]
    assert [ax.get_ylabel() for ax in axes.values()] == ["mean test score", ""]
    assert [ax.get_xscale() for ax in axes.values()] == ["log", "linear"]
    assert [text.get_text() for text in axes["fit_intercept"].get_xticklabels()] == [
        "True",
        "False",
    ]


def test_the_best_has_a_ring():
    display = CandidatesDisplay.from_search(search)
    (ring,) = [line for line in display.axes_["C"].lines if line.get_label() == "best candidate"]
    assert ring.get_xydata().tolist() == [[search.best_params_["C"], search.best_score_]]


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([1, 2, 3], "linear"),
        ([1e-3, 1e-2], "log"),
        ([0, 1e-3, 1e-1], "symlog"),
        ([-1, 10, 100], "linear"),
        ([0, 0], "linear"),
    ],
)
def test_scales_of_numbers(values, scale):
    display = CandidatesDisplay(parameters={"p": values}, scores=np.arange(len(values))).plot()
    assert display.axes_["p"].get_xscale() == scale


def test_values_of_any_kind():
    values = [(50,), nn.ReLU, "a text of more characters than there is room for", None, np.nan]
    display = CandidatesDisplay(parameters={"p": values}, scores=np.arange(5.0)).plot()
    labels = [text.get_text() for text in display.axes_["p"].get_xticklabels()]
    assert labels == ["(50,)", "ReLU", "a text of more char…", "None"]
    assert points(display.dots_["p"][0])[0].tolist() == [0, 1, 2, 3], "NaN is left out"


def test_candidates_of_several_grids():
    grids = [{"C": [0.1, 10.0]}, {"fit_intercept": [False]}]
    display = CandidatesDisplay.from_search(GridSearchCV(linear, grids, cv=3).fit(X, y))
    assert points(display.dots_["C"][0])[0].tolist() == [0.1, 10.0]


def test_one_of_several_metrics():
    scoring = ["accuracy", "neg_log_loss"]
    several = GridSearchCV(linear, grid, scoring=scoring, refit="accuracy", cv=3).fit(X, y)
    assert CandidatesDisplay.from_search(several).score_name == "accuracy"
    display = CandidatesDisplay.from_search(several, metric="neg_log_loss")
    assert display.axes_["C"].get_ylabel() == "mean test neg log loss"
    np.testing.assert_array_equal(display.scores, several.cv_results_["mean_test_neg_log_loss"])


def test_a_search_that_halves_shows_the_last_rung_of_each():
    net = TorchClassifier(max_epochs=9, random_state=0)
    halving = HalvingSearchCV(net, {"lr": [1e-4, 1e-3, 1e-2]}, min_resources=3, cv=2).fit(X, y)
    display = CandidatesDisplay.from_search(halving)
    early, late = (points(dots) for dots in display.dots_["lr"])
    assert [early[0].tolist(), late[0].tolist()] == [[1e-4, 1e-3], [1e-2]]
    texts = {text.get_text() for text in display.axes_["lr"].get_legend().get_texts()}
    assert texts == {"3 epochs", "9 epochs", "best candidate"}


def test_axes_given():
    _, ax = plt.subplots()
    display = CandidatesDisplay(parameters={"p": [1, 2]}, scores=np.array([0.5, 0.6]))
    assert display.plot(ax).axes_ == {"p": ax}
    assert display.plot({"p": ax}).figure_ is ax.figure
    _, axes = plt.subplots(2)
    both = CandidatesDisplay(parameters={"p": [1, 2], "q": [3, 4]}, scores=np.ones(2)).plot(axes)
    assert both.axes_ == {"p": axes[0], "q": axes[1]}


WRONG = {
    "not fitted": (GridSearchCV(linear, grid), {}, NotFittedError, "not fitted"),
    "no search": (linear.fit(X, y), {}, TypeError, "LogisticRegression has no cv_results_"),
    "no metric": (search, {"metric": "roc"}, ValueError, r"'roc'.*\['score'\]"),
    "one value": (GridSearchCV(linear, {"C": [1]}, cv=2).fit(X, y), {}, ValueError, "several"),
}


@pytest.mark.parametrize(("given", "more", "error", "match"), WRONG.values(), ids=WRONG)
def test_wrong_inputs(given, more, error, match):
    with pytest.raises(error, match=match):
        CandidatesDisplay.from_search(given, **more)


def test_too_few_axes():
    _, ax = plt.subplots()
    display = CandidatesDisplay(parameters={"p": [1, 2], "q": [1, 2]}, scores=np.ones(2))
    with pytest.raises(ValueError, match=r"no Axes for \['q'\]"):
        display.plot(ax)


def test_values_are_told_apart_whatever_their_repr():
    losses = [nn.CrossEntropyLoss(label_smoothing=smoothing) for smoothing in (0.0, 0.9)]
    hidden = [(30,) * 12 + (last,) for last in (4, 5)]
    net = TorchClassifier(max_epochs=1, random_state=0)
    found = GridSearchCV(net, {"criterion": losses, "module__hidden": hidden}, cv=2).fit(X, y)
    axes = plt.subplots(1, 2)[1]
    display = CandidatesDisplay.from_search(found, ax=axes)
    assert display.axes_["criterion"] is axes[0]
    for name, places in {"criterion": [0, 0, 1, 1], "module__hidden": [0, 1, 0, 1]}.items():
        (dots,) = display.dots_[name]
        assert points(dots)[0].tolist() == places
        labels = [text.get_text() for text in display.axes_[name].get_xticklabels()]
        assert labels[1] == f"{labels[0]} (2)"


def test_several_metrics_need_a_name():
    found = GridSearchCV(linear, grid, cv=2, scoring=["accuracy", "f1_macro"], refit=False)
    with pytest.raises(ValueError, match="No metric is named; pass metric= with one of"):
        CandidatesDisplay.from_search(found.fit(X, y))
