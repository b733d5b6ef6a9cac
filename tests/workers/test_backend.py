"""Searches over workers give what they give in one process, and end clearly."""

import _thread
import os
import signal
import threading
import time
import warnings

import joblib
import numpy as np
import pytest
from sklearn.ensemble import BaggingClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktorch import TorchClassifier
from sktorch.model_selection import HalvingSearchCV
from tests.workers.conftest import N_WORKERS


def classifier(**parameters):
    return TorchClassifier(**{"max_epochs": 3, "random_state": 0} | parameters)


def over_workers(over, **options):
    return joblib.parallel_config("sktorch", over=over, n_workers=N_WORKERS, **options)


def grid_search(X, y):
    grid = {"lr": [0.01, 0.1, 1.0], "batch_size": [16, 32]}
    search = GridSearchCV(classifier(), grid, cv=3).fit(X, y)
    return search.cv_results_["mean_test_score"], search.predict_proba(X)


def pipeline(X, y):
    return cross_val_score(make_pipeline(StandardScaler(), classifier()), X, y)


def fitted_models(X, y):
    models = cross_validate(classifier(), X, y, return_estimator=True)["estimator"]
    return np.array([model.predict_proba(X) for model in models])


def one_against_the_rest(X, y):
    return cross_val_score(OneVsRestClassifier(classifier()), X, y)


def search_in_a_search(X, y):
    return cross_val_score(GridSearchCV(classifier(), {"lr": [0.01, 0.1]}, cv=2), X, y, cv=3)


def bagging(X, y):
    return BaggingClassifier(classifier(), 10, random_state=0).fit(X, y).predict_proba(X)


def failing_candidate(X, y):
    grid = {"lr": [0.1, "fast"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search = GridSearchCV(classifier(), grid, cv=3, error_score=-1.0).fit(X, y)
    return search.cv_results_["mean_test_score"]


USES = [
    *(grid_search, pipeline, fitted_models, one_against_the_rest, search_in_a_search, bagging),
    failing_candidate,
]


@pytest.mark.parametrize("use", USES)
def test_results_are_those_of_one_process(over, use, iris):
    alone = use(*iris)
    with over_workers(over):
        together = use(*iris)
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("model", [classifier(), OneVsRestClassifier(classifier())])
@pytest.mark.parametrize("refit", [True, "ensemble"])
def test_halving_goes_on_over_workers(model, refit, iris):
    name = "lr" if isinstance(model, TorchClassifier) else "estimator__lr"
    search = HalvingSearchCV(
        model, {name: np.logspace(-3, -0.5, 6)}, min_resources=1, cv=3, refit=refit
    )
    alone = search.fit(*iris)
    scores, probabilities = alone.cv_results_["mean_test_score"], alone.predict_proba(iris[0])
    with over_workers("loky"):
        search.fit(*iris)
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], scores)
    np.testing.assert_allclose(search.predict_proba(iris[0]), probabilities, rtol=1e-9)
    assert len(search.learning_curves_["epoch"]) == len(alone.learning_curves_["epoch"])


def test_more_tasks_than_are_submitted_at_once(iris):
    with over_workers("loky"):
        values = joblib.Parallel(n_jobs=2)(joblib.delayed(abs)(-n) for n in range(100))
    assert values == [*range(100)]


def workers_met(folder):
    """Return how many workers run such tasks, as soon as there are two."""
    (folder / str(os.getpid())).touch()
    give_up = time.monotonic() + 20
    while len(there := [*folder.iterdir()]) < N_WORKERS and time.monotonic() < give_up:
        time.sleep(0.01)
    return len(there)


@pytest.mark.parametrize("n_jobs", [1, 2, None])
def test_all_workers_are_at_work_whatever_the_number_of_jobs(n_jobs, tmp_path):
    with over_workers("loky"):
        met = joblib.Parallel(n_jobs)(joblib.delayed(workers_met)(tmp_path) for _ in range(32))
    assert met == [N_WORKERS] * 32


@pytest.mark.parametrize("ending", [SystemExit, KeyboardInterrupt])
def test_what_ends_a_program_ends_the_call(ending):
    def end():
        raise ending

    with over_workers("loky"), pytest.raises(ending):
        joblib.Parallel()(joblib.delayed(end)() for _ in range(3))


def broken_score(model, X, y):
    raise ValueError("this score is broken")


def test_an_error_ends_the_search_with_the_worker_s_traceback(over, iris):
    with over_workers(over), pytest.raises(ValueError, match="score is broken") as caught:
        cross_val_score(classifier(), *iris, scoring=broken_score, error_score="raise")
    assert "in broken_score" in "".join(caught.value.__notes__)
    with over_workers(over):  # and nothing is left behind
        assert len(cross_val_score(classifier(), *iris)) == 5


def test_a_worker_that_dies_has_its_chunk_run_again(over, iris, tmp_path):
    has_died = tmp_path / "has_died"

    def score_once_dying(model, X, y):
        try:
            has_died.touch(exist_ok=False)
        except FileExistsError:
            return model.score(X, y)
        os.kill(os.getpid(), signal.SIGKILL)

    alone = cross_val_score(classifier(), *iris, cv=10)
    with over_workers(over):
        scores = cross_val_score(classifier(), *iris, cv=10, scoring=score_once_dying)
    assert has_died.exists()
    np.testing.assert_allclose(scores, alone)


def test_ctrl_c_ends_what_workers_do(over, iris):
    endless = classifier(max_epochs=10**7, tol=-1)
    n_threads = threading.active_count()
    pressing = threading.Timer(2, _thread.interrupt_main)
    pressing.start()
    with over_workers(over), pytest.raises(KeyboardInterrupt):
        cross_val_score(endless, *iris, cv=10)
    pressing.join()
    with over_workers(over):  # Workers are free again.
        assert len(cross_val_score(classifier(), *iris)) == 5
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if "sktorch" in name]
    assert threading.active_count() <= n_threads + 4  # those of the engine


def test_nothing_is_left_of_many_calls(iris, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    model = classifier(max_epochs=1)
    with over_workers("loky"):
        cross_val_score(model, *iris, cv=2)
        n_threads = threading.active_count()
        for _ in range(50):
            cross_val_score(model, *iris, cv=2)
    assert threading.active_count() <= n_threads
    assert not [*tmp_path.glob("sktorch-*")]


def test_progress_counts_the_tasks(iris, capsys):
    with over_workers("loky", verbose=1):
        cross_val_score(classifier(), *iris, verbose=1)
    printed = capsys.readouterr().out
    assert "5 of 5 tasks" in printed
    assert "concurrent workers" not in printed


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"over": "nonsense"}, ValueError, "over='nonsense': expected 'loky', 'dask', 'ray'"),
        ({"over": "loky", "prune": "median"}, TypeError, "no option prune where over='loky'"),
        ({"over": "loky", "n_workers": 0}, ValueError, "n_workers=0: set at least 1"),
        ({"over": "loky", "n_workers": 1.5}, ValueError, "n_workers=1.5"),
        ({"n_workers": 2}, TypeError, "n_workers=2 is for workers .* set over to 'loky'"),
        ({"nonsense": 1}, TypeError, "no option nonsense. Its options are over, n_workers"),
    ],
)
def test_wrong_options_are_refused(options, error, match):
    with pytest.raises(error, match=match):
        joblib.parallel_config("sktorch", **options)


def test_jobs_are_counted_for_each_worker():
    with over_workers("loky"):
        assert joblib.effective_n_jobs(3) == 3 * N_WORKERS
        with pytest.raises(ValueError, match="n_jobs=0"):
            joblib.effective_n_jobs(0)
