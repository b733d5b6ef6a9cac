"""Checks of the cleaner's parameters."""

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np


def _is_outliers(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value in ("clip", "flag", "smooth"))


def _is_range(value: Any) -> bool:
    if isinstance(value, str):
        return value == "auto"
    is_pair = isinstance(value, tuple | list) and len(value) == 2
    return is_pair and all(isinstance(q, Real) for q in value) and 0 <= value[0] < value[1] <= 100


def _is_count(value: Any) -> bool:
    return isinstance(value, Integral) and int(value) >= 0


def _are_words(value: Any) -> bool:
    is_collection = isinstance(value, tuple | list | set | frozenset)
    return is_collection and all(isinstance(word, str) for word in value)


# For each parameter: whether a value is in its domain, and the domain in words.
RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "outliers": (_is_outliers, "'clip', 'flag', 'smooth' or None"),
    "quantile_range": (_is_range, "a tuple of two percentiles, 0 ≤ low < high ≤ 100, or 'auto'"),
    "max_one_hot": (_is_count, "a whole number, 0 or more"),
    "missing_values": (_are_words, "a tuple of strings"),
    "dtype": (
        lambda value: value in (np.float32, np.float64, "float32", "float64"),
        "float32 or float64",
    ),
}


def check_parameters(parameters: dict[str, Any]) -> None:
    """Raise a ValueError for the first parameter that is out of its domain."""
    for name, (accepts, expected) in RULES.items():
        if not accepts(parameters[name]):
            raise ValueError(f"{name}={parameters[name]!r} must be {expected}.")
