"""Stop candidates of a search that can't win, by a rule, where all of them meet."""

import threading
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from sktorch._private.search_tasks import SearchTask
from sktorch.fused.pruning_rules import PruningRule
from sktorch.fused.rendezvous import TaskHandle, current_task

_contestant: ContextVar["Contestant | None"] = ContextVar("contestant", default=None)


@dataclass
class Tally:
    """How many fits of a call were compared, were pruned, or could not be judged."""

    n_fits: int = 0
    n_pruned: int = 0
    n_unjudged: int = 0

    def lines(self) -> Iterator[str]:
        """Yield what a user should know about the scores of a call."""
        if self.n_pruned:
            yield (
                f"{self.n_pruned} of {self.n_fits} fits were pruned: their candidates could not "
                "win, and have the scores of the epochs that they had."
            )
        if self.n_unjudged:
            yield (
                f"{self.n_unjudged} of {self.n_fits} fits could not be pruned: they hold no rows "
                "out to be judged by. Set early_stopping=True or validation of the estimator."
            )


@dataclass(eq=False)
class Report:
    """A fit's best validation score so far, handed in where fits meet; `stops` is the answer."""

    pruner: "Pruner"
    measure: Hashable
    epoch: int
    candidate: int
    fold: int
    score: float
    cancelled: Callable[[], bool] = bool
    error: BaseException | None = None
    stops: bool = False


@dataclass
class Curve:
    """The best scores of a fit so far, by epoch, and the last, if it has ended."""

    scores: dict[int, float] = field(default_factory=dict)
    end: tuple[int, float] | None = None

    def at(self, epoch: int) -> float | None:
        """Return the score at an epoch; after its end a fit keeps the last; None if not known."""
        if self.end is not None and self.end[0] < epoch:
            return self.end[1]
        return self.scores.get(epoch)


Folds = dict[int, float]  # a candidate's scores by the number of a fold


class Pruner:
    """Compares the candidates of one search, and stops some by a rule.

    A candidate's score is the mean over its folds. It is compared with those that have scores of
    the same measure on all folds that it has scores on. If it stops, it does so on all folds.
    """

    def __init__(self, rule: PruningRule, tally: Tally) -> None:
        self.rule, self.tally = rule, tally
        self._lock = threading.Lock()
        # By measure, candidate and fold.
        self._curves: defaultdict[Hashable, defaultdict[int, defaultdict[int, Curve]]] = (
            defaultdict(lambda: defaultdict(lambda: defaultdict(Curve)))
        )
        self._stopped: dict[int, int] = {}  # after which epoch, by candidate

    def note(self, report: Report) -> None:
        """Keep a report, to compare others with."""
        with self._lock:
            curve = self._curves[report.measure][report.candidate][report.fold]
            curve.scores[report.epoch] = report.score

    def note_end(
        self, measure: Hashable, epoch: int, task: SearchTask, score: float, *, pruned: bool
    ) -> None:
        """Keep the best score of a fit that has ended after an epoch."""
        with self._lock:
            self._curves[measure][task.candidate][task.fold].end = epoch, score
            self.tally.n_fits += 1
            self.tally.n_pruned += pruned

    def note_unjudged(self) -> None:
        """Count a fit that holds out no rows."""
        with self._lock:
            self.tally.n_fits += 1
            self.tally.n_unjudged += 1

    def stops(self, measure: Hashable, epoch: int, candidate: int) -> bool:
        """Decide whether a candidate stops after an epoch."""
        with self._lock:
            if candidate not in self._stopped and self._falls_behind(measure, epoch, candidate):
                self._stopped[candidate] = epoch
            return candidate in self._stopped

    def _falls_behind(self, measure: Hashable, epoch: int, candidate: int) -> bool:
        folds = self._folds_at(measure, epoch)
        own = folds[candidate].keys()
        scores: dict[bool, list[float]] = {False: [], True: []}
        for other, by_fold in folds.items():
            if by_fold.keys() >= own:
                was_stopped = self._stopped.get(other, epoch) < epoch
                scores[was_stopped].append(fmean(by_fold[fold] for fold in own))
        score = fmean(folds[candidate].values())
        return self.rule.stops(score, scores[False], scores[True])

    def _folds_at(self, measure: Hashable, epoch: int) -> dict[int, Folds]:
        """Return each candidate's scores at an epoch."""
        return {
            candidate: {
                fold: score
                for fold, curve in by_fold.items()
                if (score := curve.at(epoch)) is not None
            }
            for candidate, by_fold in self._curves[measure].items()
        }


def judge(reports: list[Report]) -> None:
    """Answer reports that were handed in together: each sees all of them, in whatever order."""
    for report in reports:
        report.pruner.note(report)
    answers: dict[Hashable, bool] = {}
    for report in reports:
        key = report.pruner, report.measure, report.epoch, report.candidate
        if key not in answers:
            answers[key] = report.pruner.stops(*key[1:])
        report.stops = answers[key]


class Contestant:
    """A fit among those that a search compares."""

    def __init__(self, pruner: Pruner, task: SearchTask, handle: TaskHandle) -> None:
        self._pruner, self._task, self._handle = pruner, task, handle

    def judged_at(self, epoch: int) -> bool:
        """Say whether the rule compares candidates after an epoch."""
        return self._pruner.rule.judges(epoch)

    def stops(self, measure: Hashable, epoch: int, score: float) -> bool:
        """Hand in the best score so far, and wait for the answer whether the fit stops."""
        candidate, fold = self._task.candidate, self._task.fold
        cancelled = self._handle.is_cancelled
        report = Report(self._pruner, measure, epoch, candidate, fold, score, cancelled)
        self._handle.rendezvous.run(report)
        return report.stops

    def end(self, measure: Hashable, epoch: int, score: float, *, pruned: bool) -> None:
        """Tell of the end of the fit and its best score."""
        self._pruner.note_end(measure, epoch, self._task, score, pruned=pruned)

    def end_unjudged(self) -> None:
        """Tell of a fit that holds out no rows to be judged by."""
        self._pruner.note_unjudged()

    def is_of(self, estimator: Any) -> bool:
        """Say whether an estimator is the candidate, or the last step of its pipeline.

        Fits inside of other meta-estimators are none of their own: what is compared of those?
        """
        candidate = self._task.estimator
        while hasattr(candidate, "steps"):
            candidate = candidate.steps[-1][1]
        return candidate is estimator


@contextmanager
def contesting(pruner: Pruner, task: SearchTask) -> Iterator[None]:
    """Let the candidate's fit in this thread's task be compared with others."""
    handle = current_task()
    assert handle is not None
    token = _contestant.set(Contestant(pruner, task, handle))
    try:
        yield
    finally:
        _contestant.reset(token)


def contestant_of(estimator: Any) -> Contestant | None:
    """Return what a fit of an estimator is in a search that prunes; None if it is not compared."""
    contestant = _contestant.get()
    return contestant if contestant is not None and contestant.is_of(estimator) else None


def is_contested() -> bool:
    """Say whether this thread's task is one of a search that prunes."""
    return _contestant.get() is not None
