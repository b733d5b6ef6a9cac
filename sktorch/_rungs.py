"""Fits that pause at an epoch, and go on from there when the same fit is made again.

Successive halving calls `fit` at every rung, on new estimators with the same parameters and data.
A fit inside `PausedFits.training_until` ends at the rung's epoch and leaves its state behind; at
the next rung the fit at the same place takes it up, to the bit. So whatever is around a net is
fitted as in any search: a pipeline, a meta-estimator of several nets.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from numbers import Integral
from operator import itemgetter
from typing import Any

from sktorch._digest import digest
from sktorch._job_state import restore_job, state_of_job
from sktorch._object_state import copied
from sktorch.fused.belongings import belongings
from sktorch.fused.rendezvous import current_task

# Where a task of the search makes a fit: the path below it, empty unless tasks call others, and the
# number among the fits of the path, which the tasks of further calls share.
Place = tuple[tuple[int, ...], int]


@dataclass
class PausedFit:
    """A fit that has paused, or the place of one that has yet to begin."""

    until: int = 0  # the epoch to pause after
    goes_on: bool = True  # whether another rung may follow
    seed: int | None = None
    rows: list[dict[str, float]] = field(default_factory=list)  # of the history
    _digest: str = ""
    _state: dict[str, Any] | None = None
    _n_done: int = 0
    _is_over: bool = False

    def goes_on_with(self, origin: Callable[[], Any]) -> None:
        """Take what the fit follows from; forget the state if it was reached from something else.

        A transformer in front that draws random numbers makes other data of the same rows, and a
        search inside may refit other parameters than at the rung before.
        """
        if self._state is None and not self.goes_on:
            return  # There is nothing to compare, now or later.
        known, self._digest = self._digest, digest(origin())
        if known != self._digest:
            self._state = None

    def resume(self, job: Any) -> int:
        """Give a job the state that was left; return how many epochs are done: all, if it is over.

        A rung may have no epoch for it: a job that stays where it is pauses there again.
        """
        if self._state is None:
            return 0
        restore_job(job, self._state)
        self._state = None  # The job changes what it has been given.
        self.save(job, self._n_done, is_over=self._is_over)
        return job.n_epochs if self._is_over else self._n_done

    def save(self, job: Any, n_done: int, *, is_over: bool) -> None:
        """Keep the state of a job that pauses here."""
        is_over = is_over or n_done == job.n_epochs
        if self.goes_on and (n_done == self.until or is_over):
            self._state, self._n_done, self._is_over = copied(state_of_job(job)), n_done, is_over

    def record(self, history: Iterable[dict[str, Any]]) -> None:
        """Keep what the epochs so far recorded as numbers."""
        self.rows = [
            {name: float(value) for name, value in row.items() if isinstance(value, float)}
            for row in history
        ]

    def n_epochs_until(self, number: int) -> int:
        """Return how many epochs end with the pause, the first being that of a number."""
        return self.until - number + 1


@dataclass
class _Rung:
    """What a fit finds out about the rung that it is made at."""

    n_epochs: int
    is_last: bool
    depth: int  # of the call in the tree of tasks
    fits: dict[int, dict[Place, PausedFit]]  # by the numbers of the search's tasks
    left: dict[int, Any] = field(default_factory=dict)  # what tasks leave, by their numbers
    n_begun: Counter[tuple[int, ...]] = field(default_factory=Counter)  # fits by the path

    def pack(self, number: int) -> "RungOfTask":
        """Return what a task needs of the rung in another process."""
        return RungOfTask(self.n_epochs, self.is_last, self.fits.get(number, {}))

    def unpack(self, number: int, package: "RungOfTask") -> None:
        """Take the fits of a task back, and what it has left."""
        if package.fits:
            self.fits[number] = package.fits
        for value in package.left:
            self.left[number] = value


@dataclass
class RungOfTask:
    """A rung on its way to a task in another process, and back."""

    n_epochs: int
    is_last: bool
    fits: dict[Place, PausedFit]
    left: list[Any] = field(default_factory=list)  # at most one value

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Let the fits of this thread's task pause at the rung."""
        task = current_task()
        assert task is not None
        *outer, number = task.order
        rung = _Rung(self.n_epochs, self.is_last, len(outer), {number: self.fits})
        token = _rung.set(rung)
        try:
            yield
        finally:
            _rung.reset(token)
        self.left = [*rung.left.values()]


_rung: ContextVar[_Rung | None] = ContextVar("_rung", default=None)


class PausedFits:
    """The fits of a search that pause at each rung, by their places."""

    def __init__(self) -> None:
        self._fits: dict[int, dict[Place, PausedFit]] = {}  # by the numbers of tasks
        self.left: dict[int, Any] = {}  # what the tasks of the last rung left, by their numbers

    def __bool__(self) -> bool:
        return bool(self._fits)

    @contextmanager
    def training_until(self, n_epochs: int, *, is_last: bool) -> Iterator[None]:
        """Let the fits of the tasks that are called inside train until an epoch."""
        task = current_task()
        depth = 0 if task is None else len(task.order)
        rung = _Rung(n_epochs, is_last, depth, self._fits)
        self.left = rung.left
        token, other_token = _rung.set(rung), belongings.set(rung)
        try:
            yield
        finally:
            _rung.reset(token)
            belongings.reset(other_token)

    def keep(self, tasks: Sequence[int]) -> None:
        """Keep the fits of some tasks: the n-th of these goes on as task n of the next call."""
        self._fits = {new: self._fits[old] for new, old in enumerate(tasks) if old in self._fits}

    def histories(self) -> Iterator[tuple[int, list[list[dict[str, float]]]]]:
        """Yield the number of each task, and the histories of its fits."""
        for task, fits in sorted(self._fits.items(), key=itemgetter(0)):
            in_order = [fits[place] for place in sorted(fits)]
            yield task, [fit.rows for fit in in_order if fit.rows]


def paused_fit() -> PausedFit | None:
    """Return the paused fit that the fit which begins here goes on from; None outside of a rung."""
    rung = _rung.get()
    if rung is None:
        return None
    path = path_of_task()  # Only one thread at a time runs tasks of a path.
    number, *inner = path
    place = tuple(inner), rung.n_begun[path]
    rung.n_begun[path] += 1
    fit = rung.fits.setdefault(number, {}).setdefault(place, PausedFit())
    fit.until, fit.goes_on = rung.n_epochs, not rung.is_last
    return fit


def leave(value: Any) -> None:
    """Keep a value of this thread's task for the search that pauses its fits."""
    rung, (number, *_) = _rung.get(), path_of_task()
    assert rung is not None
    rung.left[number] = value


def pauses_here() -> bool:
    """Say whether fits in this task pause at a rung."""
    return _rung.get() is not None


def path_of_task() -> tuple[int, ...]:
    """Return the path of this thread's task below the call of the search."""
    rung, task = _rung.get(), current_task()
    path = () if rung is None or task is None else task.order[rung.depth :]
    if not path:
        raise RuntimeError(
            "A search whose fits pause was called where joblib runs one task after the other, as "
            "in a callback of a fit. Call it outside of the callback."
        )
    return path


def values_of_max_epochs(parameters: dict[str, Any]) -> Iterator[int]:
    """Yield every max_epochs among parameters, and among those of estimators that they hold."""
    for name, value in parameters.items():
        if name.rpartition("__")[2] == "max_epochs" and isinstance(value, Integral):
            yield int(value)
        elif hasattr(value, "get_params") and not isinstance(value, type):
            yield from values_of_max_epochs(value.get_params())
