"""Batches of any data, for the estimators and for loops written by hand."""

from inspect import signature

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.utils import check_consistent_length
from torch.utils.data import Dataset, IterableDataset

from sktorch.data.batches import Batches
from sktorch.data.datasets import SliceableDataset, as_array
from sktorch.data.loaders import loader_options, row_batches
from sktorch.data.placement import AheadBatches, choose_placement, placed_rows
from sktorch.data.splitting import hold_out
from sktorch.data.structure import tree_leaves
from sktorch.targets.labels import classes_of, encode_labels
from sktorch.targets.weights import row_weights

_OF_BATCHES = {*signature(Batches).parameters}


def make_batches(
    X, targets, weights, index, *, dtype, device, wish, options, placed=None, keep_order=False
):
    """Batches of those rows that an index names: cut by index, or through a ``DataLoader``.

    Parameters
    ----------
    X : array, sparse array, torch.Tensor, dict of arrays, sequences or SliceableDataset
    targets : torch.Tensor of shape (n_rows, ...)
    weights : torch.Tensor of shape (n_rows,) or None
    index : torch.Tensor of shape (n_used,), int64
    dtype : torch.dtype
        What X is cast to.
    device : torch.device
        Where the batches are wanted.
    wish : str
        Where to keep the rows, as in `choose_placement`.
    options : dict
        Arguments of ``DataLoader``; those that `Batches` knows do without one.
    placed : dict, default=None
        Rows that were placed before: what is cut from the same X shares them.
    keep_order : bool, default=False
        Whether a collate function among the options has to leave rows in their order.

    Returns
    -------
    batches : iterable of ``(X, y, weight)``
    """
    placed = {} if placed is None else placed
    placement = choose_placement(X, dtype, device, wish)
    by_index = options.keys() <= _OF_BATCHES
    by_index = by_index and not isinstance(X, SliceableDataset)
    home = device if by_index and placement != "host" else torch.device("cpu")
    key = id(X), home
    if key not in placed:
        placed[key] = placed_rows(X, dtype, home, placement)
    if not by_index:
        return row_batches(
            placed[key],
            targets,
            weights,
            index,
            device=device,
            options=options,
            keep_order=keep_order,
        )
    weights = None if weights is None else weights.to(home)
    batches = Batches(placed[key], targets.to(home), weights, index, **options)
    return AheadBatches(batches, device) if placement == "host" else batches


def make_loaders(
    X,
    y=None,
    sample_weight=None,
    *,
    validation_fraction=0.1,
    batch_size=128,
    dtype=torch.float32,
    device="cpu",
    random_state=None,
    **options,
):
    """Make the loaders that ``fit`` trains and validates with, for a loop written by hand.

    Parameters
    ----------
    X : array-like, sparse array, DataFrame, torch.Tensor, dict of them, or map-style Dataset
        Or a list of sequences of several lengths, which come as ``(padded, lengths)``.
    y : array-like of shape (n_samples, ...), default=None
        Floats are targets as they are, in ``dtype``; of anything else the sorted labels' codes
        (int64) are. None for a dataset whose samples hold their targets.
    sample_weight : array-like of shape (n_samples,), default=None
        Scaled to a mean of one over the rows of each loader. Rows of weight zero are left out.
    validation_fraction : float or None, default=0.1
        Share of the rows to hold out, above 0 and below 1; labels are held out in the same
        proportions. None holds none out.
    batch_size : int, default=128
    dtype : torch.dtype, default=torch.float32
        What X is cast to.
    device : str or torch.device, default="cpu"
        Where the batches are.
    random_state : int, RandomState instance or None, default=None
        Decides which rows are held out. The order of the training rows comes from torch's
        default generator, as that of a ``DataLoader`` does.
    **options
        Arguments of ``DataLoader`` for both loaders; ``shuffle`` for the training rows.

    Returns
    -------
    train, valid : iterables of ``(X, y)``, or ``(X, y, weight)`` with ``sample_weight``
        ``len`` is the number of batches. ``valid`` is None without a hold-out.

    Raises
    ------
    ValueError
        If lengths differ, y is missing, a weight is negative, or there are too few rows to hold
        some out.
    TypeError
        For an ``IterableDataset``, which can't be split: a ``DataLoader`` takes it as it is.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sktorch.data import make_loaders
    >>> train, valid = make_loaders(*load_iris(return_X_y=True), batch_size=50)
    >>> len(train), len(valid)
    (3, 1)
    >>> X, y = next(iter(train))
    >>> X.shape, X.dtype, y.dtype
    (torch.Size([50, 4]), torch.float32, torch.int64)
    """
    if isinstance(X, IterableDataset):
        raise TypeError(
            f"{type(X).__name__} is an IterableDataset, which can't be split. Pass it to "
            "torch.utils.data.DataLoader."
        )
    if isinstance(X, Dataset):
        X = X if isinstance(X, SliceableDataset) else SliceableDataset(X, has_targets=y is None)
        y = X.targets if y is None else y
    else:
        X = _rows_of(X)
    if y is None:
        raise ValueError("y is None; only a dataset may hold its targets. Pass y.")
    target, strata = _target_and_strata(as_array(y), dtype)
    check_consistent_length(*tree_leaves(X), target, sample_weight)
    weights = row_weights(target, None, sample_weight)
    weights = None if weights is None else torch.as_tensor(weights, dtype=dtype)
    parts = [np.arange(len(target)) if weights is None else np.flatnonzero(weights), None]
    if validation_fraction is not None:
        parts = hold_out(parts[0], strata, validation_fraction, random_state)
    shuffle, placed = options.pop("shuffle", True), {}
    return tuple(
        None
        if index is None
        else _Loader(
            make_batches(
                X,
                target,
                None if weights is None else weights / weights[index].mean(),
                torch.from_numpy(index),
                dtype=dtype,
                device=torch.device(device),
                wish="auto",
                options=loader_options(batch_size, shuffled, options),
                placed=placed,
            )
        )
        for index, shuffled in zip(parts, (shuffle, False), strict=True)
    )


def _rows_of(X):
    """X as what `make_batches` takes: arrays, of objects where sequences differ in length."""
    if isinstance(X, dict) and not issparse(X):  # scipy's dok arrays are dicts, too
        return {name: _rows_of(x) for name, x in X.items()}
    if isinstance(X, torch.Tensor):
        return X
    if issparse(X):
        return X.tocsr()
    if isinstance(X, list) and X and len({np.shape(x)[:1] for x in X}) > 1:
        rows = np.empty(len(X), dtype=object)
        rows[:] = X
        return rows
    return np.asanyarray(X)  # a memory map stays one


def _target_and_strata(y, dtype):
    """Targets as a tensor; the codes to stratify by, where they are labels."""
    if y.dtype.kind == "f":
        return torch.as_tensor(y, dtype=dtype), None
    if y.ndim > 1:
        return torch.as_tensor(y, dtype=torch.int64), None
    codes = encode_labels(y, classes_of(y))
    return torch.from_numpy(codes), codes


class _Loader:
    """Batches as a plain loop takes them: without a weight where there is none."""

    def __init__(self, batches):
        self._batches = batches

    def __len__(self):
        return len(self._batches)

    def __iter__(self):
        for X, y, weight in self._batches:
            yield (X, y) if weight is None else (X, y, weight)
