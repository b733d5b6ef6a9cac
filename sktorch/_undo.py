"""Undo a fit that fails or is interrupted: the estimator and its net are as they were before."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

from sklearn.base import BaseEstimator

from sktorch._net import Net
from sktorch.training.interrupts import undone_on_failure


def fitted_or_unchanged(
    estimator: BaseEstimator, fit: Callable[[], object], *, resume: bool
) -> None:
    """Fit an estimator, with ``resume`` further; if that fails, nothing has changed."""
    fitted = partial(undone_on_failure, _undoing_attributes(estimator), fit)
    if resume:  # The net is trained in place.
        undone_on_failure(_undoing_training(estimator.net_), fitted)
    else:
        fitted()


def _undoing_attributes(estimator: BaseEstimator) -> Callable[[], None]:
    """Return a function that gives an estimator the fitted attributes that it has now."""
    before = _fitted_attributes(estimator)

    def undo() -> None:
        estimator.__dict__.update(before)
        for name in _fitted_attributes(estimator).keys() - before.keys():
            delattr(estimator, name)

    return undo


def _undoing_training(net: Net) -> Callable[[], None]:
    """Return a function that brings module, optimizer, history and random numbers back."""
    before = net.__dict__.copy() | {"bests_": net.bests_.copy(), "stream_": copy.copy(net.stream_)}
    module_state = copy.deepcopy(net.module_.state_dict())
    optimizer_state = copy.deepcopy(net.optimizer_.state_dict())
    n_epochs = len(net.history)

    def undo() -> None:
        net.__dict__.update(before)
        for name in net.__dict__.keys() - before.keys():
            delattr(net, name)
        net.module_.load_state_dict(module_state)
        net.module_.eval()
        net.optimizer_.load_state_dict(optimizer_state)
        del net.history[n_epochs:]

    return undo


def _fitted_attributes(estimator: BaseEstimator) -> dict[str, Any]:
    return {name: value for name, value in vars(estimator).items() if name.endswith("_")}
