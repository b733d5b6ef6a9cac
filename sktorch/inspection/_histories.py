"""What a fitted estimator recorded of its epochs, as columns of numbers."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

History = dict[str, np.ndarray]  # a number for each epoch, by its name in the history

LOSSES = ("train_loss", "valid_loss", "valid_risk")
# Attributes in which meta-estimators keep the estimator that they have fitted.
_INNER = ("best_estimator_", "regressor_", "estimator_")
_LABELS = {
    "train_": "training ",
    "valid_": "validation ",
    "acc": "accuracy",
    "r2": "R²",
    "lr": "learning rate",
}


def trained(estimator: Any) -> Any:
    """Return the estimator with a history inside of pipelines and searches.

    Raise NotFittedError if it is not fitted, and TypeError if there is none.
    """
    check_is_fitted(estimator)
    if hasattr(estimator, "history_"):
        return estimator
    if isinstance(estimator, Pipeline):
        return trained(estimator[-1])
    if hasattr(estimator, "estimators_"):
        raise TypeError(
            f"{type(estimator).__name__} holds several fitted models, each with a history of its "
            "own. Pass its estimators_, or one of them."
        )
    for name in _INNER:
        if hasattr(estimator, name):
            return trained(getattr(estimator, name))
    raise TypeError(
        f"{type(estimator).__name__} has no history of epochs. Pass a fitted estimator of sktorch, "
        "a pipeline that ends in one, or a search over one with refit=True."
    )


def history_of(rows: Iterable[Mapping[str, Any]]) -> History:
    """Return losses, scores and learning rates of all epochs; NaN where one was not recorded."""
    rows = [*rows]
    names = dict.fromkeys(name for row in rows for name in row if _is_drawn(name, row[name]))
    return {name: np.array([row.get(name, np.nan) for row in rows], float) for name in names}


def best_epoch_of(estimator: Any) -> int | None:
    """Return the epoch, from 1 on, whose weights were kept; None if they are those of the last."""
    return estimator.best_epoch_ if getattr(estimator, "early_stopping", False) else None


def label_of(name: str) -> str:
    """Return the words for a name in a history: "validation accuracy" for "valid_acc"."""
    part = next((part for part in ("train_", "valid_") if name.startswith(part)), "")
    rest = name.removeprefix(part)
    return _LABELS.get(part, "") + _LABELS.get(rest, rest.replace("_", " "))


def _is_drawn(name: str, value: Any) -> bool:
    """Say whether a value is a loss, a score or a learning rate, rather than a count or a flag."""
    is_number = isinstance(value, float | np.floating)
    return is_number and (name == "lr" or name.startswith(("train_", "valid_")))
