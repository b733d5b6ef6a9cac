"""A joblib backend whose tasks run on several workers, in chunks that each train as one program."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from numbers import Integral
from typing import Any

import joblib
from joblib.parallel import ParallelBackendBase

from sktorch._private.search_tasks import search_task
from sktorch.fused.backend import FusedBackend, ProgramBackend, place_fits_outside_of_tasks
from sktorch.fused.belongings import Package, belongings
from sktorch.workers.chunk import Outcome, run_chunk
from sktorch.workers.chunks import Task, cut
from sktorch.workers.engines import ENGINES, Engine
from sktorch.workers.shared import SharedArguments


class WorkersBackend(ProgramBackend):
    """A joblib backend of processes or machines, each of which trains fits as one program.

    The tasks of a call are cut in chunks, by what can be stacked, and handed out as workers become
    free. Data that tasks share is sent to a worker once. A worker runs its chunk under the backend
    of one process, `sktorch.fused.backend.FusedBackend`.

    Parameters
    ----------
    nesting_level : int, default=None
        joblib's; 0 is the outermost call.
    over : {"loky", "dask", "ray"}
        What runs the workers: processes that joblib starts, the Dask client that is there, or the
        Ray cluster that is there or that Ray starts on this machine.
    n_workers : int, default=None
        Number of workers to cut chunks for. None is as many as there are: for "loky" one for each
        core, else one for each thread of Dask's workers or core of Ray's cluster. A positive
        ``n_jobs`` is how many tasks run side by side on each of them, two at least.
    inner_max_num_threads : int, default=None
        Number of threads that compute in each worker. None is a worker's share of the cores with
        "loky", else 1.

    Raises
    ------
    ValueError
        If `over` or `n_workers` is none of these, or there is no Dask client.
    ImportError
        If Dask or Ray is not installed.

    Examples
    --------
    >>> import joblib
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import cross_validate
    >>> from sktorch import TorchClassifier
    >>> model = TorchClassifier(max_epochs=2, random_state=0)
    >>> with joblib.parallel_config("sktorch", over="loky", n_workers=2):
    ...     len(cross_validate(model, *load_iris(return_X_y=True), cv=16)["test_score"])
    16
    """

    def __init__(
        self,
        nesting_level: int | None = None,
        over: str = "loky",
        n_workers: int | None = None,
        inner_max_num_threads: int | None = None,
        **unknown: Any,
    ) -> None:
        if unknown:
            raise TypeError(
                f"The joblib backend 'sktorch' has no option {', '.join(unknown)} where {over=}. "
                "Its options are n_workers and inner_max_num_threads."
            )
        if over not in ENGINES:
            raise ValueError(f"over={over!r}: expected {', '.join(map(repr, ENGINES))}.")
        if n_workers is not None and not (isinstance(n_workers, Integral) and n_workers >= 1):
            raise ValueError(f"n_workers={n_workers!r}: set at least 1, or None for all there are.")
        super().__init__(nesting_level, inner_max_num_threads)
        self._engine: Engine = ENGINES[over](n_workers)
        self._n_jobs: int | None = None  # tasks side by side on a worker
        self._tasks: list[Task] = []  # submitted, and not yet handed out
        self._lock = threading.Lock()
        self._shared: SharedArguments | None = None

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return how many tasks run at once, on all workers together."""
        return self._engine.n_workers * super().effective_n_jobs(n_jobs)

    def configure(self, n_jobs: int = 1, parallel: Any = None, **settings: Any) -> int:
        """Take joblib's settings; return by which number joblib is to submit tasks."""
        super().configure(n_jobs, parallel)
        self._n_jobs = n_jobs
        # Chunks are cut of all tasks that are submitted, of which each worker gets its share.
        return self.effective_n_jobs(None)

    def start_call(self) -> None:
        """Prepare for tasks."""
        self._tasks, self._shared, self._belongings = [], None, belongings.get()
        self._numbers = count()
        # Each worker has a chunk that it is at, and one that is next.
        self._threads = ThreadPoolExecutor(2 * self._engine.n_workers, "sktorch worker")
        self._begin_progress()

    def submit(self, func: Any, callback: Callable[[Outcome], object]) -> Task:
        """Queue a task until all that joblib has are queued."""
        search = search_task(func)
        if self._progress is not None:
            n_tasks = None if search is None else search.n_candidates * search.n_folds
            self._progress.task_submitted(n_tasks)
        task = Task(next(self._numbers), func.items, search, callback)
        with self._lock:
            self._tasks.append(task)
        return task

    @contextmanager
    def retrieval_context(self) -> Iterator[None]:
        """Hand out tasks, as joblib has submitted all that it does before the first result."""
        self._hand_out()
        yield

    def _hand_out(self) -> None:
        with self._lock:  # Other threads submit tasks and hand them out, too.
            tasks, self._tasks = self._tasks, []
        if self._shared is None:
            self._shared = SharedArguments(call for task in tasks for call in task.calls)
            self._engine.share(self._shared.values)
        for chunk in cut(tasks, self._engine.n_workers):
            self._threads.submit(self._run, chunk, self._shared)

    def _run(self, chunk: list[Task], shared: SharedArguments) -> None:
        """Let a worker run a chunk; tell joblib the outcomes, upon which it may submit others."""
        n_threads = self.inner_max_num_threads or self._engine.n_threads
        try:
            sent = [([*map(shared.leave_out, task.calls)], self._packed(task)) for task in chunk]
            returned = self._engine.call(run_chunk, sent, self._n_jobs, n_threads)
        except BaseException as error:  # A task may end a program, as pytest.fail() does.
            returned = [((False, error), None)] * len(chunk)
        for task, (outcome, package) in zip(chunk, returned, strict=True):
            if self._belongings is not None and package is not None:
                self._belongings.unpack(task.number, package)
            if self._progress is not None and outcome[0]:
                self._progress.task_ended(-1, outcome[1])
            task.callback(outcome)
        if self._tasks:
            self._hand_out()

    def _packed(self, task: Task) -> Package | None:
        return None if self._belongings is None else self._belongings.pack(task.number)

    def stop_call(self) -> None:
        """Clean up after the last result."""
        self._threads.shutdown(cancel_futures=True)
        self._engine.forget()
        self._shared = None
        self._end_progress()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """End what is under way."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._engine.stop()
        self.stop_call()


def backend(
    nesting_level: int | None = None, over: str | None = None, **options: Any
) -> ParallelBackendBase:
    """Return the backend of one process, or that of several if it is said what runs them."""
    if over is None and options.get("n_workers") is not None:
        raise TypeError(
            f"n_workers={options['n_workers']!r} is for workers that something runs: set over to "
            f"{', '.join(map(repr, ENGINES))} beside it."
        )
    if over is None:
        return FusedBackend(nesting_level, **options)
    return WorkersBackend(nesting_level, over, **options)


def register() -> None:
    """Make the backend known to joblib under the name "sktorch"."""
    place_fits_outside_of_tasks()
    joblib.register_parallel_backend("sktorch", backend)
