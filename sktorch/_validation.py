"""Rows to validate on: given to ``fit`` or to the estimator, held out, or chosen by a splitter."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch.utils.data import Dataset

from sktorch._errors import errors_name
from sktorch._part import Part
from sktorch.data.splitting import hold_out, split_by
from sktorch.training.randomness import RandomStream


def arguments_of_validation(
    estimator: BaseEstimator, X_val: Any, y_val: Any, sample_weight_val: Any
) -> dict[str, Any]:
    """Return the arguments of ``fit`` that are rows to validate on by name; none if none is given.

    Raise if they are not complete, or the estimator has other rows to validate on.
    """
    given = {"X_val": X_val, "y_val": y_val, "sample_weight_val": sample_weight_val}
    names = [name for name, value in given.items() if value is not None]
    if not names:
        return {}
    if estimator.validation is not None:
        raise ValueError(
            f"{' and '.join(names)} and the parameter validation are both given, and both say what "
            "to validate on. Set validation=None, or leave out the arguments of fit."
        )
    if X_val is None:
        raise ValueError(f"{' and '.join(names)} given without X_val. Pass X_val, too.")
    holds_targets = isinstance(X_val, Dataset) or estimator._without_target()
    if y_val is None and not holds_targets:
        raise ValueError(
            "X_val is given without y_val. Pass y_val, too; only a dataset may hold its targets."
        )
    return {name: given[name] for name in dict.fromkeys(["X_val", "y_val", *names])}


def split(
    estimator: BaseEstimator,
    data: Part,
    sample_weight: Any,
    groups: Any,
    arguments: Mapping[str, Any],
    seed: int,
) -> tuple[Part, Part | None]:
    """Return the rows to train on, and those to validate on: given, held out, or None."""
    requested, strata = estimator.validation, estimator.codec_.strata(data.y)
    if arguments:
        return data.normalised(), _given(estimator, arguments, " and ".join(arguments), seed)
    if requested is None and not estimator.early_stopping:
        return data.normalised(), None
    if isinstance(requested, tuple | Dataset):
        given = requested if isinstance(requested, tuple) else (requested,)
        rows = dict(zip(("X_val", "y_val", "sample_weight_val"), given, strict=False))
        return data.normalised(), _given(estimator, rows, "validation", seed)
    if not data.source.is_indexable:
        raise ValueError(
            "An IterableDataset can't be split. Pass the rows to validate on as "
            "validation=(X_val, y_val) or as a dataset, or set early_stopping=False."
        )
    if requested is None:
        fraction = estimator.validation_fraction
        train, valid = hold_out(data.index, strata, fraction, seed, groups)
    else:
        y = estimator.codec_.decode(data.y) if strata is None else strata
        # A splitter without a random_state draws global numbers.
        stream = RandomStream(seed, torch.device("cpu"))
        train, valid = stream.run(split_by, requested, data.index, y, groups)
    # Weights of classes, too, are those of the training rows.
    counted = np.isin(np.arange(len(data.y)), train)
    data = replace(data, weights=estimator._row_weights(data.y, sample_weight, counted))
    return replace(data, index=train).normalised(), replace(data, index=valid).normalised()


def _given(estimator: BaseEstimator, rows: Mapping[str, Any], name: str, seed: int) -> Part:
    """Return the rows that were given to validate on; errors name the parameter or arguments."""
    with errors_name(name):
        return estimator._check_data(*rows.values(), seed=seed).normalised()
