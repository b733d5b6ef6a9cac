"""When to stop, and which weights to keep."""

import copy
import math


class Plateau:
    """Counts epochs without improvement.

    Parameters
    ----------
    patience : int or float
        Epochs without improvement after which training stops; ``math.inf`` never stops.
    tol : float
        An improvement is a change for the better by more than this.
    sign : {1, -1}
        1 where higher is better (a score), -1 where lower is better (a loss).
    """

    def __init__(self, patience, tol, sign):
        self.patience, self.tol, self.sign = patience, tol, sign
        self.best = -math.inf
        self.stale_epochs = 0

    def update(self, value):
        """Take the value of one more epoch; return whether training should stop."""
        value = self.sign * value
        self.stale_epochs = 0 if value > self.best + self.tol else self.stale_epochs + 1
        self.best = max(self.best, value)
        return self.stale_epochs >= self.patience


class BestWeights:
    """A copy of the module's state at its best epoch.

    Attributes
    ----------
    score : float
        The best score so far; higher is better.
    epoch : int or None
        The epoch it was reached in; the earliest one where several are equal.
    """

    def __init__(self):
        self.score, self.epoch, self._state = -math.inf, None, None

    def update(self, score, epoch, module):
        """Keep the weights of ``module`` if ``score`` is the best so far."""
        if score > self.score:
            self.score, self.epoch = score, epoch
            self._state = copy.deepcopy(module.state_dict())

    def restore(self, module):
        """Load the kept weights into ``module``."""
        module.load_state_dict(self._state)
