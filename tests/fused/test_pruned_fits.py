"""Pruning of fits of every kind, of tasks that come later, and of what does not compete."""

import re
import warnings

import joblib
import numpy as np
import pytest
from sklearn.ensemble import BaggingClassifier
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    ShuffleSplit,
    cross_validate,
    validation_curve,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktorch.model_selection import HalvingRule, MedianRule
from tests.fused.searches import Watching, classifier, n_task_threads

pytestmark = pytest.mark.usefixtures("no_step_is_large")
LRS = [1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2]
PRUNED = "fits were pruned"
HOLD_OUT = ShuffleSplit(1, test_size=0.2, random_state=0)


def stopping(**parameters):
    return classifier(
        **{"max_epochs": 12, "early_stopping": True, "n_iter_no_change": 20} | parameters
    )


def n_epochs(model, X, y):
    return (model if hasattr(model, "n_epochs_") else model[-1]).n_epochs_


def was_pruned(model, X, y):
    return (model if hasattr(model, "n_epochs_") else model[-1]).pruned_


def searched(X, y, prune, estimator=None, grid=None, warns=True, **settings):
    """A search's number of epochs by candidate and fold, and what else it has found."""
    scoring = {"epochs": n_epochs, "pruned": was_pruned, "score": "accuracy"}
    search = GridSearchCV(
        stopping() if estimator is None else estimator,
        {"lr": LRS} if grid is None else grid,
        **{"cv": KFold(3, shuffle=True, random_state=0), "scoring": scoring, "refit": "score"}
        | settings,
    )
    with joblib.parallel_config("sktorch", prune=prune), warnings.catch_warnings(record=True) as w:
        warnings.simplefilter("always")
        search.fit(X, y)
    assert any(PRUNED in str(warning.message) for warning in w) == warns
    return by_fold(search, "epochs"), search


def by_fold(search, name):
    results = search.cv_results_
    return np.stack([results[f"split{fold}_test_{name}"] for fold in range(search.n_splits_)], 1)


def test_a_pruned_fit_keeps_its_best_weights_and_its_score(iris):
    _, pruned = searched(*iris, HalvingRule(4, 3))
    _, short = searched(*iris, None, stopping(max_epochs=4), warns=False)
    stopped = by_fold(pruned, "epochs") == 4
    assert stopped.any()
    np.testing.assert_array_equal(
        by_fold(pruned, "score")[stopped], by_fold(short, "score")[stopped]
    )


@pytest.mark.parametrize(
    ("estimator", "prefix"),
    [
        pytest.param(make_pipeline(StandardScaler(), stopping()), "torchclassifier__", id="pipe"),
        pytest.param(stopping(early_stopping=False, validation=HOLD_OUT), "", id="validation"),
        pytest.param(stopping(monitor="valid_loss"), "", id="loss"),
        pytest.param(stopping(scoring="f1_macro", monitor="valid_f1_macro"), "", id="scoring"),
        pytest.param(stopping(callbacks=[Watching()]), "", id="alone"),
        pytest.param(stopping(optimizer="lbfgs", max_epochs=3, batch_size=100), "", id="lbfgs"),
    ],
)
def test_fits_of_any_kind_are_pruned_alike_in_every_run(iris, estimator, prefix):
    grid = {f"{prefix}lr": LRS}
    first, _ = searched(*iris, MedianRule(2), estimator, grid)
    second, _ = searched(*iris, MedianRule(2), estimator, grid)
    np.testing.assert_array_equal(first, second)
    assert (first == 2).any()


def test_tasks_that_come_later_are_compared_with_earlier_ones(iris):
    grid = {"lr": LRS[::-1]}
    runs = [searched(*iris, MedianRule(2), grid=grid, n_jobs=4)[0] for _ in range(2)]
    np.testing.assert_array_equal(*runs)
    assert (runs[0][3:] == 2).any()


def test_fits_without_rows_held_out_are_not_judged(iris):
    grid = {"lr": LRS, "early_stopping": [True, False]}
    with joblib.parallel_config("sktorch", prune="median"):
        search = GridSearchCV(stopping(), grid, cv=3, scoring=n_epochs, refit=False)
        with pytest.warns() as caught:
            search.fit(*iris)
    told = [str(warning.message) for warning in caught]
    assert any(re.match(r"\d+ of 36 fits were pruned", line) for line in told)
    assert any("18 of 36 fits could not be pruned" in line for line in told)
    assert len(told) == 2
    without = [not p["early_stopping"] for p in search.cv_results_["params"]]
    assert (search.cv_results_["mean_test_score"][without] == 12).all()


@pytest.mark.parametrize(
    "run",
    [
        lambda X, y: cross_validate(stopping(), X, y, cv=4, return_estimator=True)["estimator"],
        lambda X, y: BaggingClassifier(stopping(), 4, random_state=0).fit(X, y).estimators_,
        lambda X, y: OneVsRestClassifier(stopping()).fit(X, y).estimators_,
    ],
    ids=["cross_validate", "bagging", "one-vs-rest"],
)
def test_fits_that_do_not_compete_are_not_pruned(iris, run):
    with joblib.parallel_config("sktorch", prune="halving"):
        fits = run(*iris)
    assert [fit.n_epochs_ for fit in fits] == [12] * len(fits)
    assert not any(fit.pruned_ for fit in fits)


def test_a_validation_curve_and_a_search_over_ensembles_are_left_alone(iris):
    with joblib.parallel_config("sktorch", prune="median"):
        _, epochs = validation_curve(
            stopping(), *iris, param_name="lr", param_range=LRS, cv=3, scoring=n_epochs
        )
        search = GridSearchCV(OneVsRestClassifier(stopping()), {"estimator__lr": LRS}, cv=2)
        search.fit(*iris)
    assert (epochs == 12).all()


def test_a_nested_search_prunes_its_own_candidates(iris):
    inner = GridSearchCV(stopping(), {"lr": LRS}, cv=2)
    with joblib.parallel_config("sktorch", prune="median"), pytest.warns(match=PRUNED) as caught:
        outer = cross_validate(inner, *iris, cv=3, return_estimator=True)["estimator"]
    assert len(caught) == 1
    assert "of 36 fits" in str(caught[0].message)
    assert not any(search.best_estimator_.pruned_ for search in outer)


def test_an_interrupt_ends_a_search_that_prunes(iris, pressing):
    model = stopping(max_epochs=10_000, n_iter_no_change=10_000)
    search = GridSearchCV(model, {"callbacks": [None, [pressing]]}, cv=3, refit=False)
    with joblib.parallel_config("sktorch", prune="median"), pytest.raises(KeyboardInterrupt):
        search.fit(*iris)
    assert n_task_threads() == 0


def test_without_a_search_no_fit_is_pruned(iris):
    assert stopping().fit(*iris).pruned_ is False
