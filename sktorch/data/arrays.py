"""Arrays of all kinds: numpy's, memory maps, lists, frames, sparse matrices, tensors."""

from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.utils import check_array

from sktorch.data.rows import RowSource
from sktorch.data.source import Settings


class Array(RowSource):
    """An array, a memory map, or lists of numbers."""

    has_features = True

    def __init__(self, X: Any, settings: Settings) -> None:
        super().__init__(X, settings)
        name = settings.checked_for
        self.values = as_rows(X) if name is None else self._checked(X, name)

    @staticmethod
    def accepts(X: Any, settings: Settings) -> bool:
        """Accept anything; X that is not an array raises when it is converted."""
        return True

    @property
    def is_lazy(self) -> bool:
        """Whether the rows are in a file, or sparse."""
        return is_lazy_array(self.values)

    def _checked(self, X: Any, name: str) -> Any:
        _refuse_samples(X)
        X = check_array(
            X, accept_sparse="csr", allow_nd=True, dtype="numeric", estimator=name, input_name="X"
        )
        return _numbers(X)


class Frame(Array):
    """A DataFrame of pandas or polars; columns of codes know how many codes there are."""

    def __init__(self, X: Any, settings: Settings) -> None:
        self.cardinalities = _cardinalities(X)
        X = X if self.cardinalities is None else _codes_as_floats(X, self.cardinalities)
        super().__init__(X, settings)

    @staticmethod
    def accepts(X: Any, settings: Settings) -> bool:
        """Accept what has columns with a dtype each."""
        return hasattr(X, "columns") and getattr(X, "dtypes", None) is not None


class Sparse(Array):
    """A sparse matrix of scipy, whose rows are made dense a batch at a time."""

    @staticmethod
    def accepts(X: Any, settings: Settings) -> bool:
        """Accept scipy's matrices and arrays; the dok ones are dicts, too."""
        return sparse.issparse(X)


class Tensor(Array):
    """A tensor of torch, on any device."""

    @staticmethod
    def accepts(X: Any, settings: Settings) -> bool:
        """Accept tensors."""
        return isinstance(X, torch.Tensor)

    def _checked(self, X: Any, name: str) -> Any:
        check_tensor(X, name)
        return X


def as_rows(X: Any) -> Any:
    """Return X unchecked as what rows can be taken from: an array, csr matrix or tensor."""
    if isinstance(X, torch.Tensor):
        return X
    return X.tocsr() if sparse.issparse(X) else np.asanyarray(X)  # A memory map stays one.


def is_lazy_array(values: Any) -> bool:
    """Say whether an array is never made dense as a whole: sparse, or a view of a memory map."""
    if sparse.issparse(values):
        return True
    while isinstance(values, np.ndarray):
        if isinstance(values, np.memmap):
            return True
        values = values.base
    return False


def check_tensor(X: torch.Tensor, name: str, n_dims: int = 2) -> None:
    """Raise if a tensor can't be trained on by an estimator of that name."""
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


def _refuse_samples(X: Any) -> None:
    """Raise if X holds the samples that scikit-learn makes of a Dataset when it indexes one."""
    if not isinstance(X, list) or not X or not isinstance(X[0], tuple | dict):
        return
    parts = X[0] if isinstance(X[0], tuple) else X[0].values()
    if any(isinstance(part, torch.Tensor | dict) or np.ndim(part) for part in parts):
        raise ValueError(
            f"X is a list of samples, each a {type(X[0]).__name__}; expected an array or a "
            "dataset. Where scikit-learn indexes a dataset, pass it as "
            "sktorch.data.SliceableDataset(dataset)."
        )


def _numbers(X: Any) -> Any:
    """Return X in float64 where scikit-learn has left objects: pandas' categories."""
    if X.dtype != object:
        return X
    try:
        return X.astype(np.float64)
    except ValueError as error:
        raise ValueError(
            f"X holds categories that are no numbers: {error}. Encode them, for example with "
            "sktorch.preprocessing.make_cleaner()."
        ) from error


def _cardinalities(X: Any) -> tuple[int, ...] | None:
    """Return the number of codes of each column, 0 for numbers; None without a column of codes.

    Codes are told by pandas' categorical dtype with the categories 0, 1, 2, ....
    """
    categories = [getattr(dtype, "categories", None) for dtype in X.dtypes]
    counts = [
        len(known) if known is not None and [*known] == [*range(len(known))] else 0
        for known in categories
    ]
    return tuple(counts) if any(counts) else None


def _codes_as_floats(X: Any, cardinalities: tuple[int, ...]) -> Any:
    """Return the frame with codes in the dtype of its numbers; pandas would make all float64."""
    numbers = [dtype for dtype, count in zip(X.dtypes, cardinalities, strict=True) if not count]
    dtype = np.result_type(np.float32, *(d for d in numbers if isinstance(d, np.dtype)))
    codes = [name for name, count in zip(X.columns, cardinalities, strict=True) if count]
    return X.astype(dict.fromkeys(codes, dtype))
