"""What models of an ensemble predict, and how good averages of their predictions are."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_array, column_or_1d

from sktorch._scoring import weighted_score
from sktorch.model_selection._greedy import Loss
from sktorch.model_selection._member_predictions import predictions_of

SMALLEST = np.finfo(np.float64).eps  # as a probability, as for scikit-learn's log_loss


class Task(ABC):
    """Predictions that can be averaged, and their loss."""

    @abstractmethod
    def predictions(self, models: Sequence[Any], X: Any) -> Iterator[tuple[int, np.ndarray]]:
        """Yield each model's position and predictions, which are of one shape; in any order."""

    @abstractmethod
    def values_and_loss(
        self, predictions: np.ndarray, y: np.ndarray, weights: np.ndarray | None
    ) -> tuple[np.ndarray, Loss]:
        """Return what has to be averaged of predictions to judge them, and the loss of it."""

    @abstractmethod
    def as_estimator(self, predictions: np.ndarray) -> BaseEstimator:
        """Return a fitted estimator that predicts these, for scorers."""


@dataclass
class Classification(Task):
    """Probabilities of classes by their log-loss."""

    classes: np.ndarray

    @staticmethod
    def checked(y: Any) -> np.ndarray:
        """Return labels; raise for other targets."""
        assert_all_finite(y, input_name="y")
        kind = type_of_target(y, input_name="y", raise_unknown=True)
        if kind not in ("binary", "multiclass"):
            raise ValueError(
                f"y is {kind}; expected one label for each row. Several labels a row have no "
                "ensemble: fit one for each column."
            )
        return column_or_1d(y, warn=True)

    def predictions(self, models: Sequence[Any], X: Any) -> Iterator[tuple[int, np.ndarray]]:
        """Yield probabilities (n_rows, n_classes); a class that a model has not seen has none."""
        for position, p in predictions_of(models, X, "predict_proba"):
            aligned, classes = np.asarray(p), models[position].classes_
            if not np.array_equal(classes, self.classes):
                aligned = np.zeros((len(p), len(self.classes)))
                aligned[:, np.searchsorted(self.classes, classes)] = p
            yield position, aligned

    def values_and_loss(
        self, predictions: np.ndarray, y: np.ndarray, weights: np.ndarray | None
    ) -> tuple[np.ndarray, Loss]:
        """Return the probabilities of each row's own class, and the log-loss."""
        own = predictions[:, np.arange(len(y)), np.searchsorted(self.classes, y)]
        return own, lambda p: -np.average(np.log(np.maximum(p, SMALLEST)), axis=1, weights=weights)

    def as_estimator(self, predictions: np.ndarray) -> BaseEstimator:
        """Return a classifier with these probabilities."""
        return _Classifier(self.classes, predictions)


class Regression(Task):
    """Numbers by their squared error."""

    @staticmethod
    def checked(y: Any) -> np.ndarray:
        """Return numbers, of one target or several."""
        y = check_array(y, dtype=np.float64, ensure_2d=False, input_name="y")
        return column_or_1d(y, warn=True) if y.shape[1:] == (1,) else y

    def predictions(self, models: Sequence[Any], X: Any) -> Iterator[tuple[int, np.ndarray]]:
        """Yield numbers (n_rows,) or (n_rows, n_targets)."""
        for position, predicted in predictions_of(models, X, "predict"):
            numbers = np.asarray(predicted)
            yield position, numbers[:, 0] if numbers.shape[1:] == (1,) else numbers

    def values_and_loss(
        self, predictions: np.ndarray, y: np.ndarray, weights: np.ndarray | None
    ) -> tuple[np.ndarray, Loss]:
        """Return the residuals, and the mean of their squares over rows and targets."""

        def loss(residuals: np.ndarray) -> np.ndarray:
            squares = np.square(residuals).reshape(*residuals.shape[:2], -1).mean(axis=2)
            return np.average(squares, axis=1, weights=weights)

        return predictions - y, loss

    def as_estimator(self, predictions: np.ndarray) -> BaseEstimator:
        """Return a regressor with these numbers."""
        return _Regressor(predictions)


def scorer_loss(
    task: Task, scorer: Callable[..., float], X: Any, y: np.ndarray, weights: np.ndarray | None
) -> Loss:
    """Return the scores of averaged predictions, negative, as lower is better."""
    return lambda averages: np.array(
        [-weighted_score(scorer, task.as_estimator(own), X, y, weights) for own in averages]
    )


class _Classifier(ClassifierMixin, BaseEstimator):
    """A classifier that predicts the given probabilities, whatever the rows."""

    def __init__(self, classes: np.ndarray, p: np.ndarray) -> None:
        self.classes_, self.p_ = classes, p

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probabilities."""
        return self.p_

    def predict(self, X: Any) -> np.ndarray:
        """Return the most likely labels."""
        return self.classes_[self.p_.argmax(axis=1)]


class _Regressor(RegressorMixin, BaseEstimator):
    """A regressor that predicts the given numbers, whatever the rows."""

    def __init__(self, numbers: np.ndarray) -> None:
        self.numbers_ = numbers

    def predict(self, X: Any) -> np.ndarray:
        """Return the numbers."""
        return self.numbers_
