"""What the cleaner's parameters may be."""

from numbers import Integral, Real

import numpy as np


def check_parameters(parameters):
    """Raise a ValueError that names the parameter that is wrong, and what it may be."""
    for name, (is_right, expected) in RULES.items():
        if not is_right(parameters[name]):
            raise ValueError(f"{name}={parameters[name]!r} must be {expected}.")


def _is_range(value):
    is_pair = isinstance(value, tuple | list) and len(value) == 2
    return is_pair and all(isinstance(q, Real) for q in value) and 0 <= value[0] < value[1] <= 100


def _are_words(value):
    is_collection = isinstance(value, tuple | list | set | frozenset)
    return is_collection and all(isinstance(word, str) for word in value)


RULES = {
    "outliers": (lambda value: value in ("clip", "flag", None), "'clip', 'flag' or None"),
    "quantile_range": (_is_range, "a tuple of two percentiles, 0 ≤ low < high ≤ 100"),
    "max_one_hot": (
        lambda value: isinstance(value, Integral) and value >= 0,
        "a whole number, 0 or more",
    ),
    "missing_values": (_are_words, "a tuple of strings"),
    "dtype": (
        lambda value: value in (np.float32, np.float64, "float32", "float64"),
        "float32 or float64",
    ),
}
