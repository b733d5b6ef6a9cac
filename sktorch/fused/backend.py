"""A joblib backend under which many fits train as one program.

``import sktorch`` registers it. Nothing of scikit-learn changes: it holds for whatever runs its
tasks by joblib.

>>> import joblib
>>> from sklearn.datasets import load_iris
>>> from sklearn.model_selection import GridSearchCV
>>> from sktorch import TorchClassifier
>>> X, y = load_iris(return_X_y=True)
>>> search = GridSearchCV(
...     TorchClassifier(max_epochs=2, random_state=0), {"lr": [0.01, 0.001]}, cv=3
... )
>>> with joblib.parallel_config("sktorch"):
...     search = search.fit(X, y)
>>> len(search.cv_results_["params"])
2
"""

import threading
from collections import deque
from contextlib import contextmanager
from itertools import count

import joblib
import torch
from joblib.parallel import FallbackToBackend, ParallelBackendBase, SequentialBackend

from sktorch.fused.fuser import Fuser
from sktorch.fused.host_memory import enough_for_another, free_memory
from sktorch.fused.progress import Progress
from sktorch.fused.rendezvous import (
    Cancelled,
    Rendezvous,
    TaskHandle,
    current_order,
    current_task,
    task_running,
)
from sktorch.training.cpu import set_number_for_new_threads
from sktorch.training.randomness import n_streams_entered

# How many tasks run at once where nobody says how many and memory is no limit; each has a thread.
MAX_TASKS = 256


class FusedBackend(ParallelBackendBase):
    """Runs each task in a thread; fits of sktorch's estimators train together.

    ``n_jobs`` is how many tasks run side by side. Of these, fits whose modules, losses and
    optimizers are of the same structure train as one program. A positive number holds.

    By default, and where ``n_jobs`` is negative, as many run as fit in memory, up to 256. The next
    one begins if half of the memory that was free before the first would still be left, were it to
    take as much as the others did on average: on the host, and on each CUDA device in use. One
    always runs, and as many as there are cores may begin before it is measured what they take.

    Parameters
    ----------
    nesting_level : int, default=None
        joblib's; 0 is the outermost call.
    inner_max_num_threads : int, default: joblib.cpu_count()
        Number of threads that compute, for all tasks together. The default does not depend on the
        environment variable OMP_NUM_THREADS.
    free_memory : callable, default: sktorch.fused.host_memory.free_memory
        Tells how many bytes are free in which places. Takes the argument `with_unused`.

    Examples
    --------
    >>> import joblib
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import cross_validate
    >>> from sktorch import TorchClassifier
    >>> model = TorchClassifier(max_epochs=2, random_state=0)
    >>> with joblib.parallel_config("sktorch", n_jobs=4, inner_max_num_threads=2):
    ...     len(cross_validate(model, *load_iris(return_X_y=True), cv=8)["test_score"])
    8
    """

    supports_retrieve_callback = True
    supports_sharedmem = True
    supports_inner_max_num_threads = True
    uses_threads = True
    default_n_jobs = -1

    def __init__(
        self,
        nesting_level=None,
        inner_max_num_threads=None,
        free_memory=free_memory,
        **backend_kwargs,
    ):
        super().__init__(nesting_level or 0, inner_max_num_threads, **backend_kwargs)
        self._lock = threading.Lock()
        self._threads, self._started, self._queue = set(), [], deque()
        self._ticket, self._dispatches, self._numbers = None, False, count()
        self._n_jobs, self._progress = MAX_TASKS, None
        self._measure, self._before, self._limited = free_memory, {}, True
        self._n_running = 0

    def effective_n_jobs(self, n_jobs):
        """How many tasks run at once."""
        if n_jobs == 0:
            raise ValueError("n_jobs=0 has no meaning. Set n_jobs=-1 for as many as fit.")
        if n_jobs is None:
            return MAX_TASKS
        return n_jobs if n_jobs > 0 else max(MAX_TASKS + 1 + n_jobs, 1)

    def configure(self, n_jobs=1, parallel=None, **backend_kwargs):
        """Take joblib's settings; return how many tasks run at once."""
        if n_streams_entered():  # A callback calls; its fit keeps others from drawing numbers.
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        if self.inner_max_num_threads is not None and self.inner_max_num_threads < 1:
            raise ValueError(
                f"inner_max_num_threads={self.inner_max_num_threads}: set at least 1, or leave it "
                "out for as many as there are cores."
            )
        self.parallel = parallel
        self._n_jobs = self.effective_n_jobs(n_jobs)
        self._limited = n_jobs < 0  # else it is a number that holds
        return self._n_jobs

    def get_nested_backend(self):
        """Calls inside a task meet where the task does."""
        return FusedBackend(self.nesting_level + 1, self.inner_max_num_threads, self._measure), None

    def start_call(self):
        """Take part while tasks are handed out: they wait until all are there."""
        self._before = self._measure(with_unused=True) if self._limited else {}
        outer = current_task()
        if outer is None:
            verbose = self.parallel is not None and self.parallel.verbose
            n_workers = self.inner_max_num_threads or joblib.cpu_count()
            self._progress = Progress(_report) if verbose else None
            fuser = _NotedFuser(n_workers, self._progress) if verbose else Fuser(n_workers)
            self._ticket = TaskHandle(Rendezvous(fuser.run, n_slots=fuser.n_workers))
            self._ticket.meeting.arrive()
            self._dispatches = True
        else:  # The task that calls takes part already.
            self._ticket = TaskHandle(outer.meeting, outer, current_order())

    @contextmanager
    def retrieval_context(self):
        """Whoever waits for results does not take part meanwhile."""
        self._end_of_dispatch()
        with _aside():
            yield

    def stop_call(self):
        """After the last result."""
        self._end_of_dispatch()
        self._join_threads()
        self._ticket = None  # It holds the stacks.
        if self._progress is not None:
            self._progress.say()

    def _end_of_dispatch(self):
        dispatched, self._dispatches = self._dispatches, False
        if dispatched:
            self._ticket.meeting.leave()

    def submit(self, func, callback=None):
        """Queue a function for a thread of its own, or for the next one that has ended another."""
        number = next(self._numbers)
        self._queue.append((number, func, callback))
        self._add_thread()
        return number  # joblib keeps it, and no function with the model in it

    def _add_thread(self):
        """Start a thread, if no other is about to take what is queued, and n_jobs allows."""
        with self._lock:
            n_about_to_begin = len(self._threads) - self._n_running
            if len(self._queue) <= n_about_to_begin or len(self._threads) >= self._n_jobs:
                return
            # No daemon: where a second Ctrl-C ends `_join_threads`, Python's end waits for it.
            thread = threading.Thread(target=self._run, daemon=False)
            self._threads.add(thread)
            self._started.append(thread)
            self._ticket.meeting.arrive()
        try:
            thread.start()
        except RuntimeError:  # There can't be more threads: those that there are do the work.
            with self._lock:
                self._threads.discard(thread)
                self._started.remove(thread)
                nobody_left = not self._threads
            self._ticket.meeting.leave()
            if nobody_left:
                raise

    def _run(self):
        """Run queued tasks, one after the other, while there are any and memory allows."""
        meeting = self._ticket.meeting
        n_threads = torch.get_num_threads()
        if n_threads > 1:  # One is enough where the work is small, and `fit` says where it is not.
            torch.set_num_threads(1)
            set_number_for_new_threads(n_threads)
        meeting.acquire_slot()
        while self._run_next():
            pass
        meeting.release_slot()
        meeting.leave()

    def _run_next(self):
        """Run the first task of the queue; return whether there was one that may begin."""
        task = self._next()
        if task is None:
            return False
        self._add_thread()  # for one that was held back: there may be memory for it now
        number, func, callback = task
        with task_running(self._ticket, number):
            try:
                if self._ticket.is_cancelled():
                    raise Cancelled
                outcome = True, func()
            except BaseException as error:
                outcome = False, error
            if self._progress is not None and outcome[0]:
                self._progress.ended(outcome[1])
            # It may hand out the next task, so it comes before this thread leaves.
            callback(outcome)
        with self._lock:
            self._n_running -= 1
        return True

    def _next(self):
        """Take the first task of the queue, if it may begin; else this thread is to end.

        What can't begin stays in the queue, where it keeps nobody waiting. Whoever runs a task
        looks for the next one afterwards, so that none is forgotten.
        """
        with self._lock:
            if self._queue and self._may_begin():
                self._n_running += 1
                return self._queue.popleft()
            self._threads.discard(threading.current_thread())
            return None

    def _may_begin(self):
        if not self._limited or not self._n_running:
            return True
        try:
            return enough_for_another(self._before, self._n_running, self._measure)
        except RuntimeError:  # of a device that has failed; the task itself meets it and tells
            return True

    def retrieve_result_callback(self, out):
        """The task's value, or its error."""
        done, value = out
        if not done:
            raise value
        return value

    def abort_everything(self, ensure_ready=True):
        """Forget queued tasks, end those that wait, and let the others end."""
        with self._lock:
            self._queue.clear()
        if self._ticket is not None:
            self._end_of_dispatch()
            self._ticket.cancel()
        self._join_threads()

    def _join_threads(self):
        """Wait until all threads have ended: none goes on when a call is over."""
        with self._lock:
            threads, self._started = self._started, []
        with _aside():  # They need a place to run in until they end.
            for thread in threads:
                if thread is not threading.current_thread():
                    thread.join()
        if threads:
            set_number_for_new_threads(torch.get_num_threads())


@contextmanager
def _aside():
    """Inside, a task neither takes part nor takes a place: it waits for tasks of its own."""
    ticket = current_task()
    if ticket is None:
        yield
        return
    with ticket.meeting.apart():
        ticket.meeting.release_slot()
        try:
            yield
        finally:
            ticket.meeting.acquire_slot()


class _NotedFuser(Fuser):
    """Tells the progress of what it takes through an epoch."""

    def __init__(self, n_workers, progress):
        super().__init__(n_workers, report=_report)
        self._progress = progress

    def run(self, passes):
        super().run(passes)
        self._progress.met(passes)


def _report(line):
    print(f"sktorch: {line}", flush=True)


def register():
    """Make the backend known to joblib under the name "sktorch"."""
    joblib.register_parallel_backend("sktorch", FusedBackend)
