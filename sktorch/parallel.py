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
from joblib.parallel import FallbackToBackend, ParallelBackendBase, SequentialBackend

from sktorch._progress import Progress
from sktorch.training.fused import Fuser
from sktorch.training.meeting import (
    MeetingPoint,
    Ticket,
    current_order,
    current_ticket,
    with_ticket,
)
from sktorch.training.randomness import depth

# How many tasks run at once where nobody says how many. Each holds a model and, in a pipeline,
# data of its own; each has a thread.
MOST = 256


class FusedBackend(ParallelBackendBase):
    """Runs each task in a thread; fits of sktorch's estimators train together.

    ``n_jobs`` is how many tasks run side by side, 256 by default. Of these, fits whose modules,
    losses and optimizers are of the same structure train as one program.

    Parameters
    ----------
    nesting_level : int, default=None
        joblib's; 0 is the outermost call.
    inner_max_num_threads : int, default=None
        joblib's; not used.
    """

    supports_retrieve_callback = True
    supports_sharedmem = True
    uses_threads = True
    default_n_jobs = -1

    def __init__(self, nesting_level=None, inner_max_num_threads=None, **backend_kwargs):
        super().__init__(nesting_level or 0, inner_max_num_threads, **backend_kwargs)
        self._lock = threading.Lock()
        self._threads, self._started, self._queue = set(), [], deque()
        self._ticket, self._dispatches, self._numbers = None, False, count()
        self._n_jobs, self._progress = MOST, None

    def effective_n_jobs(self, n_jobs):
        """How many tasks run at once."""
        if n_jobs == 0:
            raise ValueError("n_jobs=0 has no meaning. Set n_jobs=-1 for as many as fit.")
        if n_jobs is None:
            return MOST
        return n_jobs if n_jobs > 0 else max(MOST + 1 + n_jobs, 1)

    def configure(self, n_jobs=1, parallel=None, **backend_kwargs):
        """Take joblib's settings; return how many tasks run at once."""
        if depth():  # A callback calls, and its fit keeps others from drawing random numbers.
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        self.parallel = parallel
        self._n_jobs = self.effective_n_jobs(n_jobs)
        return self._n_jobs

    def get_nested_backend(self):
        """Calls inside a task meet where the task does."""
        return FusedBackend(nesting_level=self.nesting_level + 1), None

    def start_call(self):
        """Take part while tasks are handed out: they wait until all are there."""
        outer = current_ticket()
        if outer is None:
            verbose = self.parallel is not None and self.parallel.verbose
            self._progress = Progress(_report) if verbose else None
            fuser = _NotedFuser(self._progress) if verbose else Fuser()
            self._ticket = Ticket(MeetingPoint(fuser.run, n_places=fuser.n_workers))
            self._ticket.meeting.arrive()
            self._dispatches = True
        else:  # The task that calls takes part already.
            self._ticket = Ticket(outer.meeting, outer, current_order())

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
        if self._progress is not None:
            self._progress.say()

    def _end_of_dispatch(self):
        dispatched, self._dispatches = self._dispatches, False
        if dispatched:
            self._ticket.meeting.leave()

    def submit(self, func, callback=None):
        """Run a function in a thread of its own, or after another where n_jobs are running."""
        with self._lock:
            task = next(self._numbers), func, callback
            if len(self._threads) >= self._n_jobs:
                self._queue.append(task)
                return task
            thread = threading.Thread(target=self._run, args=task, daemon=True)
            self._threads.add(thread)
            self._started.append(thread)
            self._ticket.meeting.arrive()
        try:
            thread.start()
        except RuntimeError:  # There can't be more threads.
            self._threads.discard(thread)
            self._started.remove(thread)
            self._ticket.meeting.leave()
            raise
        return task

    def _run(self, *task):
        """Run a task and those that are queued, one after the other."""
        ticket = self._ticket
        ticket.meeting.take_place()
        while task is not None:
            number, func, callback = task
            with with_ticket(ticket, number):
                try:
                    outcome = True, func()
                except BaseException as error:
                    outcome = False, error
                if self._progress is not None and outcome[0]:
                    self._progress.ended(outcome[1])
                # It may hand out the next task, so it comes before this thread leaves.
                callback(outcome)
            task = self._next()
        ticket.meeting.give_place()
        ticket.meeting.leave()

    def _next(self):
        with self._lock:
            if self._queue:
                return self._queue.popleft()
            self._threads.discard(threading.current_thread())
            return None

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
        """Wait until all threads have ended: one that Python's end breaks off may crash it."""
        with self._lock:
            threads, self._started = self._started, []
        with _aside():  # They need a place to run in until they end.
            for thread in threads:
                if thread is not threading.current_thread():
                    thread.join()


@contextmanager
def _aside():
    """Inside, a task neither takes part nor takes a place: it waits for tasks of its own."""
    ticket = current_ticket()
    if ticket is None:
        yield
        return
    with ticket.meeting.apart():
        ticket.meeting.give_place()
        try:
            yield
        finally:
            ticket.meeting.take_place()


class _NotedFuser(Fuser):
    """Tells the progress of what it takes through an epoch."""

    def __init__(self, progress):
        super().__init__(report=_report)
        self._progress = progress

    def run(self, passes):
        super().run(passes)
        self._progress.met(passes)


def _report(line):
    print(f"sktorch: {line}", flush=True)


def register():
    """Make the backend known to joblib under the name "sktorch"."""
    joblib.register_parallel_backend("sktorch", FusedBackend)
