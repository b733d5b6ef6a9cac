"""Report how far a search is, in a line every few seconds."""

import math
import time
from collections.abc import Callable, Iterable
from typing import Any

INTERVAL = 5.0  # seconds between two lines


class Progress:
    """Counts of trained epochs and ended tasks, reported now and then as a line of text."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report, self._last_time = report, time.monotonic()
        self._n_tasks = self._n_models = self._n_epochs = 0
        self._loss, self._score = math.inf, -math.inf

    def epochs_ended(self, epochs: Iterable[Any]) -> None:
        """Count epochs that models went through together; report if it is time."""
        trained = [epoch for epoch in epochs if epoch.optimizer is not None and epoch.losses]
        self._n_models = len(trained) or self._n_models
        self._n_epochs += sum(epoch.n_epochs for epoch in trained)
        self._loss = min([self._loss, *map(_last_loss, trained)])
        if time.monotonic() - self._last_time >= INTERVAL:
            self.report()

    def task_ended(self, value: Any) -> None:
        """Count a task, and look for a score in the value that it returned."""
        self._n_tasks += 1
        for part in value if isinstance(value, list) else ():
            # A task of scikit-learn's cross-validation returns such a dict. No other value has a
            # score that is known here, so none is reported for it.
            score = part.get("test_scores") if isinstance(part, dict) else None
            if isinstance(score, float):
                self._score = max(self._score, score)

    def report(self) -> None:
        """Report how far the search is, if any model was trained."""
        if not self._n_epochs:
            return
        self._last_time = time.monotonic()
        line = f"{self._n_models} models, {self._n_epochs} epochs of all models trained"
        if math.isfinite(self._loss):
            line += f", lowest training loss {self._loss:.4g}"
        if math.isfinite(self._score):
            line += f", best score {self._score:.4g}"
        self._report(f"{line}, {self._n_tasks} tasks done")


def _last_loss(epochs: Any) -> float:
    """Return the mean loss of the last of some epochs that a model went through at once."""
    losses = epochs.losses[-(len(epochs.losses) // epochs.n_epochs) :]
    return sum(losses) / len(losses)
