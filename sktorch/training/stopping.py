"""Decide when to stop, and keep the best weights."""

import copy
import math
from typing import Any

from torch import nn


class Plateau:
    """A count of epochs without improvement.

    Training stops after ``patience`` such epochs. An improvement is a change by more than ``tol``
    for the better: upwards for ``sign=1`` (a score), downwards for ``sign=-1`` (a loss).
    """

    def __init__(self, patience: float, tol: float, sign: int) -> None:
        self.patience, self.tol, self.sign = patience, tol, sign
        self.best = -math.inf
        self.stale_epochs = 0

    @property
    def n_epochs_left(self) -> float:
        """The number of epochs after which training may stop, at the earliest."""
        return max(self.patience - self.stale_epochs, 1)

    def update(self, value: float) -> bool:
        """Take one more epoch's value; return whether training should stop."""
        value = self.sign * value
        self.stale_epochs = 0 if value > self.best + self.tol else self.stale_epochs + 1
        self.best = max(self.best, value)
        return self.stale_epochs >= self.patience


class BestWeights:
    """A copy of a module's state at its best epoch, the earliest of several equal ones."""

    def __init__(self) -> None:
        # Score, epoch and state change together: an interrupt finds the old or the new ones.
        self._best: tuple[float, int | None, dict[str, Any]] = (-math.inf, None, {})

    @property
    def score(self) -> float:
        """The best score so far; higher is better."""
        return self._best[0]

    @property
    def epoch(self) -> int | None:
        """The epoch of the best score; None if there was none."""
        return self._best[1]

    def update(self, score: float, epoch: int, module: nn.Module) -> None:
        """Keep the module's weights if the score is the best so far."""
        if score > self.score:
            self._best = score, epoch, copy.deepcopy(module.state_dict())

    def restore(self, module: nn.Module) -> None:
        """Load the kept weights into the module."""
        state = copy.copy(module.state_dict())  # It knows its layers' versions.
        state.update(self._best[2])
        module.load_state_dict(state)

    def state_dict(self) -> dict[str, Any]:
        """Return the score, epoch and weights."""
        return {"best": self._best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self._best = state["best"]
