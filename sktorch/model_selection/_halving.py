"""A search by successive halving, whose survivors go on where they were."""

from collections.abc import Callable
from copy import copy
from math import ceil
from numbers import Integral, Real
from time import perf_counter
from typing import Any, Self

import joblib
import numpy as np
from sklearn.base import clone
from sklearn.model_selection import ParameterGrid, ParameterSampler

from sktorch._private.scikit_learn import RungSearchCV
from sktorch._rungs import PausedFits, values_of_max_epochs
from sktorch.fused.backend import as_one_program, two_at_least
from sktorch.model_selection._ensemble import ensemble_of
from sktorch.model_selection._fold_models import ModelLeavingScorer, by_candidate
from sktorch.model_selection._learning_curves import LearningCurves
from sktorch.model_selection._rung_plan import NoScores, RungPlan, plan_rungs


class HalvingSearchCV(RungSearchCV):
    """Search over parameters by successive halving in epochs, inside one program.

    All candidates train for a few epochs, side by side. The best of them go on to the next rung,
    from where they are; the others leave. The last rung ends at the estimator's ``max_epochs``, and
    its candidates are the models that a full search makes, but for dropout to the bit in double
    precision. Learning rates follow the schedule of all epochs from the first one on.

    The search has the interface of :class:`sklearn.model_selection.HalvingGridSearchCV`, but for
    the resource, which is always epochs; several metrics may be given; and splitters may shuffle
    without a seed, as each fold is drawn once. Its tasks run under the joblib backend "sktorch",
    whatever other backend is active.

    Parameters
    ----------
    estimator : estimator object
        A `TorchClassifier` or `TorchRegressor`, or a pipeline or other meta-estimator that fits
        some. Other estimators can be searched with ``min_resources="max"``.
    param_distributions : dict or list of dicts
        Names of parameters with lists of values or distributions (with a method ``rvs``).
    n_candidates : int, default=None
        How many candidates to sample. None takes the whole grid, for which every parameter needs a
        list.
    factor : float, default=3
        One in so many candidates goes on to the next rung, for as many times the epochs.
    min_resources : int, "exhaust" or "max", default="exhaust"
        Epochs of the first rung. With "exhaust" as many as lead to the last epoch when fewer
        candidates than ``factor`` are left, at least one. With "max" there is a single rung: all
        candidates train in full.
    max_resources : int, default="auto"
        Epochs of the last rung. With "auto" the largest ``max_epochs`` among the estimator's
        parameters; fits end at their own ``max_epochs`` in any case.
    aggressive_elimination : bool, default=False
        Whether to eliminate at the first rung, without further epochs, until the last one is left
        with ``factor`` candidates at most. Matters where ``min_resources`` is large.
    scoring : str, callable, list, tuple or dict, default=None
        As for :class:`sklearn.model_selection.GridSearchCV`. Of several metrics ``refit`` names the
        one that decides who goes on.
    n_jobs : int, default=None
        How many fits train side by side, two at least. None for as many as fit in memory.
    refit : bool, str or callable, default=True
        As for `GridSearchCV`. With "ensemble" nothing is fitted to all rows: the models that the
        last rung fitted on the folds become one `FoldEnsembleClassifier` or
        `FoldEnsembleRegressor`, weighed by the rows that they held out.
    cv : int, cross-validation generator or iterable, default=None
        As for `GridSearchCV`.
    verbose : int, default=0
        From 1 on, show how far each rung is, as the backend does; the rest as for `GridSearchCV`.
    random_state : int, RandomState instance or None, default=None
        Seed of the sampled candidates.
    error_score : "raise" or numeric, default=np.nan
        Score of a fit that fails. Candidates whose score is NaN never go on.
    return_train_score : bool, default=False
        Whether to score training rows as well.

    Attributes
    ----------
    cv_results_ : dict of arrays
        As of `HalvingGridSearchCV`: one row for every candidate at every rung, with the rung
        ``iter``, its epochs ``n_resources``, and the number ``candidate`` among all candidates.
    learning_curves_ : dict of arrays
        What was recorded after each epoch of each fit: ``candidate``, ``split``, ``epoch``, and the
        losses, scores and learning rates of the history by their names; NaN where there is none.
        A table for ``pandas.DataFrame``.
    best_estimator_ : estimator
        The best candidate of the last rung, fitted to all rows; or the ensemble. ``best_score_``,
        ``best_params_`` and ``best_index_`` are those of the best candidate in any case.
    best_score_ : float
        Its mean score over the folds.
    best_params_ : dict
        Its parameters.
    best_index_ : int
        Its row in ``cv_results_``.
    n_resources_ : list of int
        Epochs at which each rung ends.
    n_candidates_ : list of int
        Number of candidates at each rung.
    n_remaining_candidates_ : int
        Number of candidates that a further rung would have.
    n_iterations_, n_required_iterations_, n_possible_iterations_ : int
        Number of rungs; that which leaves fewer candidates than ``factor``; that which the epochs
        allow.
    min_resources_, max_resources_ : int
        Epochs of the first rung and of the last.
    scorer_, n_splits_, refit_time_, multimetric_, classes_, n_features_in_, feature_names_in_
        As of `GridSearchCV`.

    Raises
    ------
    ValueError
        If the parameters leave no rung, or no candidate has a score at the end of one.

    References
    ----------
    K. Jamieson, A. Talwalkar, "Non-stochastic best arm identification and hyperparameter
    optimization", AISTATS 2016.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sktorch import TorchClassifier
    >>> from sktorch.model_selection import HalvingSearchCV
    >>> X, y = load_iris(return_X_y=True)
    >>> search = HalvingSearchCV(
    ...     TorchClassifier(max_epochs=18, random_state=0),
    ...     {"lr": [0.1, 0.01, 0.001, 0.0001, 0.00001]},
    ... ).fit(X, y)
    >>> search.n_candidates_, search.n_resources_
    ([5, 2], [6, 18])
    """

    _is_for_ensemble = False  # of a search that is under way

    def __init__(
        self,
        estimator,
        param_distributions,
        *,
        n_candidates=None,
        factor=3,
        min_resources="exhaust",
        max_resources="auto",
        aggressive_elimination=False,
        scoring=None,
        n_jobs=None,
        refit=True,
        cv=None,
        verbose=0,
        random_state=None,
        error_score=np.nan,
        return_train_score=False,
    ):
        super().__init__(
            estimator,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.param_distributions = param_distributions
        self.n_candidates = n_candidates
        self.factor = factor
        self.min_resources = min_resources
        self.max_resources = max_resources
        self.aggressive_elimination = aggressive_elimination
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Search, and fit the best candidate to all rows.

        Parameters
        ----------
        X : array-like, DataFrame or whatever the estimator takes
            Training rows.
        y : array-like, default=None
            Targets.
        **params : dict
            Parameters for the estimator's ``fit``, the splitter and the scorer, as of
            `GridSearchCV`.

        Returns
        -------
        self : HalvingSearchCV
            The fitted search.
        """
        self._check_one_metric_decides()
        search = copy(self)
        if self.refit == "ensemble":
            search.refit, search._is_for_ensemble = False, True
        with as_one_program(self.verbose):
            search.n_jobs = two_at_least(self.n_jobs)
            try:
                super(HalvingSearchCV, search).fit(X, y, **params)
            except NoScores:
                if self.refit:
                    search._fit_for_an_epoch(X, y)
                raise
        if search._is_for_ensemble:
            search._fit_ensemble(X, y, params.get("sample_weight"))
        self.__dict__.update(vars(search) | self.get_params(deep=False))
        return self

    def _fit_for_an_epoch(self, X: Any, y: Any) -> None:
        """Fit a candidate to all rows, as a refit would: its error may say what is wrong."""
        model = clone(self.estimator).set_params(**self._sampled_candidates()[0])
        with PausedFits().training_until(1, is_last=True):
            joblib.Parallel()([joblib.delayed(model.fit)(X, y)])

    def _fit_ensemble(self, X: Any, y: Any, sample_weight: Any) -> None:
        """Make the ensemble of the models of the last rung, instead of a refit."""
        del self._is_for_ensemble
        models, test_indices = self._models, self._test_indices
        del self._models, self._test_indices
        watched: Any = vars(self)["scorer_"]
        self.scorer_ = watched.scorer
        start = perf_counter()
        self.best_estimator_ = ensemble_of(
            models,
            test_indices,
            X,
            y,
            scorer=None if self.scoring is None else self.scorer_,
            sample_weight=sample_weight,
            cv=self.cv,
        )
        self.refit_time_ = perf_counter() - start
        if hasattr(self.best_estimator_, "feature_names_in_"):
            self.feature_names_in_ = self.best_estimator_.feature_names_in_

    def _watched_scorer(self, scorer: Any) -> Any:
        return ModelLeavingScorer(scorer) if self._is_for_ensemble else scorer

    def _run_rungs(self, evaluate: Callable[..., Any], splitter: Any, context: Any) -> None:
        """Let the base class fit and score the candidates of each rung."""
        candidates = self._sampled_candidates()
        plan = self._plan(candidates)
        fits, curves, splitter = PausedFits(), LearningCurves(), SameSplits(splitter)
        left = [*range(len(candidates))]
        self.n_candidates_ = []
        search = context.subcontext(task_name="search", max_subtasks=len(plan.n_epochs))
        search.call_on_fit_task_begin(estimator=self)
        for number, n_epochs in enumerate(plan.n_epochs):
            self.n_candidates_.append(len(left))
            rung = search.subcontext(
                task_name="halving-iteration",
                max_subtasks=len(left) * self.n_splits_,
                sequential_subtasks=False,
            )
            rung.call_on_fit_task_begin(estimator=self)
            columns = {"iter": [number] * len(left), "n_resources": [n_epochs] * len(left)}
            is_last = number + 1 == len(plan.n_epochs)
            with fits.training_until(n_epochs, is_last=is_last):
                results = evaluate(
                    [candidates[candidate] for candidate in left],
                    splitter,
                    more_results=columns | {"candidate": left},
                    callback_ctx=rung,
                )
            rung.call_on_fit_task_end(estimator=self)
            for task, histories in fits.histories():
                position, split = divmod(task, self.n_splits_)
                curves.set(left[position], split, histories)
            n_best = 1 if is_last else plan.n_candidates[number + 1]
            best = self._best(results, len(left), n_best)
            if not is_last:
                _check_has_paused(fits, self.estimator)
                fits.keep([p * self.n_splits_ + s for p in best for s in range(self.n_splits_)])
                left = [left[position] for position in best]
        search.call_on_fit_task_end(estimator=self)
        if self._is_for_ensemble:
            self._models = by_candidate(fits.left, self.n_candidates_[-1], self.n_splits_)
            self._test_indices = [test for _, test in splitter.splits]
        self._describe(plan, len(left), curves)

    def _describe(self, plan: RungPlan, n_left: int, curves: LearningCurves) -> None:
        """Set the attributes that tell how the search went."""
        self.n_iterations_, self.n_resources_ = len(plan.n_epochs), plan.n_epochs
        self.n_required_iterations_, self.n_possible_iterations_ = plan.n_required, plan.n_possible
        self.n_remaining_candidates_ = ceil(n_left / self.factor)
        self.min_resources_ = plan.n_epochs[0]
        self.learning_curves_ = curves.table()

    def _sampled_candidates(self) -> list[dict[str, Any]]:
        """Return the candidates: the whole grid, or as many as asked for."""
        space = self.param_distributions
        if self.n_candidates is not None:
            if not isinstance(self.n_candidates, Integral) or self.n_candidates < 1:
                raise ValueError(
                    f"n_candidates={self.n_candidates!r} must be a positive integer, or None for "
                    "the whole grid."
                )
            return [*ParameterSampler(space, self.n_candidates, random_state=self.random_state)]
        try:
            return [*ParameterGrid(space)]
        except TypeError as error:
            raise TypeError(
                f"n_candidates=None takes the whole grid of param_distributions, but {error} Set "
                "n_candidates to sample from distributions."
            ) from error

    def _plan(self, candidates: list[dict[str, Any]]) -> RungPlan:
        self.max_resources_ = self._max_epochs(candidates)
        least = self.min_resources
        is_number = isinstance(least, Integral) and int(least) > 0
        if not is_number and least not in ("exhaust", "max"):
            raise ValueError(
                f"min_resources={least!r} must be a positive number of epochs, 'exhaust' or 'max'."
            )
        if is_number and int(least) > self.max_resources_:
            raise ValueError(
                f"min_resources={least} is more than the {self.max_resources_} epochs "
                "of the last rung. Lower it, or raise the estimator's max_epochs."
            )
        if not isinstance(self.factor, Real) or self.factor <= 1:
            raise ValueError(f"factor={self.factor!r} must be a number above 1.")
        return plan_rungs(
            len(candidates),
            float(self.factor),
            self.min_resources,
            self.max_resources_,
            aggressive=self.aggressive_elimination,
        )

    def _max_epochs(self, candidates: list[dict[str, Any]]) -> int:
        """Return the epochs of the last rung."""
        if self.max_resources != "auto":
            if not isinstance(self.max_resources, Integral) or self.max_resources < 1:
                raise ValueError(
                    f"max_resources={self.max_resources!r} must be a positive number of epochs, or "
                    "'auto' for the estimator's max_epochs."
                )
            return int(self.max_resources)
        found = [*values_of_max_epochs(self.estimator.get_params())]
        for candidate in candidates:
            found += values_of_max_epochs(candidate)
        if not found and self.min_resources != "max":
            raise ValueError(
                f"{type(self.estimator).__name__} has no parameter max_epochs, so its fits can't "
                "pause. Search an estimator of sktorch, or a pipeline with one, or set "
                "min_resources='max' to train all candidates in full."
            )
        return max([*found, 1])  # An untrained net, of max_epochs=0, has one rung, too.

    def _check_one_metric_decides(self) -> None:
        several = isinstance(self.scoring, list | tuple | set | dict)
        if several and (not isinstance(self.refit, str) or self.refit == "ensemble"):
            raise ValueError(
                f"scoring={self.scoring!r} has several metrics, and one has to decide which "
                f"candidates go on. Set refit (now {self.refit!r}) to its name, or scoring to it."
            )

    def _best(self, results: dict[str, Any], n_candidates: int, n_best: int) -> list[int]:
        """Return the positions of the best candidates of the rung that ended last, in order.

        Of equal ones the first; none without a score.
        """
        name = "score" if "mean_test_score" in results else self.refit
        if f"mean_test_{name}" not in results:
            raise ValueError(
                f"refit={self.refit!r} does not name the metric that decides which candidates go "
                "on. With several metrics, set refit to the name of one."
            )
        scores = results[f"mean_test_{name}"][-n_candidates:]
        scored = np.flatnonzero(~np.isnan(scores))
        if not len(scored):
            raise NoScores(
                f"None of {n_candidates} candidates has a score after {results['n_resources'][-1]} "
                "epochs, so none can go on or win. error_score='raise' shows why."
            )
        best = scored[np.argsort(-scores[scored], kind="stable")[:n_best]]
        return sorted(best.tolist())


class SameSplits:
    """A splitter that draws the folds once: every rung has those of the first."""

    def __init__(self, splitter: Any) -> None:
        self._splitter = splitter
        self.splits: list[tuple[Any, Any]] = []

    def split(self, X: Any, y: Any = None, **params: Any) -> list[tuple[Any, Any]]:
        """Return the rows of each fold, to train and to test on."""
        self.splits = self.splits or [*self._splitter.split(X, y, **params)]
        return self.splits


def _check_has_paused(fits: PausedFits, estimator: Any) -> None:
    if not fits:
        raise ValueError(
            f"No fit of {type(estimator).__name__} has paused: it trained no estimator of sktorch "
            "within its own thread. Set min_resources='max' to train all candidates in full."
        )
