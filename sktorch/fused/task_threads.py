"""Run the tasks of a call in threads, as many side by side as are allowed and have room."""

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from itertools import count
from typing import Any

import torch

from sktorch.fused.rendezvous import (
    Cancelled,
    TaskHandle,
    current_task,
    task_running,
    waiting_for_tasks,
)
from sktorch.training.cpu import set_number_for_new_threads

# Whether a task succeeded, and its value or its error.
Outcome = tuple[bool, Any]


class TaskThreads:
    """Threads of a call, each of which runs one queued task after another.

    At most ``max_threads`` run at a time. A task begins if ``has_room(n_running)``; a thread that
    has run a task looks for the next one afterwards, so that no task is forgotten.
    """

    def __init__(self, call: TaskHandle, max_threads: int, has_room: Callable[[int], bool]) -> None:
        self._call, self._max_threads, self._has_room = call, max_threads, has_room
        self._context = copy_context()  # A task sees the variables of who makes the call.
        self._lock = threading.Lock()
        self._queue: deque[tuple[int, Callable[[], Any], Callable[[Outcome], Any]]] = deque()
        self._numbers = count()
        self._threads: set[threading.Thread] = set()  # those that take further tasks
        self._to_join: list[threading.Thread] = []
        self._n_running, self._has_run = 0, False
        # Tasks wait until all are submitted. A task that submits others takes part already.
        self._submitter = ["takes part"] if current_task() is None else []
        if self._submitter:
            call.rendezvous.arrive()

    def submit(self, function: Callable[[], Any], callback: Callable[[Outcome], Any]) -> int:
        """Queue a task, whose outcome a callback is given; return its number."""
        number = next(self._numbers)
        self._queue.append((number, function, callback))
        self._add_thread()
        return number

    def all_submitted(self) -> None:
        """Let the tasks no longer wait for the thread that submits them."""
        if self._submitter:
            _uninterrupted(self._submitter_leaves)

    def _submitter_leaves(self) -> None:
        with suppress(IndexError):  # It has left.
            self._submitter.pop()
            self._call.rendezvous.leave()

    def cancel(self) -> None:
        """Forget queued tasks, end those that wait, and let the others come to their end."""
        try:
            _uninterrupted(self._cancel_tasks)
        except BaseException:  # perhaps an interrupt before that began
            _uninterrupted(self._cancel_tasks)
            raise
        self.join()

    def _cancel_tasks(self) -> None:
        with self._lock:
            self._queue.clear()
        self._submitter_leaves()
        self._call.cancel()

    def join(self) -> None:
        """Wait until all threads have ended, so that none goes on when the call is over."""
        self.all_submitted()
        try:
            with waiting_for_tasks():  # They need a slot to end in.
                while others := [t for t in self._to_join if t is not threading.current_thread()]:
                    others[0].join()
                    self._to_join.remove(others[0])
        finally:
            if self._has_run:  # Each thread has set its own number, which new threads would get.
                set_number_for_new_threads(torch.get_num_threads())

    def _add_thread(self) -> None:
        """Start a thread if a queued task needs one and another thread is allowed."""
        if not self._lacks_thread():
            return
        is_known = threading.Event()
        # No daemon: if a second Ctrl-C ends `join`, Python waits for the thread at its end.
        thread = threading.Thread(
            target=self._run, args=(is_known,), name="sktorch task", daemon=False
        )
        try:
            thread.start()
        except RuntimeError:  # The system has no more threads: those that there are do the work.
            if not self._threads:
                raise
        else:
            is_known.wait()

    def _lacks_thread(self) -> bool:
        n_idle = len(self._threads) - self._n_running  # They are about to take a task.
        return len(self._queue) > n_idle and len(self._threads) < self._max_threads

    def _takes_part(self) -> bool:
        """Note the calling thread, if it is needed still.

        The thread does so itself: an interrupt may end `start` before or after there is a thread.
        """
        with self._lock:
            if not self._lacks_thread():
                return False
            self._has_run = True
            self._threads.add(threading.current_thread())
            self._to_join.append(threading.current_thread())
            self._call.rendezvous.arrive()
            return True

    def _run(self, is_known: threading.Event) -> None:
        """Run queued tasks for as long as there are any that may begin."""
        takes_part = self._takes_part()
        is_known.set()
        if takes_part:
            self._run_tasks()

    def _run_tasks(self) -> None:
        n_threads = torch.get_num_threads()
        if n_threads > 1:  # One is enough for small steps, and `fit` sets more for large ones.
            torch.set_num_threads(1)
            set_number_for_new_threads(n_threads)
        self._call.rendezvous.acquire_slot()
        while self._run_next():
            pass
        self._call.rendezvous.release_slot()
        self._call.rendezvous.leave()

    def _run_next(self) -> bool:
        """Run the first task of the queue; return False if there is none that may begin."""
        with self._lock:
            if not self._queue or not self._has_room(self._n_running):
                self._threads.discard(threading.current_thread())
                return False
            self._n_running += 1
            number, function, callback = self._queue.popleft()
        self._add_thread()  # Another task may have been held back, and there is room for it now.
        with task_running(self._call.task(number)):
            # The callback may queue the next task, so it is called before this thread leaves.
            callback(self._context.copy().run(self._outcome, function))
        with self._lock:
            self._n_running -= 1
        return True

    def _outcome(self, function: Callable[[], Any]) -> Outcome:
        try:
            if self._call.is_cancelled():
                raise Cancelled
            return True, function()
        except BaseException as error:
            return False, error


def _uninterrupted(function: Callable[[], object]) -> None:
    """Call a function to its end, in another thread if Ctrl-C reaches this one."""
    if threading.current_thread() is not threading.main_thread():
        function()
        return
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()
