"""Threads meet when all of them wait, and nobody waits in vain."""

import threading

import pytest

from sktorch.fused.rendezvous import (
    Cancelled,
    Rendezvous,
    TaskHandle,
    current_task,
    detached,
    task_running,
)

LONG = 20  # seconds, after which a test is given up


class Epoch:
    """An epoch to hand in."""

    def __init__(self, name=None, task=None):
        self.name, self.error = name, None
        self.cancelled = bool if task is None else task.is_cancelled


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


def rendezvous_of(n_slots=2, run_together=None):
    met = []

    def noting(present):
        met.append(sorted(epoch.name for epoch in present))
        if run_together is not None:
            run_together(present)

    return Rendezvous(noting, n_slots), met


def task(rendezvous, name, n_times, then=lambda: None):
    def run():
        rendezvous.acquire_slot()
        for _ in range(n_times):
            rendezvous.run(Epoch(name))
        then()
        rendezvous.release_slot()
        rendezvous.leave()
        return name

    rendezvous.arrive()
    return run


@pytest.mark.parametrize("n_slots", [1, 3])
def test_all_meet_until_they_leave(n_slots):
    rendezvous, met = rendezvous_of(n_slots)
    tasks = [task(rendezvous, name, n) for name, n in (("a", 3), ("b", 1), ("c", 2))]
    assert in_threads(*tasks) == ["a", "b", "c"]
    assert met == [["a", "b", "c"], ["a", "c"], ["a"]]


def test_a_detached_thread_is_not_waited_for():
    rendezvous, met = rendezvous_of()
    both_met = threading.Event()

    def on_its_own():
        rendezvous.acquire_slot()
        with rendezvous.detached():
            assert both_met.wait(LONG)
        rendezvous.release_slot()
        rendezvous.leave()

    rendezvous.arrive()
    two = [task(rendezvous, name, 1, both_met.set) for name in "ab"]
    assert in_threads(on_its_own, *two) == [None, "a", "b"]
    assert met == [["a", "b"]]


def test_only_so_many_run_at_a_time():
    rendezvous, _ = rendezvous_of(n_slots=2)
    running, most, lock = 0, [], threading.Lock()

    def busy():
        nonlocal running
        with lock:
            running += 1
            most.append(running)
        threading.Event().wait(0.01)
        with lock:
            running -= 1

    in_threads(*[task(rendezvous, str(n), 1, busy) for n in range(6)])
    assert max(most) <= 2


def test_an_error_of_one_is_its_own():
    def failing(present):
        next(epoch for epoch in present if epoch.name == "b").error = ValueError("broken")

    rendezvous, _ = rendezvous_of(run_together=failing)
    a, b = in_threads(task(rendezvous, "a", 1), task(rendezvous, "b", 1))
    assert a == "a"
    assert isinstance(b, ValueError)


def test_an_error_of_the_common_run_reaches_all():
    def failing(present):
        raise MemoryError("no memory")

    rendezvous, _ = rendezvous_of(run_together=failing)
    results = in_threads(task(rendezvous, "a", 1), task(rendezvous, "b", 1))
    assert [type(result) for result in results] == [MemoryError] * 2


def test_a_cancelled_thread_waits_no_longer():
    rendezvous, met = rendezvous_of()
    outer, other = TaskHandle(rendezvous), TaskHandle(rendezvous)
    inner = outer.task(0)
    waiting = threading.Semaphore(0)

    def run(task):
        def run():
            waiting.release()
            try:
                rendezvous.run(Epoch("one", task))
            finally:
                rendezvous.leave()

        rendezvous.arrive()
        return run

    def cancel():
        for _ in range(2):
            assert waiting.acquire(timeout=LONG)
        outer.cancel()
        with pytest.raises(Cancelled):  # nor does anybody begin to
            rendezvous.run(Epoch("late", inner))
        rendezvous.leave()

    rendezvous.arrive()
    of_inner, of_other, _ = in_threads(run(inner), run(other), cancel)
    assert isinstance(of_inner, Cancelled)
    assert inner.is_cancelled()
    assert not other.is_cancelled()
    assert of_other is None
    assert met == [["one"]]


def test_each_thread_has_its_own_task():
    rendezvous, _ = rendezvous_of()
    task = TaskHandle(rendezvous).task(3)
    assert current_task() is None
    with detached():  # nothing outside of a task
        pass
    with task_running(task):
        assert current_task() is task
        inner = task.call().task(1)
        with task_running(inner):
            assert current_task() is inner
        assert current_task() is task
        assert in_threads(current_task) == [None]
    assert current_task() is None
    assert (task.order, inner.order) == ((3,), (3, 1))


def test_cancelling_reaches_all_tasks_below():
    rendezvous, _ = rendezvous_of()
    call = TaskHandle(rendezvous)
    task, sibling = call.task(0), call.task(1)
    inner_call = task.call()
    inner = inner_call.task(0)
    inner_call.cancel()
    assert inner.is_cancelled()
    assert not any(handle.is_cancelled() for handle in (call, task, sibling))
    call.cancel()
    assert sibling.is_cancelled()


def test_the_end_of_python_waits_for_a_common_run():
    daemons = []

    def noting(present):
        daemons.append(threading.current_thread().daemon)

    def as_daemon(run):
        thread = threading.Thread(target=run, daemon=True)  # as those of tasks are
        thread.start()
        thread.join(LONG)

    rendezvous, _ = rendezvous_of(run_together=noting)
    as_daemon(task(rendezvous, "a", 1))
    assert daemons == [False]
