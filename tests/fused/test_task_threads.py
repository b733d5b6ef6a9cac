"""Threads run all tasks of a call, side by side as far as they may, and end with it."""

import threading

import pytest

from sktorch.fused.rendezvous import Cancelled, Rendezvous, TaskHandle, current_task
from sktorch.fused.task_threads import TaskThreads
from tests.training.interrupting import interrupted_everywhere

LONG = 20  # seconds, after which a test is given up


def threads_of(max_threads=4, has_room=lambda n_running: True, n_slots=4):
    call = TaskHandle(Rendezvous(lambda epochs: None, n_slots))
    return TaskThreads(call, max_threads, has_room)


def outcomes_of(threads, *functions):
    """Submit tasks and wait for all of them; their outcomes in order."""
    outcomes = {}
    for number, function in enumerate(functions):
        threads.submit(function, lambda outcome, number=number: outcomes.update({number: outcome}))
    threads.join()
    return [outcomes.get(number) for number in range(len(functions))]


def test_tasks_give_their_values_and_errors():
    error = ValueError("broken")

    def fails():
        raise error

    assert outcomes_of(threads_of(), lambda: 1, fails, lambda: 3) == [
        (True, 1),
        (False, error),
        (True, 3),
    ]


def test_tasks_know_their_place_in_the_call():
    orders = outcomes_of(threads_of(), *[lambda: current_task().order] * 3)
    assert orders == [(True, (0,)), (True, (1,)), (True, (2,))]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"max_threads": 2}, 2),
        ({"has_room": lambda n_running: n_running < 2}, 2),
        ({"has_room": lambda n_running: not n_running}, 1),
        ({"n_slots": 1}, 1),
    ],
)
def test_only_so_many_run_side_by_side(settings, expected):
    running, most, lock = [], [], threading.Lock()

    def task():
        with lock:
            running.append(1)
            most.append(len(running))
        threading.Event().wait(0.01)
        with lock:
            running.pop()

    outcomes = outcomes_of(threads_of(**settings), *[task] * 8)
    assert outcomes == [(True, None)] * 8
    assert max(most) <= expected


def test_a_task_may_submit_the_next_one():
    threads, outcomes = threads_of(max_threads=1), []

    def ended(outcome):
        outcomes.append(outcome)
        if len(outcomes) < 3:
            threads.submit(lambda: len(outcomes), ended)

    threads.submit(lambda: 0, ended)
    threads.join()
    assert outcomes == [(True, 0), (True, 1), (True, 2)]


def test_cancelled_tasks_do_not_begin():
    threads, began, outcomes = threads_of(max_threads=1), threading.Event(), []
    threads.submit(lambda: began.set() or threading.Event().wait(0.05), outcomes.append)
    threads.submit(lambda: "queued", outcomes.append)
    assert began.wait(LONG)
    threads.cancel()
    assert len(outcomes) == 1, "a queued task is forgotten"
    threads.submit(lambda: "late", outcomes.append)
    threads.join()
    succeeded, error = outcomes[-1]
    assert not succeeded
    assert isinstance(error, Cancelled)


@pytest.mark.parametrize("n_possible", [0, 1, 3])
def test_a_system_without_further_threads(n_possible, monkeypatch):
    start, started = threading.Thread.start, []

    def limited(thread):
        if thread.name == "sktorch task":
            if len(started) == n_possible:
                raise RuntimeError("can't start new thread")
            started.append(thread)
        start(thread)

    threads, hold = threads_of(), threading.Event()
    monkeypatch.setattr(threading.Thread, "start", limited)
    if not n_possible:
        with pytest.raises(RuntimeError, match="can't start new thread"):
            threads.submit(lambda: 1, print)
        threads.cancel()
        return
    outcomes = []
    for number in range(6):
        threads.submit(lambda number=number: hold.wait(LONG) and number, outcomes.append)
    hold.set()
    threads.join()
    assert sorted(outcomes) == [(True, number) for number in range(6)]
    assert len(started) == n_possible


# An interrupt after every call: what joblib does then is to cancel.

FILES = ("task_threads.py", "rendezvous.py")


class Handed:
    """An epoch that a task hands in."""

    error = None

    def __init__(self, task):
        self.cancelled = task.is_cancelled


def use(made):
    """Run tasks that meet, as joblib does: an error cancels what there is."""
    made.append(threads := threads_of(n_slots=2))
    try:
        for _ in range(3):
            threads.submit(meet, lambda outcome: None)
        threads.all_submitted()
        threads.join()
    except BaseException:
        threads.cancel()
        raise


def meet():
    for _ in range(2):
        current_task().rendezvous.run(Handed(current_task()))


def test_an_interrupt_after_any_call_ends_all_threads():
    made, n_interrupts, before = [], 0, threading.enumerate()
    for _ in interrupted_everywhere(lambda: use(made), FILES, after_calls=True):
        n_interrupts += 1
        assert all_ended_but(before)
    assert n_interrupts > 30


def all_ended_but(others):
    """Return whether threads end; one may have been about to start at the interrupt."""
    for _ in range(100 * LONG):
        # One whose start was interrupted is listed, without a number.
        if all(thread in others or thread.ident is None for thread in threading.enumerate()):
            return True
        threading.Event().wait(0.01)
    return False
