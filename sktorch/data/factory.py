"""Batches of any data for loops written by hand."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_consistent_length

from sktorch.data.loaders import loader_options
from sktorch.data.source import BatchSettings, Loader
from sktorch.data.sources import as_source
from sktorch.data.splitting import hold_out
from sktorch.data.structure import tree_leaves
from sktorch.data.tensors import as_array, length
from sktorch.targets.labels import classes_of, encode_labels
from sktorch.targets.weights import row_weights


def make_loaders(
    X: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    validation_fraction: float | None = 0.1,
    batch_size: int = 128,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    random_state: Any = None,
    **options: Any,
) -> tuple["_Loader", "_Loader | None"]:
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
    source = as_source(X, has_targets=y is None, n_rows=length(y))
    if not source.is_indexable:
        raise TypeError(
            f"{type(X).__name__} is an IterableDataset, which can't be split. Pass it to "
            "torch.utils.data.DataLoader."
        )
    if y is None and not source.holds_targets:
        raise ValueError("y is None; only a dataset may hold its targets. Pass y.")
    y = as_array(source.targets if y is None else y)
    target, strata = _target_and_strata(y, dtype)
    check_consistent_length(*tree_leaves(source.values), target, sample_weight)
    given = row_weights(y, None, sample_weight)
    weights = None if given is None else torch.as_tensor(given, dtype=dtype)
    train, valid = np.arange(len(target)) if weights is None else np.flatnonzero(weights), None
    if validation_fraction is not None:
        train, valid = hold_out(train, strata, validation_fraction, random_state)

    def loader_of(index: np.ndarray, shuffle: bool) -> _Loader:
        return _Loader(
            source.batches(
                target,
                None if weights is None else weights / weights[index].mean(),
                torch.from_numpy(index),
                BatchSettings(
                    dtype, torch.device(device), loader_options(batch_size, shuffle, options)
                ),
            )
        )

    shuffle = options.pop("shuffle", True)
    return loader_of(train, shuffle), None if valid is None else loader_of(valid, False)


def _target_and_strata(y: np.ndarray, dtype: torch.dtype) -> tuple[torch.Tensor, np.ndarray | None]:
    """Return targets as a tensor, and the codes to stratify by where they are labels."""
    if y.dtype.kind == "f":
        return torch.as_tensor(y, dtype=dtype), None
    if y.ndim > 1:
        return torch.as_tensor(y, dtype=torch.int64), None
    codes = encode_labels(y, classes_of(y))
    return torch.from_numpy(codes), codes


class _Loader:
    """Batches as a plain loop takes them: without a weight where there is none."""

    def __init__(self, batches: Loader) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[tuple]:
        for X, y, weight in self._batches:
            yield (X, y) if weight is None else (X, y, weight)
