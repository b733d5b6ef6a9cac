"""As many tasks run side by side as fit in memory."""

import itertools

import numpy as np
import pytest
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import make_pipeline

from tests.fused.searches import Taking, classifier, limited, nested_search

pytestmark = pytest.mark.usefixtures("no_step_is_large")


@pytest.mark.parametrize(
    ("size", "settings", "width"),
    [
        (0, {}, 12),
        (5, {}, 10),
        (17, {}, 2),
        (25, {}, 2),
        (26, {}, 1),
        (200, {}, 1),
        (5, {"n_jobs": -250}, 7),
        (25, {"n_jobs": 6}, 6),  # whoever says how many has them
    ],
)
def test_as_many_run_side_by_side_as_fit_in_half_of_the_memory(iris, met, size, settings, width):
    model = make_pipeline(Taking(size), classifier(max_epochs=3))
    alone = cross_val_score(model, *iris, cv=KFold(12))
    Taking.taken.clear()
    with limited(**settings):
        scores = cross_val_score(model, *iris, cv=KFold(12))
    np.testing.assert_allclose(scores, alone)
    assert max(met) == width
    assert sum(met) == 36
    assert Taking.taken == []


def test_tasks_that_were_held_back_begin_as_soon_as_there_is_memory(iris, met):
    looks = itertools.count()

    def free_memory(with_unused=False):  # Another process ends after the first epoch.
        return {"host": 100 if next(looks) == 0 or met else 10}

    with limited(free_memory):
        cross_val_score(classifier(max_epochs=3), *iris, cv=KFold(12))
    assert met == [1] * 3 + [11] * 3


def test_no_more_than_there_are_cores_begin_before_it_is_measured_what_they_take(iris, met):
    model = make_pipeline(Taking(30), classifier(max_epochs=3))
    with limited(inner_max_num_threads=2):
        cross_val_score(model, *iris, cv=KFold(12))
    assert max(met) <= 1 + 2
    assert sum(met) == 36


def test_nested_calls_without_memory_go_on(iris):
    alone = nested_search(*iris)
    with limited(lambda with_unused=False: {"host": 0}):
        np.testing.assert_allclose(nested_search(*iris), alone)


def test_an_error_of_the_measure_leaves_nobody_waiting(iris):
    looks = itertools.count()

    def failing(with_unused=False):
        if next(looks):
            raise RuntimeError("the device has failed")
        return {"host": 100}

    with limited(failing):
        assert len(cross_val_score(classifier(), *iris, cv=3)) == 3
