"""How many candidates train until which epoch: the arithmetic of successive halving."""

from math import ceil, floor, log
from typing import NamedTuple


class NoScores(ValueError):
    """No candidate of a rung has a score by which it could go on."""


class RungPlan(NamedTuple):
    """The rungs of a search: how many candidates train until which epoch."""

    n_candidates: list[int]
    n_epochs: list[int]
    n_required: int  # rungs, until fewer candidates than the factor are left
    n_possible: int  # rungs, from the first epochs to the last


def plan_rungs(
    n_candidates: int,
    factor: float,
    min_epochs: int | str,
    max_epochs: int,
    *,
    aggressive: bool = False,
) -> RungPlan:
    """Return the rungs: of each, one in `factor` candidates goes on for `factor` times the epochs.

    The last rung always trains for `max_epochs`, as a full search does. `min_epochs` is the first
    rung's, "exhaust" for as many as lead to `max_epochs` when as few candidates as the factor are
    left, or "max" for a single rung. If `aggressive`, the first rung is repeated until that is so.

    Raises
    ------
    ValueError
        If there are more rungs than candidates and epochs together.
    """
    n_required = 1 + floor(log(n_candidates, factor) + 1e-9)
    if min_epochs == "exhaust":
        min_epochs = max(1, floor(max_epochs / factor ** (n_required - 1)))
    elif min_epochs == "max":
        min_epochs, n_required = max_epochs, 1
    assert isinstance(min_epochs, int)
    n_possible = 1 + round(log(max_epochs / min_epochs, factor))
    n_rungs = n_required if aggressive else min(n_required, n_possible)
    if n_rungs > n_candidates + max_epochs:
        raise ValueError(
            f"factor={factor:g} makes {n_rungs:,} rungs for {n_candidates} candidates and "
            f"{max_epochs} epochs, most of which change nothing. Raise factor, as to 2 or 3."
        )
    repeats = max(n_rungs - n_possible, 0)
    powers = [max(0, rung - repeats) for rung in range(n_rungs - 1)]
    n_epochs = [min(floor(min_epochs * factor**power), max_epochs) for power in powers]
    counts = [n_candidates]
    for _ in powers:
        counts.append(ceil(counts[-1] / factor))
    return RungPlan(counts, [*n_epochs, max_epochs], n_required, n_possible)
