"""Targets and weights of any container as numpy arrays."""

from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.utils import assert_all_finite, check_array, check_consistent_length

from sktorch._errors import check_tensor_kind


def as_numpy(values: Any) -> Any:
    """Return a tensor as an ndarray and anything else as it is."""
    if not isinstance(values, torch.Tensor):
        return values
    check_tensor_kind(values)
    return values.detach().cpu().numpy()


def is_nested(values: Any) -> bool:
    """Return whether values are a list or tuple of several others."""
    return isinstance(values, list | tuple) and len(values) > 0 and np.ndim(values[0]) > 0


def is_label_matrix(y: Any) -> bool:
    """Return whether y holds more than one label a row."""
    shape: tuple[int, ...] = y.shape if hasattr(y, "shape") else np.shape(y) if is_nested(y) else ()
    return len(shape) == 2 and shape[1] > 1


def as_matrix(y: Any) -> np.ndarray:
    """Return a matrix of any container as a dense ndarray."""
    y = y.toarray() if sparse.issparse(y) else as_numpy(y)
    return check_array(y, dtype=None, ensure_all_finite=False, input_name="y")


def check_matrix(y: Any, X: Any) -> np.ndarray:
    """Return a matrix as a dense ndarray; raise for NaN or other rows than X's."""
    y = as_matrix(y)
    assert_all_finite(y, input_name="y")
    check_consistent_length(X, y)
    return y
