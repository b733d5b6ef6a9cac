"""Choose an ensemble among candidates, a member at a time, by predictions for held-out rows."""

from collections.abc import Callable

import numpy as np

Loss = Callable[[np.ndarray], np.ndarray]


def greedy_weights(predictions: np.ndarray, loss: Loss, max_members: int = 50) -> np.ndarray:
    """Return a weight for each candidate: its share of the members that were chosen.

    The first member is the best candidate. Then the one joins that makes the loss of the members'
    average lowest, which may be a member already, `max_members` times in all; what counts are the
    members up to the lowest loss. So the ensemble is never worse than the best candidate (Caruana,
    Niculescu-Mizil, Crew and Ksikes, "Ensemble selection from libraries of models", ICML 2004).

    Predictions are of shape (n_candidates, ...), and ``loss`` makes of several predictions of that
    shape one number for each. Candidates that are not finite are left out; of equal ones the first
    is chosen.
    """
    n_candidates = len(predictions)
    usable = np.flatnonzero(np.isfinite(predictions).reshape(n_candidates, -1).all(axis=1))
    if not len(usable):
        raise ValueError(
            f"None of {n_candidates} candidates has finite predictions for all held-out rows, "
            "so there is nothing to make an ensemble of."
        )
    predictions = predictions if len(usable) == n_candidates else predictions[usable]
    total: np.ndarray = np.zeros_like(predictions[0])
    losses, members = [], []
    for n_members in range(1, max_members + 1):
        of_each = loss((total + predictions) / n_members)
        best = int(np.argmin(np.where(np.isnan(of_each), np.inf, of_each)))
        total = total + predictions[best]
        losses.append(of_each[best])
        members.append(best)
    if not np.isfinite(losses[0]):
        raise ValueError(
            f"None of {len(usable)} candidates has a finite score for its held-out rows. Change "
            "the scoring."
        )
    n_best = int(np.nanargmin(losses)) + 1
    return np.bincount(usable[members[:n_best]], minlength=n_candidates) / n_best
