"""What both ensembles of fold models share."""

from abc import abstractmethod
from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.metrics import check_scoring
from sklearn.model_selection import check_cv
from sklearn.utils import get_tags, indexable
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import column_or_1d

from sktorch._private.notebooks import Documented
from sktorch._private.scikit_learn import rows_of
from sktorch.fused.backend import as_one_program
from sktorch.model_selection._selection import Selection, select
from sktorch.model_selection._tasks import Task
from sktorch.persistence.estimators import SavedEstimator


class FoldEnsemble(SavedEstimator, Documented):
    """Base of the ensembles, which differ in their task."""

    def __init__(self, estimators, *, weights=None, cv=None, scoring=None, max_members=50):
        self.estimators = estimators
        self.weights = weights
        self.cv = cv
        self.scoring = scoring
        self.max_members = max_members

    def fit(self, X: Any, y: Any) -> Self:
        """Fit each estimator on the training rows of each fold, and weigh the estimators.

        Parameters
        ----------
        X : array-like, DataFrame or whatever the estimators take
            Training rows.
        y : array-like of shape (n_samples,) or, of numbers, (n_samples, n_targets)
            Targets.

        Returns
        -------
        self : FoldEnsembleClassifier or FoldEnsembleRegressor
            The fitted ensemble.

        Raises
        ------
        ValueError
            If a parameter or y is none that an ensemble can be made of, or no estimator has finite
            predictions of all held-out rows.
        """
        estimators, weights = self._checked_estimators(), self._checked_weights()
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None."
            )
        task, y = self._task(y)
        X, y = indexable(X, y)
        splits = [*check_cv(self.cv, y, classifier=is_classifier(self)).split(X, y)]
        with as_one_program():
            models = Parallel()(
                delayed(_fitted)(estimator, X, y, train)
                for estimator in estimators
                for train, _ in splits
            )
        by_candidate = [models[i : i + len(splits)] for i in range(0, len(models), len(splits))]
        scorer = None if self.scoring is None else check_scoring(self, self.scoring)
        options: dict[str, Any] = {"weights": weights, "scorer": scorer}
        options["max_members"] = self.max_members
        test_indices = [test for _, test in splits]
        self._keep(task, select(task, by_candidate, test_indices, X, y, **options))
        return self

    def _keep(self, task: Task, selection: Selection) -> None:
        """Set the fitted attributes."""
        self.estimators_, self.weights_ = selection.models, selection.weights
        self.candidates_ = selection.candidates
        self.score_ = selection.score
        self.best_candidate_, self.best_score_ = selection.best_candidate, selection.best_score

    @property
    def n_features_in_(self) -> int:
        """Number of columns of X."""
        return self.estimators_[0][0].n_features_in_

    @property
    def feature_names_in_(self) -> np.ndarray:
        """Names of the columns of X, if they are all strings."""
        return self.estimators_[0][0].feature_names_in_

    def _average(self, task: Task, X: Any) -> np.ndarray:
        """Return the weighted mean of the predictions of all models."""
        models = [model for of_folds in self.estimators_ for model in of_folds]
        weights = np.repeat(self.weights_, len(self.estimators_[0])) / len(self.estimators_[0])
        total: Any = 0.0
        for position, predicted in task.predictions(models, X):
            total = total + weights[position] * predicted
        return total

    def _checked_estimators(self) -> list[Any]:
        if not isinstance(self.estimators, list | tuple) or not self.estimators:
            raise ValueError(
                f"estimators={self.estimators!r:.100} must be a list of one estimator or more."
            )
        if not isinstance(self.max_members, Integral) or self.max_members < 1:
            raise ValueError(f"max_members={self.max_members!r} must be a positive whole number.")
        for estimator in self.estimators:
            if is_classifier(estimator) != is_classifier(self):
                expected = "classifiers" if is_classifier(self) else "regressors"
                raise ValueError(
                    f"estimators of {type(self).__name__} holds {type(estimator).__name__}; "
                    f"expected {expected}. Use the other ensemble."
                )
        return [*self.estimators]

    def _checked_weights(self) -> np.ndarray | None:
        if self.weights is None:
            return None
        weights = column_or_1d(self.weights, dtype=np.float64)
        n_estimators = len(self.estimators)
        if len(weights) != n_estimators or not (weights.min() >= 0 and 0 < weights.sum() < np.inf):
            raise ValueError(
                f"weights={self.weights!r:.100} must hold a number for each of {n_estimators} "
                "estimators, zero or more and not all zero; or be None to choose them greedily."
            )
        return weights

    def __sklearn_is_fitted__(self) -> bool:
        """Say whether there are fold models."""
        return hasattr(self, "estimators_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        if isinstance(self.estimators, list | tuple) and self.estimators:
            tags.input_tags = get_tags(self.estimators[0]).input_tags
        return tags

    @abstractmethod
    def _task(self, y: Any) -> tuple[Task, np.ndarray]:
        """Return the task of targets, and these as it takes them."""


def _fitted(estimator: Any, X: Any, y: np.ndarray, rows: np.ndarray) -> Any:
    return clone(estimator).fit(rows_of(X, rows), y[rows])
