"""Ask a search that prunes, after an epoch, whether a fit goes on."""

import math
from typing import Any

from sktorch._rungs import pauses_here
from sktorch.fused.pruner import contestant_of


class Pruning:
    """A training as a search with pruning sees it: its best score so far on the rows held out.

    The score is what `monitor` looks at; where that is of the training rows, it is the one that
    early stopping looks at by default. Outside of such a search every answer is to go on; so it is
    where fits pause at rungs, whose search decides itself.
    """

    def __init__(self, job: Any) -> None:
        self._job = job
        is_compared = not (job.partial or pauses_here())
        self._contestant = contestant_of(job.estimator) if is_compared else None
        self.has_stopped = False

    def stops(self, epoch: int) -> bool:
        """Say whether the search stops the fit after an epoch that is not its last."""
        contestant, job = self._contestant, self._job
        if contestant is None or job.valid is None or epoch == job.n_epochs:
            return False
        if contestant.judged_at(epoch):
            self.has_stopped = contestant.stops(self._measure(), epoch, self._best_score())
        return self.has_stopped

    def end(self) -> None:
        """Tell the search that the fit has ended."""
        job, contestant = self._job, self._contestant
        if contestant is None or not job.n_epochs:
            return
        if job.valid is None:
            contestant.end_unjudged()
            return
        n_epochs = len(job.net.history) - job.n_before
        contestant.end(self._measure(), n_epochs, self._best_score(), pruned=self.has_stopped)

    def _watched(self) -> tuple[str, int]:
        """Return the name of the score in the history, and 1 or -1 if more or less is better."""
        name, sign = self._job.monitor, self._job.plateau.sign
        if name.startswith("train_"):
            score = self._job.score_name
            name, sign = f"valid_{score or 'loss'}", 1 if score else -1
        return name, sign

    def _measure(self) -> tuple[str, type | None]:
        """Return what scores must have in common to be compared: losses differ by their class."""
        name, _ = self._watched()
        return name, type(self._job.net.criterion_) if name == "valid_loss" else None

    def _best_score(self) -> float:
        """Return the best score so far, higher is better; minus infinity if all are NaN."""
        name, sign = self._watched()
        rows = self._job.net.history.to_list()[self._job.n_before :]
        scores = [sign * row[name] for row in rows if name in row]
        return max((score for score in scores if not math.isnan(score)), default=-math.inf)
