"""Threads meet when all of them wait, and nobody waits in vain."""

import threading

import pytest

from sktorch.fused.rendezvous import (
    Cancelled,
    Rendezvous,
    TaskHandle,
    apart,
    current_order,
    current_task,
    task_running,
)

LONG = 20  # seconds, after which a test is given up


class Work:
    """Something to hand in."""

    def __init__(self, name=None, ticket=None):
        self.name, self.error = name, None
        self.cancelled = bool if ticket is None else ticket.is_cancelled


def in_threads(*functions):
    """Run functions side by side; their values or errors, in order."""
    results = [None] * len(functions)

    def run(number):
        try:
            results[number] = functions[number]()
        except BaseException as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert not any(thread.is_alive() for thread in threads)
    return results


def meeting_point(n_slots=2, together=None):
    met = []

    def noting(present):
        met.append(sorted(one.name for one in present))
        if together is not None:
            together(present)

    return Rendezvous(noting, n_slots), met


def task(meeting, name, n_times, then=lambda: None):
    def run():
        meeting.acquire_slot()
        for _ in range(n_times):
            meeting.run(Work(name))
        then()
        meeting.release_slot()
        meeting.leave()
        return name

    meeting.arrive()
    return run


@pytest.mark.parametrize("n_slots", [1, 3])
def test_all_meet_until_they_leave(n_slots):
    meeting, met = meeting_point(n_slots)
    tasks = [task(meeting, name, n) for name, n in (("a", 3), ("b", 1), ("c", 2))]
    assert in_threads(*tasks) == ["a", "b", "c"]
    assert met == [["a", "b", "c"], ["a", "c"], ["a"]]


def test_a_thread_apart_is_not_waited_for():
    meeting, met = meeting_point()
    both_met = threading.Event()

    def on_its_own():
        meeting.acquire_slot()
        with meeting.apart():
            assert both_met.wait(LONG)
        meeting.release_slot()
        meeting.leave()

    meeting.arrive()
    two = [task(meeting, name, 1, both_met.set) for name in "ab"]
    assert in_threads(on_its_own, *two) == [None, "a", "b"]
    assert met == [["a", "b"]]


def test_only_so_many_run_at_a_time():
    meeting, _ = meeting_point(n_slots=2)
    running, most, lock = 0, [], threading.Lock()

    def busy():
        nonlocal running
        with lock:
            running += 1
            most.append(running)
        threading.Event().wait(0.01)
        with lock:
            running -= 1

    in_threads(*[task(meeting, str(n), 1, busy) for n in range(6)])
    assert max(most) <= 2


def test_an_error_of_one_is_its_own():
    def failing(present):
        next(one for one in present if one.name == "b").error = ValueError("broken")

    meeting, _ = meeting_point(together=failing)
    a, b = in_threads(task(meeting, "a", 1), task(meeting, "b", 1))
    assert a == "a"
    assert isinstance(b, ValueError)


def test_an_error_of_the_meeting_reaches_all():
    def failing(present):
        raise MemoryError("no memory")

    meeting, _ = meeting_point(together=failing)
    results = in_threads(task(meeting, "a", 1), task(meeting, "b", 1))
    assert [type(result) for result in results] == [MemoryError] * 2


def test_whoever_is_cancelled_waits_no_longer():
    meeting, met = meeting_point()
    outer = TaskHandle(meeting)
    inner, other = TaskHandle(meeting, outer), TaskHandle(meeting)
    waiting = threading.Semaphore(0)

    def run(ticket):
        def run():
            waiting.release()
            try:
                meeting.run(Work("one", ticket))
            finally:
                meeting.leave()

        meeting.arrive()
        return run

    def cancel():
        for _ in range(2):
            assert waiting.acquire(timeout=LONG)
        outer.cancel()
        with pytest.raises(Cancelled):  # nor does anybody begin to
            meeting.run(Work("late", inner))
        meeting.leave()

    meeting.arrive()
    of_inner, of_other, _ = in_threads(run(inner), run(other), cancel)
    assert isinstance(of_inner, Cancelled)
    assert inner.is_cancelled()
    assert not other.is_cancelled()
    assert of_other is None
    assert met == [["one"]]


def test_tickets_and_orders_are_of_a_thread():
    meeting, _ = meeting_point()
    outer = TaskHandle(meeting)
    assert (current_task(), current_order()) == (None, ())
    with apart():  # nothing outside of a task
        pass
    with task_running(outer, 3):
        assert (current_task(), current_order()) == (outer, (3,))
        inner = TaskHandle(meeting, outer, current_order())
        with task_running(inner, 1):
            assert (current_task(), current_order()) == (inner, (3, 1))
        assert in_threads(current_task) == [None]
    assert (current_task(), current_order()) == (None, ())


def test_the_end_of_python_waits_for_a_meeting():
    daemons = []

    def noting(present):
        daemons.append(threading.current_thread().daemon)

    def as_daemon(run):
        thread = threading.Thread(target=run, daemon=True)  # as those of tasks are
        thread.start()
        thread.join(LONG)

    meeting, _ = meeting_point(together=noting)
    as_daemon(task(meeting, "a", 1))
    assert daemons == [False]
