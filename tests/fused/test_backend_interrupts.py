"""Errors, interrupts and time-outs end a search, and leave no thread behind."""

import itertools
import multiprocessing
import threading
import time
import warnings

import joblib
import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from torch import nn

from tests.fused.searches import Raising, Taking, both, classifier, limited, n_task_threads

pytestmark = pytest.mark.usefixtures("no_step_is_large")


def test_a_callback_that_interrupts_stops_its_fit_alone(iris):
    grid = {"callbacks": [None, [Raising(KeyboardInterrupt())]]}

    def epochs():
        search = GridSearchCV(classifier(), grid, cv=3, scoring=n_epochs, refit=False)
        return search.fit(*iris).cv_results_["mean_test_score"]

    alone, together = both(epochs)
    np.testing.assert_array_equal(alone, [4, 2])
    np.testing.assert_array_equal(together, alone)


def n_epochs(model, X, y):
    return model.n_epochs_


class Diverging(nn.Linear):
    def __init__(self, n_features, n_outputs, dtype, scale=1.0):
        super().__init__(n_features, n_outputs, dtype=dtype)
        with torch.no_grad():
            self.weight.mul_(scale)


def test_a_fit_that_fails_gets_its_error_score_and_the_others_go_on(iris):
    grid = {"module__scale": [1.0, float("nan")]}
    search = GridSearchCV(classifier(module=Diverging), grid, cv=3, error_score=-1.0, refit=False)
    with (
        joblib.parallel_config("sktorch"),
        pytest.warns(match="3 fits failed out of a total of 6"),
    ):
        search.fit(*iris)
    scores = search.cv_results_["mean_test_score"]
    assert scores[0] > 0
    assert scores[1] == -1


@pytest.mark.parametrize("error", [ValueError("broken"), SystemExit("ended")])
def test_an_error_ends_all_tasks(iris, error):
    grid = {"callbacks": [None, [Raising(error)]]}
    search = GridSearchCV(classifier(), grid, cv=3, error_score="raise")
    with joblib.parallel_config("sktorch"), pytest.raises(type(error), match=str(error)):
        search.fit(*iris)
    assert n_task_threads() == 0
    with joblib.parallel_config("sktorch"):  # and nothing is left behind
        assert len(cross_validate(classifier(), *iris)["test_score"]) == 5


def test_an_interrupt_ends_the_search(iris, pressing):
    grid = {"callbacks": [None, [pressing]]}
    search = GridSearchCV(classifier(max_epochs=10_000, tol=-1), grid, cv=3, refit=False)
    with joblib.parallel_config("sktorch"), pytest.raises(KeyboardInterrupt):
        search.fit(*iris)
    assert n_task_threads() == 0


def nothing_left():
    """Tells of memory before the first task only."""
    looks = itertools.count()
    return lambda with_unused=False: {"host": 0 if next(looks) else 100}


def test_an_interrupt_ends_a_search_whose_tasks_are_held_back(iris, pressing):
    model = make_pipeline(Taking(0), classifier(callbacks=[pressing], max_epochs=10_000, tol=-1))
    with limited(nothing_left()), pytest.raises(KeyboardInterrupt):
        cross_val_score(model, *iris, cv=KFold(12))
    assert n_task_threads() == 0


def test_an_error_in_a_nested_search_ends_its_own_tasks(iris):
    failing = {"callbacks": [None, [Raising(ValueError("broken"))]]}
    inner = GridSearchCV(classifier(), failing, cv=2, error_score="raise")
    outer = GridSearchCV(
        Pipeline([("model", classifier())]), {"model": [inner, classifier()]}, cv=3, refit=False
    )
    with joblib.parallel_config("sktorch"), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        outer.fit(*iris)
    assert any("3 fits failed out of a total of 6" in str(w.message) for w in caught)
    failed, others = outer.cv_results_["mean_test_score"]
    assert np.isnan(failed)
    assert others > 0


def test_a_time_out_leaves_no_thread_waiting(iris):
    started = threading.Event()

    def task(sleep):
        if sleep:
            started.set()
            time.sleep(0.5)
        else:
            classifier().fit(*iris)

    with joblib.parallel_config("sktorch"), pytest.raises(multiprocessing.TimeoutError):
        joblib.Parallel(timeout=0.1)(joblib.delayed(task)(sleep) for sleep in (True, False))
    assert started.is_set()
    assert n_task_threads() == 0
