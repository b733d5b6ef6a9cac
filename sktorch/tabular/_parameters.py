"""Checks of the estimators' parameters."""

import math
from collections.abc import Callable
from numbers import Integral, Real
from reprlib import repr as shortened
from typing import Any


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_positive(value: Any) -> bool:
    return _is_number(value) and 0 < value < math.inf


def _is_fraction(value: Any) -> bool:
    return _is_number(value) and 0 <= value < 1


def _is_count(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) > 0


def _are_widths(value: Any) -> bool:
    return isinstance(value, tuple | list) and all(map(_is_count, value))


def _auto_or_count(value: Any) -> bool:
    return _is_count(value) or (isinstance(value, str) and value == "auto")


# For each parameter: whether a value is in its domain, and the domain in words.
RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "n_members": (lambda value: _is_count(value) and value > 1, "a whole number, 2 or more"),
    "hidden": (_are_widths, "a tuple of positive whole numbers"),
    "lr": (_is_positive, "a positive number"),
    "weight_decay": (
        lambda value: _is_number(value) and 0 <= value < math.inf,
        "a number, 0 or more",
    ),
    "feature_dropout": (_is_fraction, "a number from 0 to less than 1"),
    "max_epochs": (_auto_or_count, "'auto' or a positive whole number"),
    "batch_size": (_auto_or_count, "'auto' or a positive whole number"),
    "time_limit": (
        lambda value: value is None or _is_positive(value),
        "None or a positive number of seconds",
    ),
}


def check_parameters(parameters: dict[str, Any], losses: tuple[str, ...]) -> None:
    """Raise a ValueError for the first parameter that is out of its domain."""
    if parameters["loss"] not in losses:
        known = ", ".join(map(repr, losses))
        raise ValueError(f"loss={parameters['loss']!r} is not known; expected one of {known}.")
    for name, (accepts, expected) in RULES.items():
        if not accepts(parameters[name]):
            raise ValueError(f"{name}={shortened(parameters[name])} must be {expected}. Change it.")


def check_quantile(loss: str, quantile: Any) -> None:
    """Raise a ValueError unless there is a quantile if, and only if, the loss needs one."""
    if loss != "quantile" and quantile is not None:
        raise ValueError(
            f"quantile={quantile!r} is for loss='quantile', and loss={loss!r}. Change one of them."
        )
    if loss == "quantile" and not (_is_fraction(quantile) and quantile > 0):
        raise ValueError(
            f"quantile={quantile!r} must be a number above 0 and below 1 for loss='quantile'."
        )
