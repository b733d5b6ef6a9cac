"""X as scikit-learn's rules want it: checked, counted, its names remembered."""

import torch
from sklearn.utils.validation import validate_data


def check_X(estimator, X, *, reset):
    """Check X and set, or compare with, the estimator's ``n_features_in_``, names and shape.

    Parameters
    ----------
    estimator : estimator
    X : array-like, sparse matrix, DataFrame or torch.Tensor of shape (n_samples, ...)
    reset : bool
        Whether to set the features anew (``fit``) or to compare with them.

    Returns
    -------
    X : ndarray, csr array or torch.Tensor
        Not copied where it already is one; memory maps stay memory maps.

    Raises
    ------
    ValueError
        For no rows, NaN or infinity, fewer than two dimensions, or features other than in ``fit``.
    """
    if isinstance(X, torch.Tensor):
        _check_tensor(X, estimator)
        validate_data(estimator, X, reset=reset, skip_check_array=True)
    else:
        X = validate_data(
            estimator, X, reset=reset, accept_sparse="csr", allow_nd=True, dtype="numeric"
        )
    shape = tuple(X.shape[1:])
    if reset:
        estimator.input_shape_ = shape
    elif len(shape) != len(estimator.input_shape_):
        raise ValueError(
            f"X has samples of shape {shape}, but {type(estimator).__name__} was fitted on "
            f"samples of shape {estimator.input_shape_}. Reshape X."
        )
    return X


def _check_tensor(X, estimator):
    name = type(estimator).__name__
    if X.layout is not torch.strided:
        raise TypeError(
            f"X is a torch tensor of layout {X.layout}; {name} expects a dense tensor or a "
            "scipy sparse array. Pass X.to_dense()."
        )
    if X.ndim < 2:
        raise ValueError(
            f"Expected 2D array, got {X.ndim}D tensor of shape {tuple(X.shape)} instead. "
            "Reshape X to (n_samples, n_features)."
        )
    if 0 in X.shape:
        raise ValueError(
            f"Found array with {X.shape[0]} sample(s) and shape {tuple(X.shape)} while a minimum "
            f"of 1 in every dimension is required by {name}."
        )
    if X.is_complex():
        raise ValueError(f"Complex data not supported: X has dtype {X.dtype}.")
    if X.is_floating_point() and not torch.isfinite(X).all():
        raise ValueError(
            f"Input X contains NaN or infinity. {name} does not accept missing values; impute or "
            "drop them first."
        )
