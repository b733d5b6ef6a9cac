"""X as scikit-learn's rules want it: checked, counted, its names remembered."""

import torch
from scipy.sparse import issparse
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.validation import validate_data

from sktorch.data.structure import each


def check_X(estimator, X, *, reset):
    """Check X and set, or compare with, the estimator's ``n_features_in_``, names and shape.

    Parameters
    ----------
    estimator : estimator
    X : array-like, sparse matrix, DataFrame or torch.Tensor of shape (n_samples, ...)
        Or a dict of them, named like the arguments of the module's ``forward``.
    reset : bool
        Whether to set the features anew (``fit``) or to compare with them.

    Returns
    -------
    X : ndarray, csr array, torch.Tensor or SliceDict
        Not copied where it already is one; memory maps stay memory maps.

    Raises
    ------
    ValueError
        For no rows, NaN or infinity, fewer than two dimensions, or features other than in ``fit``.
    """
    if isinstance(X, dict) and not issparse(X):  # scipy's dok arrays are dicts, too
        X = _check_dict(X, estimator, reset)
    elif isinstance(X, torch.Tensor):
        _check_tensor(X, estimator)
        validate_data(estimator, X, reset=reset, skip_check_array=True)
    else:
        X = validate_data(
            estimator, X, reset=reset, accept_sparse="csr", allow_nd=True, dtype="numeric"
        )
    shape = sample_shape(X)
    if reset:
        estimator.input_shape_ = shape
    elif type(shape) is not type(estimator.input_shape_) or len(shape) != len(
        estimator.input_shape_
    ):
        raise ValueError(
            f"X has samples of shape {shape}, but {type(estimator).__name__} was fitted on "
            f"samples of shape {estimator.input_shape_}. Reshape X."
        )
    return X


def sample_shape(X):
    """Shape of one sample: a tuple, or a dict of them."""
    return each(lambda x: tuple(x.shape[1:]), X)


def _check_dict(X, estimator, reset):
    """Check a dict of inputs, entry by entry; one that indexes by rows comes back."""
    from skorch.helper import SliceDict  # Here, for it imports skorch's command line.

    fitted = None if reset else estimator.input_shape_
    if isinstance(fitted, dict) and X.keys() != fitted.keys():
        raise ValueError(
            f"X is a dict with the entries {list(X)}, but {type(estimator).__name__} was fitted "
            f"on {list(fitted)}. Change the entries of X."
        )
    for name in ("n_features_in_", "feature_names_in_"):
        if reset and hasattr(estimator, name):
            delattr(estimator, name)
    checked = {}
    for name, x in X.items():
        if isinstance(x, torch.Tensor):
            _check_tensor(x, estimator, n_dims=1)
            checked[name] = x
        else:
            checked[name] = check_array(
                x,
                accept_sparse="csr",
                ensure_2d=False,
                allow_nd=True,
                estimator=estimator,
                input_name=f"X[{name!r}]",
            )
    check_consistent_length(*checked.values())
    return SliceDict(**checked)


def _check_tensor(X, estimator, n_dims=2):
    name = type(estimator).__name__
    if X.layout is not torch.strided:
        raise TypeError(
            f"X is a torch tensor of layout {X.layout}; {name} expects a dense tensor or a "
            "scipy sparse array. Pass X.to_dense()."
        )
    if X.ndim < n_dims:
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
