"""Private names of scikit-learn."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils import _safe_indexing
from sklearn.utils._set_output import _get_output_config

from sktorch._private.notebooks import Documented


class ParameterNamesOnce(BaseEstimator):
    """An estimator whose class looks up the names in its signature once.

    scikit-learn looks at the signature several times a clone. Without the private method's name,
    only that time is lost.
    """

    _parameter_names: tuple[str, ...]

    @classmethod
    def _get_param_names(cls) -> list[str]:
        if "_parameter_names" not in vars(cls):
            cls._parameter_names = tuple(super()._get_param_names())
        return list(cls._parameter_names)


def callback_context(estimator: Any, max_subtasks: int) -> Any:
    """Return the context through which a fit calls scikit-learn's callbacks.

    scikit-learn asks third-party estimators to call this method. Without it, every fit fails.
    """
    return estimator._init_callback_context(max_subtasks=max_subtasks)


def has_callbacks(context: Any) -> bool:
    """Say whether a context calls any callback.

    scikit-learn does not tell otherwise. Without the private name it is taken to call some, and
    every epoch is trained by itself.
    """
    return bool(getattr(context, "_callbacks", True))


def output_library(transformer: Any) -> str:
    """Return the container that set_output or the configuration asks for.

    Without the module importing sktorch fails.
    """
    return _get_output_config("transform", transformer)["dense"]


def rows_of(X: Any, index: np.ndarray) -> Any:
    """Return some rows of an array, a table, a sparse matrix or a list, as its searches cut them.

    Without the private name importing sktorch fails.
    """
    return _safe_indexing(X, index)


class RungSearchCV(Documented, BaseSearchCV):
    """Base of a search that evaluates fewer and fewer candidates, each time anew.

    scikit-learn documents `_run_search` to those who extend this base, as its own searches do.
    Without that name the searches raise NotImplementedError; without `_select_best_index` the best
    candidate of all rungs wins, rather than that of the last; without `_checked_cv_orig`, which
    `_run_search` tells of, every search fails; without `_get_scorers` there are no models for an
    ensemble.
    """

    @abstractmethod
    def _run_rungs(self, evaluate: Callable[..., Any], splitter: Any, context: Any) -> None:
        """Evaluate candidates: ``evaluate(candidates, splitter, more_results, callback_ctx)``."""

    def _run_search(self, evaluate_candidates: Callable[..., Any], *, callback_ctx: Any) -> None:
        self._run_rungs(evaluate_candidates, self._checked_cv_orig, callback_ctx)

    def _watched_scorer(self, scorer: Any) -> Any:
        """Return the scorer that models are scored with; a subclass may watch its calls."""
        return scorer

    def _get_scorers(self) -> tuple[Any, str]:
        scorer, name = super()._get_scorers()
        return self._watched_scorer(scorer), name

    @staticmethod
    def _select_best_index(refit: Any, refit_metric: str, results: dict[str, Any]) -> int:
        """Return the row of the best candidate of the last rung, the first of equal ones."""
        if callable(refit):
            return BaseSearchCV._select_best_index(refit, refit_metric, results)
        rows = np.flatnonzero(results["iter"] == np.max(results["iter"]))
        scores = results[f"mean_test_{refit_metric or 'score'}"][rows]
        return int(rows[0 if np.isnan(scores).all() else np.nanargmax(scores)])
