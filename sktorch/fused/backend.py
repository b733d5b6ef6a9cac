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

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import joblib
import torch
from joblib.parallel import (
    FallbackToBackend,
    ParallelBackendBase,
    SequentialBackend,
    get_active_backend,
)

from sktorch._device import add_default
from sktorch._private.search_tasks import SearchTask, search_task
from sktorch._warnings import warn_caller
from sktorch.fused.devices import all_devices, check_devices, placed
from sktorch.fused.displays import choose_display, print_line
from sktorch.fused.fuser import Fuser
from sktorch.fused.host_memory import MemoryLimit, free_memory
from sktorch.fused.progress import Progress
from sktorch.fused.pruner import Pruner, Report, Tally, contesting, judge
from sktorch.fused.pruning_rules import rule_of
from sktorch.fused.rendezvous import Rendezvous, TaskHandle, current_task, waiting_for_tasks
from sktorch.fused.task_threads import Outcome, TaskThreads
from sktorch.training.randomness import draws_by_stream

# How many tasks run at once if no number is given and memory is no limit; each has a thread.
MAX_TASKS = 256


class ProgramBackend(ParallelBackendBase):
    """What joblib backends have in common whose tasks train as one program, here or on workers."""

    supports_retrieve_callback = True
    supports_inner_max_num_threads = True
    default_n_jobs = -1

    def __init__(self, nesting_level: int | None, inner_max_num_threads: int | None) -> None:
        super().__init__(nesting_level or 0, inner_max_num_threads)
        self._verbose = 0  # joblib's setting, while the backend prints instead
        self._progress: Progress | None = None  # of the call that is under way

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return how many tasks run at once."""
        if n_jobs == 0:
            raise ValueError("n_jobs=0 has no meaning. Set n_jobs=-1 for as many as fit.")
        if n_jobs is None:
            return MAX_TASKS
        return n_jobs if n_jobs > 0 else max(MAX_TASKS + 1 + n_jobs, 1)

    def configure(self, n_jobs: int = 1, parallel: Any = None, **settings: Any) -> int:
        """Take joblib's settings; return how many tasks run at once."""
        if draws_by_stream():  # In a callback, whose fit keeps others from drawing numbers.
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        self.parallel = parallel
        # joblib would count threads or tasks as workers, and tasks once more.
        if getattr(parallel, "verbose", 0):
            self._verbose, parallel.verbose = parallel.verbose, 0
        return self.effective_n_jobs(n_jobs)

    def retrieve_result_callback(self, out: Outcome) -> Any:
        """Return a task's value, or raise its error."""
        succeeded, value = out
        if not succeeded:
            raise value
        return value

    def terminate(self) -> None:
        """Give joblib its setting back, at the end of the last call."""
        if self._verbose:
            self.parallel.verbose, self._verbose = self._verbose, 0

    def _begin_progress(self) -> None:
        self._progress = Progress(choose_display()) if self._verbose else None

    def _end_progress(self) -> None:
        """Give the terminal back."""
        progress, self._progress = self._progress, None
        if progress is not None:
            progress.end()


class FusedBackend(ProgramBackend):
    """A joblib backend of threads, in which fits of sktorch's estimators train together.

    ``n_jobs`` is how many tasks run side by side. Of these, fits whose modules, losses and
    optimizers are of the same structure train as one program. A positive ``n_jobs`` is obeyed
    whatever memory there is.

    By default, and where ``n_jobs`` is negative, as many tasks run as fit in memory, up to 256. The
    next one begins if half of the memory that was free before the first would still be left, were
    it to take as much as the others did on average: on the host, and on each CUDA device in use.
    One always runs, and as many as there are cores may begin before it is measured what they take.

    Parameters
    ----------
    nesting_level : int, default=None
        joblib's; 0 is the outermost call.
    inner_max_num_threads : int, default: joblib.cpu_count()
        Number of threads that compute, for all tasks together. The default does not depend on the
        environment variable OMP_NUM_THREADS.
    free_memory : callable, default: sktorch.fused.host_memory.free_memory
        Returns how many bytes are free in which places. Takes the argument `with_unused`.
    prune : {"median", "halving"} or rule, default=None
        Stop candidates of a search that can't win, by their scores on the rows that their fits hold
        out; None stops none. "median" is ``sktorch.model_selection.MedianRule()``, "halving" is
        ``HalvingRule()`` beside it. A rule of one's own has their two methods. With ``n_jobs=1``
        joblib does without the backend, and nothing is pruned.
    devices : list of str or torch.device, default: all CUDA devices
        Fits with ``device="auto"`` or "cuda" are spread over these: a search's candidates take
        turns, as other tasks do. A fit that names another device keeps it.

    Raises
    ------
    TypeError
        If another option is given, `prune` is no rule, or `devices` no list.
    ValueError
        If `prune` is the name of no rule, or `devices` are none, or some that the machine lacks.

    Warns
    -----
    UserWarning
        How many fits of a search were pruned, or hold no rows out to be judged by.

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

    supports_sharedmem = True
    uses_threads = True

    def __init__(
        self,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        free_memory: Callable[..., dict[str, int]] = free_memory,
        prune: Any = None,
        devices: Any = None,
        **unknown: Any,
    ) -> None:
        if unknown:
            raise TypeError(
                f"The joblib backend 'sktorch' has no option {', '.join(unknown)}. Its options are "
                "over, n_workers, inner_max_num_threads, free_memory, prune and devices."
            )
        super().__init__(nesting_level, inner_max_num_threads)
        self._free_memory, self._is_limited_by_memory = free_memory, True
        self._n_jobs = MAX_TASKS
        self._rule, self._tally = rule_of(prune), Tally()
        self.devices = check_devices(devices)  # None: all CUDA devices
        self._spread_over: tuple[torch.device, ...] = ()  # by the call that is under way
        self._n_submitted = 0
        self._pruner: Pruner | None = None
        self._call: TaskHandle | None = None  # outside of any task; of all calls of one `Parallel`
        self._threads: TaskThreads | None = None  # of the call that is under way

    def configure(self, n_jobs: int = 1, parallel: Any = None, **settings: Any) -> int:
        """Take joblib's settings; return how many tasks run at once."""
        if self.inner_max_num_threads is not None and self.inner_max_num_threads < 1:
            raise ValueError(
                f"inner_max_num_threads={self.inner_max_num_threads}: set at least 1, or leave it "
                "out for as many as there are cores."
            )
        self._n_jobs = super().configure(n_jobs, parallel)
        self._is_limited_by_memory = n_jobs < 0
        if str(getattr(parallel, "pre_dispatch", "")).replace(" ", "") == "2*n_jobs":
            # joblib would parse the text in the threads of tasks, several at once, and there
            # Python 3.11 fails now and then (its issue 106905).
            parallel.pre_dispatch = 2 * self._n_jobs
        return self._n_jobs

    def get_nested_backend(self) -> tuple["FusedBackend", None]:
        """Return a backend for calls inside a task, whose tasks join those of this one."""
        level = self.nesting_level + 1
        n_threads = self.inner_max_num_threads
        backend = FusedBackend(level, n_threads, self._free_memory, self._rule, self.devices)
        backend._tally = self._tally
        return backend, None

    def start_call(self) -> None:
        """Prepare for tasks."""
        limited = self._is_limited_by_memory
        has_room = MemoryLimit(self._free_memory).has_room if limited else _always
        outer = current_task()
        if outer is None:
            self._tally = Tally()
            self._begin_progress()
            self._call = self._call or self._outermost_call()
        call = self._call if outer is None else outer.call()
        assert call is not None
        self._threads = TaskThreads(call, self._n_jobs, has_room)
        self._pruner = None if self._rule is None else Pruner(self._rule, self._tally)
        self._spread_over = all_devices() if self.devices is None else self.devices
        self._n_submitted = 0

    def _outermost_call(self) -> TaskHandle:
        """Return the handle of a call outside of any task, with a rendezvous and a fuser."""
        n_workers = self.inner_max_num_threads or joblib.cpu_count()
        fuser = Fuser(n_workers, report=print_line if self._verbose else None)

        def run_together(handed_in: list[Any]) -> None:
            reports = [x for x in handed_in if isinstance(x, Report)]
            epochs = [x for x in handed_in if not isinstance(x, Report)]
            judge(reports)
            fuser.run(epochs)
            if self._progress is not None:
                self._progress.epochs_ended(epochs)

        return TaskHandle(Rendezvous(run_together, n_slots=fuser.n_workers))

    def submit(self, func: Callable[[], Any], callback: Callable[[Outcome], Any]) -> int:
        """Queue a task; return its number, which joblib keeps, rather than the task's model."""
        search, progress = search_task(func), self._progress
        n_tasks = None if search is None else search.n_candidates * search.n_folds
        number = 0 if progress is None else progress.task_submitted(n_tasks)

        def ended(outcome: Outcome) -> None:
            if progress is not None and outcome[0]:
                progress.task_ended(number, outcome[1])
            callback(outcome)

        assert self._threads is not None  # joblib has started the call.
        if self._pruner is not None and search is not None and search.n_candidates > 1:
            func = partial(_contest, self._pruner, search, func)
        func = placed(func, self._n_submitted, search, self._spread_over)
        self._n_submitted += 1
        return self._threads.submit(func, ended)

    @contextmanager
    def retrieval_context(self) -> Iterator[None]:
        """Let no task wait for the thread that waits for results."""
        if self._threads is not None:
            self._threads.all_submitted()
        with waiting_for_tasks():
            yield

    def stop_call(self) -> None:
        """Clean up after the last result."""
        try:
            if self._threads is not None:
                self._threads.join()
                self._threads = None  # They hold the stacks.
        finally:
            self._end_progress()
        if current_task() is None:
            for line in self._tally.lines():
                warn_caller(line)

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Forget queued tasks, end those that wait, and let the others come to their end."""
        self._call = None  # It is cancelled.
        self._tally = Tally()  # Nobody asks how many were pruned in a call that failed.
        try:
            if self._threads is not None:
                self._threads.cancel()
        finally:
            self._end_progress()

    def terminate(self) -> None:
        """Forget what was recorded, at the end of the last call."""
        self._call = None
        super().terminate()


def as_one_program(verbose: int = 0, *, here: bool = False) -> AbstractContextManager:
    """Return a context in which the tasks of joblib train as one program, as they may already.

    They do so in this process if that is asked for, else also on workers that the caller has named.
    The number of jobs of another backend, such as one of processes, is not meant for this one.
    """
    backend, _ = get_active_backend()
    if isinstance(backend, FusedBackend if here else ProgramBackend):
        return nullcontext()
    return joblib.parallel_config("sktorch", n_jobs=None, verbose=verbose)


def two_at_least(n_jobs: int | None) -> int | None:
    """Return n_jobs, or 2 where joblib would run one task after the other, without the backend."""
    return 2 if joblib.effective_n_jobs(n_jobs) == 1 else n_jobs


def _always(n_running: int) -> bool:
    return True


def _contest(pruner: Pruner, search: SearchTask, task: Callable[[], Any]) -> Any:
    """Run a task of a search, whose fit is compared with those of the others."""
    with contesting(pruner, search):
        return task()


def place_fits_outside_of_tasks() -> None:
    """Let fits that no task makes, as a search's refit, train where the backend is told to."""
    add_default(_first_device)


def _first_device() -> torch.device | None:
    """Return the first device that is named for the backend: there a search refits."""
    backend, _ = get_active_backend()
    return backend.devices[0] if isinstance(backend, FusedBackend) and backend.devices else None
