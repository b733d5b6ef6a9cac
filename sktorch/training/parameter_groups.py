"""Groups of parameters by patterns of their names, each with its own settings of an optimizer."""

from collections.abc import Iterable
from fnmatch import filter as matches_of


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
