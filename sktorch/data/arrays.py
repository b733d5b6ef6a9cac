"""Arrays of all kinds: numpy's, memory maps, lists, frames, sparse matrices, tensors."""

from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.utils import check_array

from sktorch._errors import check_tensor_kind, errors_name
from sktorch.data.dtypes import exceeds_float32
from sktorch.data.rows import RowSource
from sktorch.data.source import Settings
from sktorch.data.tensors import is_in_file, is_lazy_frame

CLEAN = (
    "sktorch.preprocessing.make_cleaner() before the estimator, in a pipeline, makes text, dates "
    "and missing values ready."
)

# A tensor is checked in parts of this many bytes: the check copies what it looks at.
PART_BYTES = 2**22


class Array(RowSource):
    """An array, a memory map, or lists of numbers."""

    has_features = True

    def __init__(self, X: Any, settings: Settings) -> None:
        super().__init__(X, settings)
        name = settings.checked_for
        if name is not None:
            _refuse_samples(X)
        self.values = as_rows(X) if name is None else check_values(X, name)

    @staticmethod
    def accepts(X: Any, settings: Settings) -> bool:
        """Accept anything; X that is not an array raises when it is converted."""
        return True

    @property
    def is_lazy(self) -> bool:
        """Whether the rows are in a file, or sparse."""
        return is_lazy_array(self.values)

    @property
    def keeps_integers(self) -> bool:
        """Whether floats would round the integers; else floats are tried first, as elsewhere."""
        return exceeds_float32(self.values)


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


class LazyFrame(Frame):
    """A query of polars, which is run."""

    def __init__(self, X: Any, settings: Settings) -> None:
        super().__init__(X.collect(), settings)

    @staticmethod
    def accepts(X: Any, settings: Settings) -> bool:
        """Accept polars' LazyFrame."""
        return is_lazy_frame(X)


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


def as_rows(X: Any) -> Any:
    """Return X unchecked as what rows can be taken from: an array, csr matrix or tensor."""
    if isinstance(X, torch.Tensor):
        return X
    return X.tocsr() if sparse.issparse(X) else np.asanyarray(X)  # A memory map stays one.


def is_lazy_array(values: Any) -> bool:
    """Say whether an array is never made dense as a whole: sparse, or a view of a memory map."""
    return sparse.issparse(values) or is_in_file(values)


def check_values(X: Any, name: str, input_name: str = "X", *, n_dims: int = 2) -> Any:
    """Return an array, csr matrix or tensor of finite numbers that an estimator can train on."""
    if isinstance(X, torch.Tensor):
        _check_tensor(X, name, input_name, n_dims)
        return X
    if _is_checked_array(X, n_dims):
        return X
    try:
        checked = check_array(
            X,
            accept_sparse="csr",
            ensure_2d=n_dims == 2,
            allow_nd=True,
            dtype="numeric",
            estimator=name,
            input_name=input_name,
        )
        # scikit-learn leaves objects of pandas' categories.
        return checked.astype(np.float64) if checked.dtype == object else checked
    except (TypeError, ValueError) as error:
        if not _is_raw(X):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{input_name} holds values that are no numbers: {error}\n{CLEAN}") from error


def _is_checked_array(X: Any, n_dims: int) -> bool:
    """Say whether ``check_array`` would return X as it is, in a twentieth of the time it takes.

    False leaves the decision to it: it says what is wrong, and a sum may overflow.
    """
    if type(X) is not np.ndarray or X.ndim < n_dims or 0 in X.shape:
        return False
    if X.dtype.kind != "f":
        return X.dtype.kind in "biu"
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(X.sum()))


def _is_raw(X: Any) -> bool:
    """Say whether values are text, dates, objects, or numbers some of which are missing."""
    if sparse.issparse(X):
        return False
    try:
        values = np.asarray(X)
    except ValueError:  # lists of several lengths
        return False
    is_float = values.dtype.kind == "f"
    return values.dtype.kind in "OUSTMm" or (is_float and not np.isfinite(values).all())


def _check_tensor(X: torch.Tensor, name: str, input_name: str, n_dims: int) -> None:
    """Raise if a tensor can't be trained on by an estimator of that name."""
    with errors_name(input_name):
        check_tensor_kind(X)
    if X.ndim < n_dims:
        raise ValueError(
            f"Expected {n_dims}D array, got {X.ndim}D tensor of shape {tuple(X.shape)} instead. "
            f"Reshape {input_name} to (n_samples, n_features)."
        )
    if 0 in X.shape:
        raise ValueError(
            f"Found array with {X.shape[0]} sample(s) and shape {tuple(X.shape)} in {input_name} "
            f"while a minimum of 1 in every dimension is required by {name}."
        )
    if X.is_complex():
        raise ValueError(f"Complex data not supported: {input_name} has dtype {X.dtype}.")
    if X.is_floating_point() and not all(torch.isfinite(part).all() for part in _in_parts(X)):
        raise ValueError(
            f"Input {input_name} contains NaN or infinity. {name} does not accept missing values; "
            f"impute or drop them first: {CLEAN}"
        )


def _in_parts(X: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return the rows of X in parts of some MiB, so that copies of a part take little memory."""
    n_bytes_of_row = X[0].numel() * X.element_size()
    return X.split(max(PART_BYTES // max(n_bytes_of_row, 1), 1))


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
