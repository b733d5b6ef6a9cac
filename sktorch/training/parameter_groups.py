"""Groups of parameters by patterns of their names, each with its own settings of an optimizer."""

import math
from collections.abc import Iterable, Mapping
from fnmatch import filter as matches_of
from numbers import Real
from typing import Any

from torch.optim import Optimizer

from sktorch._lookup import did_you_mean

# A group's learning rate as a multiple of the optimizer's, and the names that others have for it.
FACTOR = "lr_factor"
_SYNONYMS = dict.fromkeys(("lr_mult", "lr_multiplier", "lr_scale", "factor"), FACTOR)


def check_groups(groups: Iterable[tuple[str, dict]], names: Iterable[str]) -> None:
    """Raise for a pattern that no parameter is left for; the first that matches takes it."""
    left = all_names = [*names]
    for pattern, settings in groups:
        taken = matches_of(left, pattern)
        if not taken:
            raise ValueError(
                f"optimizer__param_groups: the pattern {pattern!r} takes no parameter: it matches "
                f"none, or patterns before it match the same. The parameters are {all_names}. "
                "Change the pattern, or leave it out."
            )
        left = [name for name in left if name not in taken]
        if isinstance(settings, Mapping) and FACTOR in settings:
            _check_factor(pattern, settings)


def _check_factor(pattern: str, settings: Mapping[str, Any]) -> None:
    """Raise if a group's factor is no factor, or if the group has a learning rate, too."""
    factor = settings[FACTOR]
    is_number = isinstance(factor, Real) and not isinstance(factor, bool)
    if not is_number or not 0 <= factor < math.inf:
        raise ValueError(
            f"optimizer__param_groups: {FACTOR}={factor!r} of {pattern!r} must be a number, not "
            "negative and finite: the group's learning rate is lr times this factor. Change it."
        )
    if "lr" in settings:
        raise ValueError(
            f"optimizer__param_groups: the group {pattern!r} has both lr and {FACTOR}. Keep "
            f"{FACTOR} for a rate that follows the parameter lr, or lr for one that does not."
        )


def with_lrs(groups: Iterable[dict[str, Any]], lr: Any) -> list[dict[str, Any]]:
    """Return parameter groups whose factors have become learning rates."""
    return [_with_lr(group, lr) for group in groups]


def _with_lr(group: dict[str, Any], lr: Any) -> dict[str, Any]:
    if FACTOR not in group:
        return group
    others = {name: value for name, value in group.items() if name != FACTOR}
    return others | {"lr": lr * group[FACTOR]}


def check_settings(optimizer: Optimizer) -> None:
    """Raise for a setting of a group that an optimizer of torch does not have."""
    known = [*optimizer.defaults, FACTOR]
    for name in {name for group in optimizer.param_groups for name in group} - {"params", *known}:
        if type(optimizer).__module__.startswith("torch.optim"):
            raise ValueError(
                f"optimizer__param_groups: {type(optimizer).__name__} has no setting {name!r}."
                f"{did_you_mean(name, known, synonyms=_SYNONYMS)} It has {', '.join(known)}."
            )
