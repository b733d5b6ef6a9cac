"""The features of X, as scikit-learn's rules want them remembered and compared."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from sktorch.data.source import Shape, Source, n_inputs


def check_features(estimator: BaseEstimator, source: Source, *, reset: bool) -> None:
    """Set the estimator's number of features, their names and the shape, or compare with them."""
    if source.has_features:
        _check_columns(estimator, source.given, reset)
    elif reset:
        for name in ("n_features_in_", "feature_names_in_"):
            vars(estimator).pop(name, None)
    if reset:
        estimator.cardinalities_ = source.cardinalities
        estimator.input_shape_ = source.shape
    elif source.shape != estimator.input_shape_:
        _compare_shapes(source.shape, estimator)


def _check_columns(estimator: BaseEstimator, X: Any, reset: bool) -> None:
    """Set the estimator's number of columns and their names, or compare with them."""
    if type(X) is np.ndarray and not hasattr(estimator, "feature_names_in_"):
        # There are no names, for which scikit-learn would look for tens of microseconds.
        if reset:
            estimator.n_features_in_ = X.shape[1]
        if getattr(estimator, "n_features_in_", None) == X.shape[1]:
            return
    validate_data(estimator, X, reset=reset, skip_check_array=True)


def _compare_shapes(shape: Shape, estimator: BaseEstimator) -> None:
    """Raise if samples of a shape have another structure than those that were fitted."""
    name, fitted = type(estimator).__name__, estimator.input_shape_
    if isinstance(shape, dict) and isinstance(fitted, dict) and shape.keys() != fitted.keys():
        raise ValueError(
            f"X is a dict with the entries {list(shape)}, but {name} was fitted on {list(fitted)}. "
            "Change the entries of X."
        )
    if _structure(shape) != _structure(fitted):
        raise ValueError(
            f"X has samples of shape {shape}, but {name} was fitted on samples of shape {fitted}. "
            "Reshape X."
        )


def _structure(shape: Shape) -> Any:
    """Return what two samples' shapes must share: their structure, or number of dimensions."""
    if isinstance(shape, dict) or n_inputs(shape) > 1:
        return dict if isinstance(shape, dict) else n_inputs(shape)
    return shape[:1] == (None,), len(shape)
