"""Train at many learning rates side by side, and suggest one of them."""

import math
from collections.abc import Iterable
from math import ceil
from numbers import Integral
from typing import Any

import joblib
import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils import check_consistent_length
from sklearn.utils.multiclass import type_of_target

from sktorch._divergence import DivergenceError
from sktorch._estimator import TorchEstimator
from sktorch._parameters import check_parameters
from sktorch._private.scikit_learn import rows_of
from sktorch._seed import resolve_seed
from sktorch.data.splitting import hold_out
from sktorch.fused.backend import as_one_program
from sktorch.model_selection._learning_rate_curves import LearningRateSweep

# Of several numbers of steps and rules, these came closest to the best rate of full trainings, on
# nine pairs of data and net: `performance.md` holds the figures.
N_STEPS = 60
FRACTION = 0.2


def learning_rate_sweep(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    lrs: Iterable[float] | None = None,
    n_epochs: int | None = None,
    validation_fraction: float = 0.2,
    sample_weight: Any = None,
    random_state: Any = None,
) -> LearningRateSweep:
    """Train for a few epochs at many learning rates, side by side, and suggest one.

    Every training begins with the same weights and sees the same batches, at a constant rate. It is
    judged on rows that are held out. All of them are one program under the joblib backend
    "sktorch".

    The suggestion is a fifth of the rate with the lowest validation loss after the last epoch, as
    a mean of itself and its two neighbours: a lucky rate does not win, nor one beside a divergence.
    Trainings longer than those of the sweep do best at lower rates.

    Parameters
    ----------
    estimator : TorchClassifier, TorchRegressor, or Pipeline
        The estimator, or a pipeline that ends in one, whose other steps are fitted once, on the
        rows to train on. It stays as it is. Its ``lr_schedule``, ``early_stopping``,
        ``validation``, ``scoring`` and ``checkpoint`` have no part in the sweep; its ``callbacks``
        have. Groups of ``optimizer__param_groups`` keep their ``lr_factor``, and their ``lr`` if
        they have one.
    X : array-like, DataFrame or sparse matrix of shape (n_samples, ...)
        Rows.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Targets.
    lrs : array-like of float, default=None
        The learning rates. None for 32 from 1e-5 to 1, evenly spaced on a logarithmic scale.
    n_epochs : int, default=None
        Number of epochs of each training. None for as many as make 60 steps of the optimizer.
    validation_fraction : float, default=0.2
        Share of the rows to hold out; of classes in the same proportions.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows, in training and in the validation loss.
    random_state : int, RandomState instance or None, default=None
        Seed of the rows held out; of the trainings, too, if the estimator's is None.

    Returns
    -------
    sweep : LearningRateSweep
        The losses and the suggestion.

    Raises
    ------
    TypeError
        If the estimator is no other than those above.
    ValueError
        If the trainings diverge at all learning rates.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sktorch import TorchClassifier
    >>> from sktorch.model_selection import learning_rate_sweep
    >>> X, y = load_iris(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), TorchClassifier(random_state=0))
    >>> sweep = learning_rate_sweep(model, X, y, random_state=0)
    >>> bool(1e-3 < sweep.suggestion < 0.1)
    True
    >>> model.set_params(**{sweep.parameter: sweep.suggestion}).fit(X, y).score(X, y) > 0.95
    True
    """
    rates = _checked_rates(lrs)
    if y is None:
        raise ValueError("learning_rate_sweep requires y to be passed, but the target y is None.")
    check_consistent_length(X, y, sample_weight)
    seed = resolve_seed(random_state)
    rows = hold_out(np.arange(len(y)), _strata(estimator, y), validation_fraction, seed)
    (X_train, y_train, weights), valid = (_take(part, X, y, sample_weight) for part in rows)
    parameter, net, X_train, X_valid = _net_and_inputs(estimator, X_train, y_train, valid[0])
    if n_epochs is not None and (not isinstance(n_epochs, Integral) or n_epochs < 1):
        raise ValueError(f"n_epochs={n_epochs!r} must be a positive integer. Change n_epochs.")
    if n_epochs is None:
        n_steps = ceil(len(y_train) / (net.batch_size * net.gradient_accumulation))
        n_epochs = ceil(N_STEPS / n_steps)
    net = _plain(net, n_epochs, seed).set_params(
        validation=(X_valid, *valid[1 : 2 if sample_weight is None else 3])
    )
    with as_one_program():
        histories = joblib.Parallel()(
            joblib.delayed(_losses)(clone(net).set_params(lr=lr), X_train, y_train, weights)
            for lr in rates.tolist()
        )
    losses = np.array(histories).transpose(2, 0, 1)
    suggestion = _suggestion(rates, losses[1, :, -1])
    return LearningRateSweep(rates, losses[0], losses[1], suggestion, parameter)


def _checked_rates(lrs: Iterable[float] | None) -> np.ndarray:
    """Return the learning rates, ascending."""
    if lrs is None:
        return np.geomspace(1e-5, 1, 32)
    rates = np.unique(np.array([*lrs], dtype=float))
    if not rates.size or not (np.isfinite(rates) & (rates > 0)).all():
        raise ValueError(f"lrs={lrs!r} must be positive numbers, at least one. Change lrs.")
    return rates


def _strata(estimator: Any, y: Any) -> np.ndarray | None:
    """Return the classes of rows as codes; None where rows have none, or several."""
    if not is_classifier(estimator) or type_of_target(y) not in ("binary", "multiclass"):
        return None
    return np.unique(np.ravel(np.asarray(y)), return_inverse=True)[1]


def _take(index: np.ndarray, *values: Any) -> tuple[Any, ...]:
    return tuple(None if value is None else rows_of(value, index) for value in values)


def _net_and_inputs(
    estimator: Any, X_train: Any, y_train: Any, X_valid: Any, prefix: str = ""
) -> tuple[str, TorchEstimator, Any, Any]:
    """Return the name of the learning rate, the estimator that has it, and rows as it gets them."""
    if isinstance(estimator, TorchEstimator):
        check_parameters(estimator)
        return f"{prefix}lr", estimator, X_train, X_valid
    if not isinstance(estimator, Pipeline):
        raise TypeError(
            "learning_rate_sweep takes a TorchClassifier, a TorchRegressor, or a pipeline that "
            f"ends in one, got {estimator!r}. Pass the estimator whose lr is to be found."
        )
    if len(estimator) > 1:
        front = clone(estimator[:-1])
        X_train, X_valid = front.fit_transform(X_train, y_train), front.transform(X_valid)
    name, last = estimator.steps[-1]
    return _net_and_inputs(last, X_train, y_train, X_valid, f"{prefix}{name}__")


def _plain(net: TorchEstimator, n_epochs: int, seed: int) -> TorchEstimator:
    """Return a net that trains for some epochs at its learning rate, whatever happens."""
    net = clone(net)
    if "lr" in net._component_parameters("optimizer"):
        raise ValueError(
            f"optimizer__lr={net.optimizer__lr} takes the place of lr, so that all rates would be "
            "one. Set lr instead."
        )
    for name in net._component_parameters("lr_schedule"):
        delattr(net, f"lr_schedule__{name}")
    given = net.random_state
    return net.set_params(
        **dict.fromkeys(("lr_schedule", "scoring", "monitor", "checkpoint")),
        **dict.fromkeys(("early_stopping", "warm_start", "verbose"), False),
        max_epochs=n_epochs,
        n_iter_no_change=math.inf,
        random_state=seed if given is None else resolve_seed(given),
    )


def _losses(net: TorchEstimator, X: Any, y: Any, weights: Any) -> list[tuple[float, float]]:
    """Return the losses of training and validation in each epoch: NaN once they are not finite.

    A training that a callback has ended keeps its last ones.
    """
    try:
        net.fit(X, y, **({} if weights is None else {"sample_weight": weights}))
        history, diverged = net.history_, False
    except DivergenceError as error:
        history, diverged = error.history, True
    names = ("train_loss", "valid_loss")
    rows = [tuple(row.get(name, math.nan) for name in names) for row in history]
    further = (math.nan, math.nan) if diverged else rows[-1]
    return rows + [further] * (net.max_epochs - len(rows))


def _suggestion(lrs: np.ndarray, losses: np.ndarray) -> float:
    """Return the learning rate to begin with, by the validation loss of each."""
    if np.isnan(losses).all():
        raise ValueError(
            f"The training diverges at all learning rates from {lrs[0]:.2g} to {lrs[-1]:.2g}: its "
            "loss is not finite. Try smaller lrs, scale X (StandardScaler), or clip gradients "
            "(gradient_clip=1.0)."
        )
    padded = np.pad(np.nan_to_num(losses, nan=math.inf), 1, mode="edge")
    means = (padded[:-2] + padded[1:-1] + padded[2:]) / 3
    best = np.argmin(means) if np.isfinite(means).any() else np.nanargmin(losses)
    return float(lrs[best] * FRACTION)
