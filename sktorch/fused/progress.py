"""How far a call is: the share that is done, the time left, and the best score so far."""

import math
import time
from collections.abc import Iterable
from typing import Any, Protocol


class Display(Protocol):
    """Shows a share between 0 and 1, and what else is known as text."""

    def show(self, share: float, text: str) -> None:
        """Show how far the call is, if it is time."""

    def end(self, text: str) -> None:
        """Show how the call ended, and nothing any more."""


class Progress:
    """Counts the tasks of a call and the epochs of those under way, for a display."""

    def __init__(self, display: Display) -> None:
        self._display, self._start = display, time.monotonic()
        self._n_submitted = self._n_tasks = self._n_done = 0
        self._under_way: dict[int, float] = {}  # shares of tasks, by their numbers
        self._n_models = 0
        self._loss, self._score = math.inf, -math.inf

    def task_submitted(self, n_tasks: int | None) -> int:
        """Count a task of so many, as far as that is known; return its number."""
        self._n_submitted += 1
        self._n_tasks = max(self._n_submitted, n_tasks or 0)
        return self._n_submitted - 1

    def epochs_ended(self, epochs: Iterable[Any]) -> None:
        """Count epochs that models went through together."""
        trained = [epoch for epoch in epochs if epoch.optimizer is not None and epoch.losses]
        self._n_models = len(trained) or self._n_models
        for epoch in trained:
            number, share = epoch.order[0], epoch.n_epochs / epoch.model.engine.max_epochs
            self._under_way[number] = min(self._under_way.get(number, 0.0) + share, 1.0)
        self._loss = min([self._loss, *map(_last_loss, trained)])
        self._display.show(self._share(), self._text())

    def task_ended(self, number: int, value: Any) -> None:
        """Count a task, and look for a score in the value that it returned."""
        self._n_done += 1
        self._under_way.pop(number, None)
        for part in value if isinstance(value, list) else ():
            # A task of scikit-learn's cross-validation returns such a dict. No other value has a
            # score that is known here, so none is reported for it.
            score = part.get("test_scores") if isinstance(part, dict) else None
            if isinstance(score, float):
                self._score = max(self._score, score)
        self._display.show(self._share(), self._text())

    def end(self) -> None:
        """Show how the call ended."""
        self._display.end(f"{self._text()}, {_duration(time.monotonic() - self._start)}")

    def _share(self) -> float:
        under_way = sum([*self._under_way.values()])
        return min((self._n_done + under_way) / max(self._n_tasks, 1), 1.0)

    def _text(self) -> str:
        """Return what is known beside the share."""
        share, seconds = self._share(), time.monotonic() - self._start
        parts = [f"{self._n_done} of {self._n_tasks} tasks"]
        if 0 < share < 1:
            parts.append(f"{_duration(seconds * (1 - share) / share)} left")
        if math.isfinite(self._score):
            parts.append(f"best score {self._score:.4g}")
        if math.isfinite(self._loss):
            parts.append(f"lowest training loss {self._loss:.4g}")
        if self._n_models and share < 1:
            parts.append(f"{self._n_models} models in training")
        return ", ".join(parts)


def _last_loss(epochs: Any) -> float:
    """Return the mean loss of the last of some epochs that a model went through at once."""
    losses = epochs.losses[-(len(epochs.losses) // epochs.n_epochs) :]
    return sum(losses) / len(losses)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
