"""Groups of parameters by patterns of their names, each with its own settings of an optimizer."""

from collections.abc import Iterable
from fnmatch import filter as matches_of

from torch.optim import Optimizer

from sktorch._lookup import did_you_mean


def check_groups(groups: Iterable[tuple[str, dict]], names: Iterable[str]) -> None:
    """Raise for a pattern that no parameter is left for; the first that matches takes it."""
    left = all_names = [*names]
    for pattern, _ in groups:
        taken = matches_of(left, pattern)
        if not taken:
            raise ValueError(
                f"optimizer__param_groups: the pattern {pattern!r} takes no parameter: it matches "
                f"none, or patterns before it match the same. The parameters are {all_names}. "
                "Change the pattern, or leave it out."
            )
        left = [name for name in left if name not in taken]


def check_settings(optimizer: Optimizer) -> None:
    """Raise for a setting of a group that an optimizer of torch does not have."""
    known = optimizer.defaults
    for name in {name for group in optimizer.param_groups for name in group} - {"params", *known}:
        if type(optimizer).__module__.startswith("torch.optim"):
            raise ValueError(
                f"optimizer__param_groups: {type(optimizer).__name__} has no setting {name!r}."
                f"{did_you_mean(name, known)} It has {', '.join(known)}."
            )
