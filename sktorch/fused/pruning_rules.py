"""Rules that say, at some epochs of a search, which candidates stop.

They see numbers alone: for each candidate its best validation score so far, higher is better.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Protocol

from sktorch._lookup import find


class PruningRule(Protocol):
    """Says after which epochs candidates are compared, and which of them stop then."""

    def judges(self, epoch: int) -> bool:
        """Say whether candidates are compared after an epoch, counted from 1."""
        ...

    def stops(self, score: float, scores: Sequence[float], stopped: Sequence[float]) -> bool:
        """Say whether a candidate with a score stops.

        `scores` are those of all candidates that got as far or ended by themselves before, its own
        among them; `stopped` are those that candidates had when the rule stopped them before.
        """
        ...


@dataclass(frozen=True)
class MedianRule:
    """Stop a candidate whose best score is below the median of all candidates' best scores.

    Candidates are compared after ``warm_up`` epochs, and whenever that number has doubled. Those
    stopped before count with the score that they had. So at most half of the candidates stop where
    all train side by side; later ones are held against all that came before.

    Parameters
    ----------
    warm_up : int, default=4
        Number of epochs that every candidate trains.

    Raises
    ------
    ValueError
        If ``warm_up`` is no positive whole number.

    Examples
    --------
    >>> from sktorch.model_selection import MedianRule
    >>> rule = MedianRule(warm_up=4)
    >>> [epoch for epoch in range(1, 20) if rule.judges(epoch)]
    [4, 8, 16]
    >>> rule.stops(0.7, [0.7, 0.8, 0.9], [])
    True
    """

    warm_up: int = 4

    def __post_init__(self) -> None:
        _check_whole("warm_up", self.warm_up, 1)

    def judges(self, epoch: int) -> bool:
        """Say whether candidates are compared after an epoch."""
        return _is_rung(epoch, self.warm_up, 2)

    def stops(self, score: float, scores: Sequence[float], stopped: Sequence[float]) -> bool:
        """Say whether a candidate with a score stops."""
        return score < median([*scores, *stopped])


@dataclass(frozen=True)
class HalvingRule:
    """Let only the best of every few candidates go on: successive halving.

    After ``min_epochs`` epochs, ``min_epochs * factor``, ``min_epochs * factor**2`` and so on, the
    best ``1 / factor`` of the candidates that got as far go on, rounded up, and all that are as
    good as the last of them. Candidates that ended by themselves take part with their best score.

    Parameters
    ----------
    min_epochs : int, default=4
        Number of epochs that every candidate trains.
    factor : int, default=3
        One in how many candidates goes on, and by how much the number of epochs grows.

    Raises
    ------
    ValueError
        If a parameter is no whole number, ``min_epochs`` below 1 or ``factor`` below 2.

    Examples
    --------
    >>> from sktorch.model_selection import HalvingRule
    >>> rule = HalvingRule(min_epochs=2)
    >>> [epoch for epoch in range(1, 20) if rule.judges(epoch)]
    [2, 6, 18]
    >>> [rule.stops(score, [0.7, 0.8, 0.9], []) for score in (0.8, 0.9)]
    [True, False]
    """

    min_epochs: int = 4
    factor: int = 3

    def __post_init__(self) -> None:
        _check_whole("min_epochs", self.min_epochs, 1)
        _check_whole("factor", self.factor, 2)

    def judges(self, epoch: int) -> bool:
        """Say whether candidates are compared after an epoch."""
        return _is_rung(epoch, self.min_epochs, self.factor)

    def stops(self, score: float, scores: Sequence[float], stopped: Sequence[float]) -> bool:
        """Say whether a candidate with a score stops."""
        n_better = sum(other > score for other in scores)
        return n_better >= math.ceil(len(scores) / self.factor)


RULES = {"median": MedianRule, "halving": HalvingRule}


def rule_of(prune: Any) -> PruningRule | None:
    """Return the rule that the backend's option `prune` names or is; None for None."""
    if isinstance(prune, str):
        return find("prune", prune, RULES)()
    has_methods = callable(getattr(prune, "judges", None)) and callable(
        getattr(prune, "stops", None)
    )
    if prune is None or (has_methods and not isinstance(prune, type)):
        return prune
    raise TypeError(
        f"prune={prune!r} must be None, {', '.join(map(repr, RULES))}, or a rule such as "
        "sktorch.model_selection.HalvingRule(min_epochs=4, factor=3). Change prune."
    )


def _is_rung(epoch: int, first: int, factor: int) -> bool:
    """Say whether an epoch is `first` times a power of `factor`."""
    while epoch > first and epoch % factor == 0:
        epoch //= factor
    return epoch == first


def _check_whole(name: str, value: Any, minimum: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise ValueError(f"{name}={value!r} must be a whole number of at least {minimum}.")
