"""X as scikit-learn's rules want it: checked, counted, its names remembered."""

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.validation import validate_data
from torch.utils.data import Dataset, IterableDataset

from sktorch.data.datasets import SliceableDataset, Stream
from sktorch.data.loaders import example_of
from sktorch.data.rows import is_ragged
from sktorch.data.structure import tree_map


def check_X(estimator, X, *, reset, has_targets=None, collate_fn=None):
    """Check X and set, or compare with, the estimator's ``n_features_in_``, names and shape.

    Parameters
    ----------
    estimator : estimator
    X : array-like, sparse matrix, DataFrame or torch.Tensor of shape (n_samples, ...)
        Or a dict of them, named like the arguments of the module's ``forward``; a list of
        sequences of several lengths; a ``torch.utils.data.Dataset``.
    reset : bool
        Whether to set the features anew (``fit``) or to compare with them.
    has_targets : bool, default=None
        Whether the samples of a dataset hold their targets; None, if that is to be told from the
        number of inputs that the module was fitted on.
    collate_fn : callable, default=None
        What stacks the samples of a dataset.

    Returns
    -------
    X : ndarray, csr array, torch.Tensor, SliceDict, SliceableDataset or Stream
        Not copied where it already is one; memory maps stay memory maps. Sequences of several
        lengths are an ndarray of objects.

    Raises
    ------
    ValueError
        For no rows, NaN or infinity, fewer than two dimensions, or features other than in ``fit``.
    """
    if isinstance(X, Dataset | Stream):
        return _check_dataset(X, estimator, reset, has_targets, collate_fn)
    _refuse_samples(X)
    cardinalities = _cardinalities(X)
    if cardinalities is not None:
        X = _codes_as_floats(X, cardinalities)
    if _has_several_lengths(X, None if reset else estimator.input_shape_):
        X = _check_sequences(X, estimator, reset)
    elif isinstance(X, dict) and not issparse(X):  # scipy's dok arrays are dicts, too
        X = _check_dict(X, estimator, reset)
    elif isinstance(X, torch.Tensor):
        _check_tensor(X, estimator)
        validate_data(estimator, X, reset=reset, skip_check_array=True)
    else:
        X = validate_data(
            estimator, X, reset=reset, accept_sparse="csr", allow_nd=True, dtype="numeric"
        )
        X = _numbers(X)
    if reset:
        estimator.cardinalities_ = cardinalities
    _check_shape(estimator, sample_shape(X), reset)
    return X


def _check_shape(estimator, shape, reset):
    """Set the shape of a sample, or compare with it."""
    if reset:
        estimator.input_shape_ = shape
    elif kind_of_shape(shape) != kind_of_shape(estimator.input_shape_):
        raise ValueError(
            f"X has samples of shape {shape}, but {type(estimator).__name__} was fitted on "
            f"samples of shape {estimator.input_shape_}. Reshape X."
        )


def targets_inside(X):
    """The targets that the samples of a dataset hold, ndarray."""
    if isinstance(X, IterableDataset):
        return Stream(X, has_targets=True).targets()
    if isinstance(X, Dataset):
        return (X if isinstance(X, SliceableDataset) else SliceableDataset(X, True)).targets
    raise ValueError(
        "This estimator requires y to be passed, but the target y is None. Only a dataset may hold "
        "its targets."
    )


def sample_shape(X, collate_fn=None):
    """Shape of one sample: a tuple, or a dict or tuple of them; None for a length that varies."""
    if isinstance(X, SliceableDataset | Stream):
        return _shape_of_dataset(X, collate_fn)
    if is_ragged(X):
        return (None, *X[0].shape[1:])
    return tree_map(lambda x: tuple(x.shape[1:]), X)


def kind_of_shape(shape):
    """What two samples' shapes must share: their structure, or their number of dimensions."""
    if isinstance(shape, dict) or n_inputs(shape) > 1:
        return dict if isinstance(shape, dict) else n_inputs(shape)
    return shape[:1] == (None,), len(shape)


def n_inputs(shape):
    """How many positional inputs samples of this shape have."""
    several = isinstance(shape, tuple) and any(isinstance(part, tuple) for part in shape)
    return len(shape) if several else 1


def _refuse_samples(X):
    """Raise ValueError for the samples that scikit-learn makes of a Dataset when it indexes one."""
    if not isinstance(X, list) or not X or not isinstance(X[0], tuple | dict):
        return
    parts = X[0] if isinstance(X[0], tuple) else X[0].values()
    if any(isinstance(part, torch.Tensor | dict) or np.ndim(part) for part in parts):
        raise ValueError(
            f"X is a list of samples, each a {type(X[0]).__name__}; expected an array or a "
            "dataset. Where scikit-learn indexes a dataset, pass it as "
            "sktorch.data.SliceableDataset(dataset)."
        )


def _numbers(X):
    """X, a new array of float64 where scikit-learn has left objects: pandas' categories."""
    if X.dtype != object:
        return X
    try:
        return X.astype(np.float64)
    except ValueError as error:
        raise ValueError(
            f"X holds categories that are no numbers: {error}. Encode them, for example with "
            "sktorch.preprocessing.make_cleaner()."
        ) from error


def _cardinalities(X):
    """The number of codes of each column of a DataFrame that holds codes, 0 for numbers.

    Codes are told by pandas' categorical dtype with the categories 0, 1, 2, ...; None where no
    column has it.
    """
    dtypes = getattr(X, "dtypes", None)
    if not hasattr(X, "columns") or dtypes is None:
        return None
    categories = [getattr(dtype, "categories", None) for dtype in dtypes]
    counts = [
        len(known) if known is not None and [*known] == [*range(len(known))] else 0
        for known in categories
    ]
    return tuple(counts) if any(counts) else None


def _shape_of_dataset(X, collate_fn):
    """Shape of a dataset's samples; of one input that is collated to several, its own."""
    batch = example_of(X, collate_fn)
    if isinstance(batch, tuple):
        inputs = X[0] if isinstance(X, SliceableDataset) else next(iter(X))[0]
        if not isinstance(inputs, tuple):  # padded, and their lengths
            return (None, *np.shape(inputs)[1:])
    return sample_shape(batch)


def _codes_as_floats(X, cardinalities):
    """Give columns of codes the dtype of the numbers beside them; pandas would make all float64."""
    numbers = [dtype for dtype, count in zip(X.dtypes, cardinalities, strict=True) if not count]
    dtype = np.result_type(np.float32, *(d for d in numbers if isinstance(d, np.dtype)))
    codes = [name for name, count in zip(X.columns, cardinalities, strict=True) if count]
    return X.astype(dict.fromkeys(codes, dtype))


def _check_dataset(X, estimator, reset, has_targets, collate_fn):
    """Wrap a dataset in what the rest of the package indexes or streams."""
    if not isinstance(X, SliceableDataset | Stream):
        if has_targets is None:
            has_targets = _n_parts(X) > n_inputs(estimator.input_shape_)
        wrap = Stream if isinstance(X, IterableDataset) else SliceableDataset
        X = wrap(X, has_targets)
    if isinstance(X, Stream) and iter(X.dataset) is iter(X.dataset):
        raise ValueError(
            f"{type(X.dataset).__name__}.__iter__ returns the same iterator every time, which can "
            "be read only once. Let it return a new one, which begins with the first sample."
        )
    if not any(True for _ in X) if isinstance(X, Stream) else len(X) == 0:
        raise ValueError(
            f"Found a dataset with 0 sample(s) while a minimum of 1 is required by "
            f"{type(estimator).__name__}."
        )
    if reset:
        _forget_features(estimator)
        estimator.cardinalities_ = None
    _check_shape(estimator, _shape_of_dataset(X, collate_fn), reset)
    return X


def _n_parts(X):
    """How many inputs and targets the first sample of a dataset has; 0 without one."""
    samples = X if isinstance(X, IterableDataset) else SliceableDataset(X, has_targets=False)[:1]
    for sample in samples:
        return len(sample) if isinstance(sample, tuple | list) else 1
    return 0


def _has_several_lengths(X, fitted_shape):
    """Whether X is a list (or ndarray of objects) of arrays that can't be stacked."""
    of_sequences = isinstance(fitted_shape, tuple) and fitted_shape[:1] == (None,)
    if of_sequences and isinstance(X, np.ndarray | torch.Tensor) and X.dtype != object:
        return X.ndim == len(fitted_shape) + 1  # sequences that happen to be of one length
    if not isinstance(X, list) and not (isinstance(X, np.ndarray) and X.dtype == object):
        return False
    if not len(X) or not all(hasattr(x, "shape") and len(x.shape) > 0 for x in X):
        return False
    of_arrays = not isinstance(X, list) and X.ndim == 1  # A fold's may be of one length by chance.
    return of_sequences or of_arrays or len({x.shape[0] for x in X}) > 1


def _check_sequences(X, estimator, reset):
    """Check sequences of several lengths, each of shape (length, ...)."""
    checked = np.empty(len(X), dtype=object)
    for position, x in enumerate(X):
        x = check_array(
            x.detach().cpu().numpy() if isinstance(x, torch.Tensor) else x,
            ensure_2d=False,
            allow_nd=True,
            estimator=estimator,
            input_name=f"X[{position}]",
        )
        checked[position] = x
    shapes = {x.shape[1:] for x in checked}
    if len(shapes) > 1:
        raise ValueError(
            f"X holds sequences whose steps have the shapes {sorted(shapes)}; expected one shape. "
            "Only the first dimension, the length, may differ."
        )
    dtype = np.result_type(*{x.dtype for x in checked})  # Batches have one.
    for position, x in enumerate(checked):
        checked[position] = x.astype(dtype, copy=False)
    if reset:
        _forget_features(estimator)
    return checked


def _forget_features(estimator):
    for name in ("n_features_in_", "feature_names_in_"):
        if hasattr(estimator, name):
            delattr(estimator, name)


def _check_dict(X, estimator, reset):
    """Check a dict of inputs, entry by entry; one that indexes by rows comes back."""
    from skorch.helper import SliceDict  # Here, for it imports skorch's command line.

    fitted = None if reset else estimator.input_shape_
    if isinstance(fitted, dict) and X.keys() != fitted.keys():
        raise ValueError(
            f"X is a dict with the entries {list(X)}, but {type(estimator).__name__} was fitted "
            f"on {list(fitted)}. Change the entries of X."
        )
    if not X or not all(isinstance(name, str) for name in X):
        raise ValueError(
            f"X is a dict with the keys {list(X)}; expected the names of the arguments of the "
            "module's forward. Change the keys of X."
        )
    if reset:
        _forget_features(estimator)
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
