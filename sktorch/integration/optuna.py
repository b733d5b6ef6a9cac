"""Optuna's trials, several at once, as one program.

Importing this module imports optuna: install the extra "optuna".
"""

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from functools import partial
from numbers import Integral
from typing import Any

import joblib
from sklearn.base import clone, is_classifier
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import check_cv, cross_validate

from sktorch._divergence import DivergenceError
from sktorch._rungs import PausedFits, values_of_max_epochs
from sktorch.fused.backend import as_one_program, two_at_least

try:
    import optuna
    from optuna.trial import TrialState
except ImportError as error:
    raise ImportError(
        f"sktorch.integration.optuna needs optuna, which can't be imported: {error}. "
        "Install it: pip install 'sktorch[optuna]'."
    ) from error

Trials = dict[optuna.Trial, Any]  # that run, with their estimators


def optimize(
    study: optuna.Study,
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    distributions: dict[str, optuna.distributions.BaseDistribution] | None = None,
    n_trials: int = 100,
    n_at_once: int = 10,
    cv: Any = None,
    scoring: Any = None,
    params: dict[str, Any] | None = None,
    prune: bool | Iterable[int] = True,
) -> None:
    """Let a study of Optuna try parameters, several trials at once as one program.

    A trial is a cross-validation, and its value the mean of the scores. ``n_at_once`` trials are
    asked for, trained side by side under the joblib backend "sktorch", and told to the study;
    then the next ones are asked for. Where the study's pruner is to decide, the fits pause after
    some epochs: the mean score of each trial is reported, those that the pruner gives up end on all
    folds, and the others go on where they were. All calls of the study come from this thread.

    Parameters
    ----------
    study : optuna.Study
        A study with one objective and ``direction="maximize"``, as scikit-learn's scores are better
        if they are higher.
    estimator : estimator object or function
        The estimator whose parameters are searched, with ``distributions``; or a function of a
        trial that returns an estimator.
    X : array-like, DataFrame or whatever the estimator takes
        Rows.
    y : array-like, default=None
        Targets.
    distributions : dict, default=None
        Names of the estimator's parameters with distributions of `optuna.distributions`.
    n_trials : int, default=100
        Number of trials.
    n_at_once : int, default=10
        Number of trials that train side by side. A sampler that learns knows nothing of the results
        of trials beside it: more at once are faster, and learn less.
    cv : int, cross-validation generator or iterable, default=None
        As for :func:`sklearn.model_selection.cross_validate`. All trials have the same folds.
    scoring : str or callable, default=None
        As for `cross_validate`, a single score.
    params : dict, default=None
        Parameters for the estimator's ``fit``, the splitter and the scorer, as of `cross_validate`.
    prune : bool or iterable of int, default=True
        After which epochs the score is reported and the pruner asked. True is after 4, 16, 64, …
        epochs, False never. Estimators without epochs are not pruned.

    Raises
    ------
    ValueError
        If the study does not maximize one objective, or all trials fail.

    Warns
    -----
    FitFailedWarning
        If some trials fail.

    Notes
    -----
    A trial whose fit raises an error, or whose score is NaN, ends as ``FAIL``, with the error in
    its user attribute "error"; samplers ignore it. One whose training diverges ends as ``PRUNED``,
    from which samplers learn to keep away. If the search is broken off, by Ctrl-C or by an error
    of ``estimator``, trials that run end as ``FAIL``.

    A pruner that compares trials, as `MedianPruner`, knows those of earlier rounds and, of those
    beside, the ones that have reported: rounds of ten leave it little to do in the first.
    `GridSampler` can't be told its last trial this way; search a grid by `GridSearchCV`.

    Examples
    --------
    >>> import optuna
    >>> from sklearn.datasets import load_iris
    >>> from sktorch import TorchClassifier
    >>> from sktorch.integration.optuna import optimize
    >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
    >>> def make_net(trial):
    ...     width = trial.suggest_int("width", 4, 64, log=True)
    ...     lr = trial.suggest_float("lr", 1e-3, 1e-1, log=True)
    ...     return TorchClassifier(module__hidden=(width,), lr=lr, max_epochs=10, random_state=0)
    >>> study = optuna.create_study(
    ...     direction="maximize", sampler=optuna.samplers.TPESampler(seed=0)
    ... )
    >>> optimize(study, make_net, *load_iris(return_X_y=True), n_trials=6, n_at_once=3)
    >>> study.best_value > 0.8
    True
    """
    _check(study, estimator, distributions, scoring, n_trials=n_trials, n_at_once=n_at_once)
    epochs = _epochs(prune)
    splits: list = []
    errors: list[Exception] = []
    # One `Parallel`: it keeps what it has recorded.
    with as_one_program(here=True), joblib.Parallel(two_at_least(None)) as parallel:
        for n_asked in range(0, n_trials, n_at_once):
            running: Trials = {}
            try:
                for _ in range(min(n_at_once, n_trials - n_asked)):
                    _ask(study, running, estimator, distributions)
                models = [*running.values()]
                splits = splits or _splits(cv, models, X, y, (params or {}).get("groups"))
                options = {"cv": splits, "scoring": scoring, "params": params}
                score = joblib.delayed(partial(_mean_score, X=X, y=y, **options))
                errors += _train(study, running, parallel, score, _rungs(epochs, models))
            finally:
                for trial in running:
                    study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
    _tell_user(errors, n_trials)


def _check(
    study: optuna.Study, estimator: Any, distributions: Any, scoring: Any, **counts: Any
) -> None:
    """Raise if the study has another objective, or there is nothing to search."""
    if study.directions != [optuna.study.StudyDirection.MAXIMIZE]:
        names = [direction.name.lower() for direction in study.directions]
        raise ValueError(
            f"The study has the directions {names}, and scikit-learn's scores are better if they "
            "are higher. Make it with optuna.create_study(direction='maximize')."
        )
    if not distributions and not _is_function(estimator):
        raise ValueError(
            "There is nothing to search. Pass distributions of the estimator's parameters, or a "
            "function of a trial that returns an estimator."
        )
    if isinstance(scoring, list | tuple | set | dict):
        raise ValueError(
            f"scoring={scoring!r} has several metrics, and the study has one objective. Set "
            "scoring to one of them."
        )
    for name, value in counts.items():
        if not isinstance(value, Integral) or value < 1:
            raise ValueError(f"{name}={value!r} must be a positive integer. Change {name}.")


def _is_function(estimator: Any) -> bool:
    return callable(estimator) and not hasattr(estimator, "fit")


def _ask(study: optuna.Study, running: Trials, estimator: Any, distributions: Any) -> None:
    """Ask for one more trial, and add it to those that run, with its estimator."""
    trial = study.ask(distributions)
    running[trial] = None  # It has to be told, even if its estimator can't be made.
    try:
        if _is_function(estimator):
            running[trial] = estimator(trial)
        else:
            running[trial] = clone(estimator).set_params(**trial.params)
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
        del running[trial]


def _splits(cv: Any, models: Sequence[Any], X: Any, y: Any, groups: Any) -> list:
    """Return the folds; none before there is an estimator."""
    if not models:
        return []
    return [*check_cv(cv, y, classifier=is_classifier(models[0])).split(X, y, groups)]


def _epochs(prune: bool | Iterable[int]) -> list[int]:
    """Return the epochs after which to ask the pruner, however many there will be."""
    if isinstance(prune, bool):
        # Fewer tell too little to end a trial; more pauses cost more than they save in small nets.
        return [4**power for power in range(1, 16)] if prune else []
    epochs = [*prune]
    if not all(isinstance(epoch, Integral) and epoch > 0 for epoch in epochs):
        raise ValueError(
            f"prune={prune!r} must be True, False or numbers of epochs above zero. Change prune."
        )
    return epochs


def _rungs(epochs: Sequence[int], models: Sequence[Any]) -> Sequence[int | None]:
    """Return the epochs after which fits pause, and the last; None for fits that never pause."""
    max_epochs = (n for model in models for n in values_of_max_epochs(model.get_params()))
    last = max(max_epochs, default=0)
    if not epochs or not last:
        return [None]
    return [*sorted({epoch for epoch in epochs if epoch < last}), last]


def _mean_score(model: Any, **options: Any) -> float | Exception:
    """Return the mean score of the folds, or the error of one."""
    try:
        score = float(cross_validate(model, error_score="raise", **options)["test_score"].mean())
    except Exception as error:
        return error
    return ValueError("The score is NaN.") if math.isnan(score) else score


def _train(
    study: optuna.Study,
    running: Trials,
    parallel: Callable,
    score: Callable,
    rungs: Sequence[int | None],
) -> list[Exception]:
    """Train the trials that run, rung by rung; return the errors of those that failed.

    Each one that ends is told to the study, and runs no longer.
    """
    fits, errors = PausedFits(), []
    for n_epochs in rungs:
        trials = [*running]
        is_last = n_epochs == rungs[-1]
        with nullcontext() if n_epochs is None else fits.training_until(n_epochs, is_last=is_last):
            scores = parallel(map(score, running.values()))
        is_last = is_last or not fits  # None has paused: these are the scores of full trainings.
        for trial, value in zip(trials, scores, strict=True):
            if _has_ended(study, trial, value, n_epochs, is_last):
                del running[trial]
        fits.keep([number for number, trial in enumerate(trials) if trial in running])
        errors += [value for value in scores if isinstance(value, Exception)]
        if not running:
            break
    return errors


def _has_ended(
    study: optuna.Study,
    trial: optuna.Trial,
    score: float | Exception,
    n_epochs: int | None,
    is_last: bool,
) -> bool:
    """Report a score after some epochs; tell the study, and return True, if it is the last."""
    if isinstance(score, Exception):
        trial.set_user_attr("error", f"{type(score).__name__}: {score}")
        diverged = isinstance(score, DivergenceError)
        study.tell(trial, state=TrialState.PRUNED if diverged else TrialState.FAIL)
        return True
    if n_epochs is not None:
        trial.report(score, n_epochs)
    if is_last:
        study.tell(trial, score)
        return True
    if trial.should_prune():
        study.tell(trial, state=TrialState.PRUNED)
        return True
    return False


def _tell_user(errors: Sequence[Exception], n_trials: int) -> None:
    """Raise if all trials failed, warn if some did."""
    failed = [error for error in errors if not isinstance(error, DivergenceError)]
    if len(errors) == n_trials:
        raise ValueError(
            f"All {n_trials} trials failed, the first with {type(errors[0]).__name__}: {errors[0]}"
        ) from errors[0]
    if failed:
        warnings.warn(
            f"{len(failed)} of {n_trials} trials failed, the first with "
            f"{type(failed[0]).__name__}: {failed[0]} The study keeps each error in the user "
            "attribute 'error' of its trial.",
            FitFailedWarning,
            stacklevel=3,
        )
