"""How many tasks and threads the backend runs, and what it reports."""

import pickle
import re
import threading
from contextlib import nullcontext

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import BaggingClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from skorch.callbacks import Callback

from sktorch.fused import displays
from sktorch.fused.backend import MAX_TASKS
from sktorch.fused.fuser import Fuser
from tests.fused.searches import both, classifier, grid_search

pytestmark = pytest.mark.usefixtures("no_step_is_large")


def test_every_fit_of_a_search_meets_the_others(iris, met):
    search = GridSearchCV(classifier(), {"lr": [0.001, 0.01]}, cv=5, refit=False)
    with joblib.parallel_config("sktorch"):
        search.fit(*iris)
    assert met == [10] * 4


def test_n_jobs_is_how_many_fits_run_together(iris, met):
    search = GridSearchCV(classifier(), {"lr": [0.001, 0.01]}, cv=5, refit=False)
    with joblib.parallel_config("sktorch", n_jobs=4):
        search.fit(*iris)
    assert max(met) == 4
    assert sum(met) == 40
    with pytest.raises(ValueError, match="n_jobs=0"), joblib.parallel_config("sktorch", n_jobs=0):
        search.fit(*iris)


@pytest.mark.parametrize(
    ("settings", "most", "n_workers"),
    [({}, None, joblib.cpu_count()), ({}, "1", 1), ({"inner_max_num_threads": 3}, "1", 3)],
)
def test_number_of_threads_that_compute(iris, monkeypatch, settings, most, n_workers):
    numbers = []
    run = Fuser.run

    def noting(self, epochs):
        numbers.append(self.n_workers)
        run(self, epochs)

    monkeypatch.setattr(Fuser, "run", noting)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    if most is not None:
        monkeypatch.setenv("LOKY_MAX_CPU_COUNT", most)
    with joblib.parallel_config("sktorch", **settings):
        cross_val_score(classifier(), *iris, cv=3)
    assert set(numbers) == {n_workers}


def test_no_threads_that_compute(iris):
    with (
        joblib.parallel_config("sktorch", inner_max_num_threads=0),
        pytest.raises(ValueError, match="inner_max_num_threads=0: set at least 1"),
    ):
        cross_val_score(classifier(), *iris)


class Inner(Callback):
    """Fits models of its own."""

    def on_epoch_end(self, net, X=None, **kwargs):
        data = kwargs["dataset_train"]
        X, y = np.stack([data[i][0] for i in range(60)]), [data[i][1] for i in range(60)]
        model = classifier(max_epochs=1)
        self.scores_ = cross_validate(model.fit(X, y), X, y, cv=2)["test_score"]


def test_fits_and_searches_of_a_callback_do_not_deadlock(iris):
    def scores():
        return cross_validate(classifier(callbacks=[Inner()], max_epochs=2), *iris)["test_score"]

    np.testing.assert_array_equal(*both(scores))


def test_models_trained_together_pickle_as_small_as_those_alone(iris):
    def fitted():
        return cross_validate(classifier(), *iris, cv=6, return_estimator=True)["estimator"]

    alone, together = ([len(pickle.dumps(m)) for m in models] for models in both(fitted))
    assert max(together) < 1.02 * max(alone)


def test_users_own_threads_search_at_once(iris):
    def search(results):
        with joblib.parallel_config("sktorch"):
            results.append(grid_search(*iris)[0])

    results = []
    threads = [threading.Thread(target=search, args=(results,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_allclose(results, [grid_search(*iris)[0]] * 2, atol=1e-9)


def threads_here_and_in_a_new_thread():
    numbers = [torch.get_num_threads()]
    thread = threading.Thread(target=lambda: numbers.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return numbers


@pytest.mark.parametrize("settings", [{}, {"pre_dispatch": "2 * x"}])
def test_numbers_of_threads_are_as_before(iris, settings):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with joblib.parallel_config("sktorch"):
            search = GridSearchCV(classifier(), {"lr": [0.1, 0.01]}, cv=3, **settings)
            with pytest.raises(ValueError, match="arithmetic") if settings else nullcontext():
                search.fit(*iris)
        assert threads_here_and_in_a_new_thread() == [3, 3]
    finally:
        torch.set_num_threads(before)


class InThreads(ClassifierMixin, BaseEstimator):
    """Fits in threads of its own."""

    def fit(self, X, y):
        self.models_ = [classifier(random_state=seed) for seed in range(2)]
        threads = [threading.Thread(target=model.fit, args=(X, y)) for model in self.models_]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.classes_ = self.models_[0].classes_
        return self

    def predict(self, X):
        return self.models_[0].predict(X)


def test_threads_of_the_users_own(iris):
    alone, together = both(lambda: cross_validate(InThreads(), *iris)["test_score"])
    np.testing.assert_array_equal(together, alone)


def test_verbose_tells_how_each_kind_trains(iris, capsys):
    search = GridSearchCV(classifier(), {"lr": [0.001, 0.01]}, cv=3, refit=False)
    with joblib.parallel_config("sktorch", verbose=1):
        search.fit(*iris)
    printed = capsys.readouterr()
    first, *_, last = printed.out.splitlines()
    assert re.fullmatch(
        r"sktorch: 6 × StandardizedMLP of 803 parameters: train together, \d in a stack", first
    )
    assert re.fullmatch(
        r"sktorch: 6 of 6 tasks, best score 0\.\d+, lowest training loss 0\.\d+, \d+ s", last
    )
    assert printed.err == ""  # joblib would count threads as workers.


def test_joblib_prints_nothing_and_keeps_its_setting(capsys):
    with joblib.parallel_config("sktorch"):
        parallel = joblib.Parallel(verbose=10)
        for _ in range(2):
            parallel(joblib.delayed(abs)(number) for number in range(2))
            assert parallel.verbose == 10
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.count("sktorch: 2 of 2 tasks") == 2


def test_progress_every_few_seconds(iris, capsys, monkeypatch, one_epoch_at_a_time):
    monkeypatch.setattr(displays, "LINE_INTERVAL", 0)
    ensemble = BaggingClassifier(classifier(optimizer="lbfgs"), 2, random_state=0, verbose=1)
    with joblib.parallel_config("sktorch"):
        ensemble.fit(*iris)
    lines = capsys.readouterr().out.splitlines()
    assert any(
        "2 × StandardizedMLP of 803 parameters: train alone: LBFGS is not" in line for line in lines
    )
    assert [line for line in lines if "score" in line] == []  # Bagging tells of none.
    assert sum(" of 2 tasks" in line for line in lines) >= 4


def test_silent_by_default(iris, capsys):
    with joblib.parallel_config("sktorch"):
        cross_validate(classifier(), *iris)
    assert capsys.readouterr().out == ""


def test_the_backend_is_registered():
    with joblib.parallel_config("sktorch"):
        assert joblib.effective_n_jobs() == MAX_TASKS
        assert joblib.effective_n_jobs(-2) == MAX_TASKS - 1


def test_options_that_the_backend_does_not_have_are_refused():
    message = "no option cores. Its options are over, n_workers, .*free_memory, prune and devices"
    with pytest.raises(TypeError, match=message), joblib.parallel_config("sktorch", cores=2):
        pass
