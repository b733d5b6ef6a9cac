"""Undo a fit that fails or is interrupted: the estimator is as it was before."""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from sktorch.training.interrupts import undone_on_failure


def leaves_unchanged_on_failure(fit: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a ``fit`` after whose failure the estimator has the attributes that it had."""

    @wraps(fit)
    def fit_or_undo(estimator: Any, *args: Any, **kwargs: Any) -> Any:
        before = vars(estimator).copy()

        def undo() -> None:
            vars(estimator).clear()
            vars(estimator).update(before)

        return undone_on_failure(undo, partial(fit, estimator, *args, **kwargs))

    return fit_or_undo
