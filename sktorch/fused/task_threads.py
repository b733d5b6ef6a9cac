"""Run the tasks of a call in threads, as many side by side as are allowed and have room."""

import threading
from collections import deque
from collections.abc import Callable
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
        self._lock = threading.Lock()
        self._queue: deque[tuple[int, Callable[[], Any], Callable[[Outcome], Any]]] = deque()
        self._numbers = count()
        self._threads: set[threading.Thread] = set()  # those that take further tasks
        self._to_join: list[threading.Thread] = []
        self._n_running = 0
        # Tasks wait until all are submitted. A task that submits others takes part already.
        self._submitter_takes_part = current_task() is None
        if self._submitter_takes_part:
            call.rendezvous.arrive()

    def submit(self, function: Callable[[], Any], callback: Callable[[Outcome], Any]) -> int:
        """Queue a task, whose outcome a callback is given; return its number."""
        number = next(self._numbers)
        self._queue.append((number, function, callback))
        self._add_thread()
        return number

    def all_submitted(self) -> None:
        """Let the tasks no longer wait for the thread that submits them."""
        takes_part, self._submitter_takes_part = self._submitter_takes_part, False
        if takes_part:
            self._call.rendezvous.leave()

    def cancel(self) -> None:
        """Forget queued tasks, end those that wait, and let the others come to their end."""
        with self._lock:
            self._queue.clear()
        self.all_submitted()
        self._call.cancel()
        self.join()

    def join(self) -> None:
        """Wait until all threads have ended, so that none goes on when the call is over."""
        self.all_submitted()
        with self._lock:
            threads, self._to_join = self._to_join, []
        with waiting_for_tasks():  # They need a slot to end in.
            for thread in threads:
                if thread is not threading.current_thread():
                    thread.join()
        if threads:  # Each has set its own number, which new threads would get.
            set_number_for_new_threads(torch.get_num_threads())

    def _add_thread(self) -> None:
        """Start a thread if a queued task needs one and another thread is allowed."""
        with self._lock:
            n_idle = len(self._threads) - self._n_running  # They are about to take a task.
            if len(self._queue) <= n_idle or len(self._threads) >= self._max_threads:
                return
            # No daemon: if a second Ctrl-C ends `join`, Python waits for the thread at its end.
            thread = threading.Thread(target=self._run, name="sktorch task", daemon=False)
            self._threads.add(thread)
            self._to_join.append(thread)
            self._call.rendezvous.arrive()
        try:
            thread.start()
        except RuntimeError:  # The system has no more threads: those that there are do the work.
            with self._lock:
                self._threads.discard(thread)
                self._to_join.remove(thread)
                is_last = not self._threads
            self._call.rendezvous.leave()
            if is_last:
                raise

    def _run(self) -> None:
        """Run queued tasks for as long as there are any that may begin."""
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
            callback(self._outcome(function))
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
