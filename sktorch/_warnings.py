"""Warn the user, at the line of the user's that called the estimator."""

import inspect
import warnings

_BETWEEN = {"sktorch", "sklearn", "joblib", "skorch", "torch", "contextlib", "functools"}


def warn_caller(message: str) -> None:
    """Warn at the first line on the way out that is of none of the packages in between."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_globals.get("__name__", "").split(".")[0] in _BETWEEN:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)
