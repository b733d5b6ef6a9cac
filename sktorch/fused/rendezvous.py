"""Let threads that train side by side go through each epoch together.

Each thread runs its own training: history, callbacks, early stopping and schedules know of no
other. Only the epoch itself is handed in. When every thread that takes part waits or has left, all
epochs that were handed in run together, and each thread goes on with its own.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol
from weakref import WeakValueDictionary

_here = threading.local()


class Cancelled(BaseException):
    """Raised in a thread whose result is not waited for any more; nothing should catch it."""


class Epoch(Protocol):
    """One model's epoch, as a thread hands it in."""

    error: BaseException | None  # raised in that thread afterwards

    def cancelled(self) -> bool:
        """Say whether the result is not waited for any more."""
        ...


class TaskHandle:
    """A task that joblib runs, or a call that hands out tasks.

    They form a tree: cancelling a call cancels its tasks, and the calls that these make. The order
    is the path to a task, so that tasks sort alike in every run.
    """

    def __init__(
        self,
        rendezvous: "Rendezvous",
        parent: "TaskHandle | None" = None,
        order: tuple[int, ...] = (),
    ) -> None:
        self.rendezvous, self.order = rendezvous, order
        self._parent, self._cancelled = parent, False

    def call(self) -> "TaskHandle":
        """Return the handle of a call that this task makes."""
        return TaskHandle(self.rendezvous, self, self.order)

    def task(self, number: int) -> "TaskHandle":
        """Return the handle of the call's task of that number."""
        return TaskHandle(self.rendezvous, self, (*self.order, number))

    def is_cancelled(self) -> bool:
        """Say whether the result is not waited for any more."""
        return self._cancelled or (self._parent is not None and self._parent.is_cancelled())

    def cancel(self) -> None:
        """End the threads below this handle, with `Cancelled`, where they wait or begin to wait."""
        self._cancelled = True
        self.rendezvous.wake_cancelled()


class Rendezvous:
    """A place where threads wait for each other, and run together what they hand in.

    ``run_together`` takes the epochs, writes errors to them and raises none. Of the threads that
    neither wait nor are detached, only ``n_slots`` run at a time: many threads that each need
    Python's lock for an instant spend their time waiting for it.
    """

    def __init__(self, run_together: Callable[[list[Any]], None], n_slots: int) -> None:
        # Tensors that threads share, by digest, for as long as one of them holds them.
        self.tensors: WeakValueDictionary[Any, Any] = WeakValueDictionary()
        self._run_together = run_together
        self._lock = threading.Lock()
        self._n_active, self._max_present = 0, 1
        self._waiting: dict[Epoch, threading.Event] = {}
        self._is_running = False
        self._n_slots = self._n_free_slots = n_slots
        self._slot_queue: deque[threading.Event] = deque()

    def arrive(self) -> None:
        """Take part: the others wait for this thread until it waits or leaves."""
        with self._lock:
            self._n_active += 1
            self._max_present = max(self._max_present, self._n_active + len(self._waiting))

    def leave(self) -> None:
        """Take part no longer."""
        with self._lock:
            self._n_active -= 1
            self._run_if_complete()

    @contextmanager
    def detached(self) -> Iterator[None]:
        """Let the others not wait for this thread for a while."""
        self.leave()
        try:
            yield
        finally:
            self.arrive()

    @property
    def threads_per_task(self) -> int:
        """Return how many threads each task may compute with, if all that ever met run at once."""
        n_tasks = max(self._max_present - 1, 1)  # The thread that hands out tasks takes part, too.
        return max(self._n_slots // n_tasks, 1)

    def acquire_slot(self) -> None:
        """Wait until this thread may run."""
        ready = threading.Event()
        with self._lock:
            self._slot_queue.append(ready)
            self._fill_slots()
        ready.wait()

    def release_slot(self) -> None:
        """Let another thread run instead of this one."""
        with self._lock:
            self._n_free_slots += 1
            self._fill_slots()

    def run(self, epoch: Epoch) -> None:
        """Hand in an epoch and wait until it is over; raise its error, or `Cancelled`."""
        done = threading.Event()
        with self._lock:
            if epoch.cancelled():
                raise Cancelled
            self._waiting[epoch] = done
            self._n_active -= 1
            self._n_free_slots += 1
            self._fill_slots()
            self._run_if_complete()
        done.wait()
        if epoch.cancelled():
            raise Cancelled
        if epoch.error is not None:
            raise epoch.error

    def wake_cancelled(self) -> None:
        """Wake the threads that wait for an epoch that has been cancelled."""
        with self._lock:
            cancelled = [epoch for epoch in self._waiting if epoch.cancelled()]
            self._wake([self._waiting.pop(epoch) for epoch in cancelled])

    def _run_if_complete(self) -> None:
        if self._n_active == 0 and self._waiting and not self._is_running:
            self._is_running, present, self._waiting = True, self._waiting, {}
            # A thread of its own: an interrupt should reach the one that came last. No daemon: at
            # its end Python waits for this thread, rather than break it off within torch.
            threading.Thread(target=self._run_all, args=(present,), daemon=False).start()

    def _run_all(self, present: dict[Epoch, threading.Event]) -> None:
        try:
            self._run_together([*present])
        except BaseException as error:
            for epoch in present:
                epoch.error = epoch.error or error
        with self._lock:
            self._is_running = False
            self._wake(present.values())
            self._run_if_complete()

    def _wake(self, events: Iterable[threading.Event]) -> None:
        events = [*events]
        self._n_active += len(events)
        self._slot_queue.extend(events)
        self._fill_slots()

    def _fill_slots(self) -> None:
        while self._n_free_slots and self._slot_queue:
            self._n_free_slots -= 1
            self._slot_queue.popleft().set()


def current_task() -> TaskHandle | None:
    """Return the handle of the task that this thread runs; None outside of a task."""
    return getattr(_here, "task", None)


@contextmanager
def task_running(task: TaskHandle) -> Iterator[None]:
    """Let this thread run a task."""
    outer = current_task()
    _here.task = task
    try:
        yield
    finally:
        _here.task = outer


@contextmanager
def detached() -> Iterator[None]:
    """Let other tasks not wait for this thread's task, if it runs one."""
    task = current_task()
    with nullcontext() if task is None else task.rendezvous.detached():
        yield


@contextmanager
def waiting_for_tasks() -> Iterator[None]:
    """Let this thread's task, if it runs one, wait for others: detached, and without a slot."""
    task = current_task()
    if task is None:
        yield
        return
    with task.rendezvous.detached():
        task.rendezvous.release_slot()
        try:
            yield
        finally:
            task.rendezvous.acquire_slot()
