"""A worker runs the tasks of a chunk side by side, and returns values and errors of each."""

import pickle
import threading
import time

import cloudpickle
import pytest
from sklearn.base import clone

from sktorch import TorchClassifier
from sktorch.fused.rendezvous import Cancelled
from sktorch.workers.chunk import run_chunk
from sktorch.workers.shared import Place


def fitted_score(model, X, y, lr):
    return clone(model).set_params(lr=lr).fit(X, y).score(X, y)


def test_fits_of_a_chunk_are_those_alone(iris):
    X, y = iris
    model = TorchClassifier(max_epochs=3, random_state=0)
    rates = [0.01, 0.1, 1.0]
    calls = [[(fitted_score, [model, Place(0), Place(1)], {"lr": lr})] for lr in rates]
    outcomes = run_chunk((X, y), [(call, None) for call in calls], n_jobs=-1, n_threads=2)
    alone = [fitted_score(model, X, y, lr) for lr in rates]
    assert [outcome for outcome, _ in outcomes] == [(True, [score]) for score in alone]


@pytest.mark.parametrize(("n_jobs", "n_most"), [(3, 3), (1, 2)])
def test_as_many_tasks_run_side_by_side_as_are_allowed(n_jobs, n_most):
    running, most = [], []

    def run():
        running.append(None)
        time.sleep(0.02)
        most.append(len(running))
        running.pop()

    run_chunk((), [([(run, [], {})], None)] * 9, n_jobs=n_jobs, n_threads=9)
    assert max(most) == n_most


class NotPicklable(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


def class_of_a_script():
    """Return a class that only code can be pickled of, as of those in a script or a notebook."""

    class ScriptError(Exception):
        pass

    return ScriptError


def fail(error):
    raise error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("broken"), "ValueError: broken"),
        (NotPicklable(1, 2), "NotPicklable: 1 and 2"),
    ],
)
def test_an_error_is_that_of_its_task(error, text):
    chunk = [([(fail, [error], {})], None), ([(len, ["abc"], {})], None)]
    ((succeeded, got), _), (other, _) = run_chunk((), chunk, n_jobs=-1, n_threads=1)
    assert not succeeded
    pickle.loads(cloudpickle.dumps(got))
    assert f"{type(got).__name__}: {got}".endswith(text)
    assert "in fail" in got.__notes__[0]  # the traceback
    assert other == (True, [3])


def test_an_error_of_a_script_s_own_class_keeps_it():
    error = class_of_a_script()("broken")
    (((_, got), _),) = run_chunk((), [([(fail, [error], {})], None)], n_jobs=-1, n_threads=1)
    assert type(got) is type(error)


def test_tasks_end_when_they_are_stopped(iris, monkeypatch):
    monkeypatch.setattr("sktorch.workers.chunk.STOP_INTERVAL", 0.01)
    model = TorchClassifier(max_epochs=10**6, tol=-1, random_state=0)
    task = [(model.fit, iris, {})], None
    n_threads = threading.active_count()
    with pytest.raises(Cancelled):
        run_chunk((), [task, task], n_jobs=-1, n_threads=1, is_stopped=lambda: True)
    assert threading.active_count() == n_threads
