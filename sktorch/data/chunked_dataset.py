"""A dataset whose rows come many at a time."""

from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch.utils.data import IterableDataset

from sktorch.data.source import shape_of
from sktorch.data.structure import n_rows_of, tree_leaves, tree_map
from sktorch.data.tensors import length


class ChunkedDataset(IterableDataset):
    """An ``IterableDataset`` over chunks of rows, such as the row groups of Parquet files.

    Files with columns are read many rows at a time. An estimator cuts such chunks into batches of
    its ``batch_size``, across their borders, without making a Python object of each row. The rows
    come in the order of the chunks: shuffle in ``chunks``, with torch's random numbers, which
    follow the estimator's ``random_state``.

    Parameters
    ----------
    chunks : iterable
        Begins anew whenever it is iterated, as a list or an object whose ``__iter__`` is a
        generator function; a generator can be read only once. A chunk is a tuple ``(X, y)``, or X
        alone to predict. X is an array or tensor of shape (n_rows, ...); several inputs are a dict
        or tuple of them, or ``(X1, X2, y)``. y is an array of n_rows targets, or of shape (n_rows,
        n_outputs). Chunks may differ in their number of rows. DataFrames are refused, as their
        columns would go by place: give ``frame[names].to_numpy()``.

    Raises
    ------
    TypeError
        If ``chunks`` can't be iterated.

    Notes
    -----
    Little more than the reader's own chunks is in memory: the one that it reads, and the one
    before. Batches are made of up to 16 MiB at a time, and the targets of a pass are kept.

    With ``iterator_train__num_workers`` every worker iterates ``chunks``: let
    ``torch.utils.data.get_worker_info()`` choose chunks for each.

    Iterating the dataset itself gives rows one by one, as any ``IterableDataset`` does.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from sklearn.datasets import load_digits
    >>> from sktorch import TorchClassifier
    >>> from sktorch.data import ChunkedDataset
    >>> X, y = load_digits(return_X_y=True)
    >>> class Chunks:
    ...     def __iter__(self):
    ...         for number in torch.randperm(6).tolist():  # in place of reading a file
    ...             yield X[number::6], y[number::6]
    >>> net = TorchClassifier(max_epochs=5, lr=0.01, random_state=0).fit(ChunkedDataset(Chunks()))
    >>> net.score(ChunkedDataset([(X[:900], y[:900]), (X[900:], y[900:])])) > 0.9
    True
    """

    def __init__(self, chunks: Iterable) -> None:
        if not isinstance(chunks, Iterable):
            raise TypeError(
                f"chunks must be an iterable of (X, y), got {type(chunks).__name__}. Pass a list, "
                "or an object whose __iter__ is a generator function."
            )
        self.chunks = chunks

    def __iter__(self) -> Iterator[Any]:
        for parts in checked_chunks(self.chunks):
            for row in range(n_rows_of(parts[0])):
                sample = tuple(tree_map(itemgetter(row), part) for part in parts)
                yield sample if len(sample) > 1 else sample[0]


def checked_chunks(chunks: Iterable) -> Iterator[tuple[Any, ...]]:
    """Yield the parts of chunks as arrays or tensors; raise if their rows differ in shape.

    Chunks without rows are left out.
    """
    first: tuple | None = None
    for chunk in chunks:
        parts = _parts(chunk)
        if not n_rows_of(parts[0]):
            continue
        shapes = tuple(shape_of(part) for part in parts)
        if first not in (None, shapes):
            raise ValueError(
                f"A chunk of the ChunkedDataset has rows of shapes {shapes}, and the first one "
                f"has {first}. Let all chunks have rows of the same shapes."
            )
        first = first or shapes
        yield tuple(_ordered_as(part, shape) for part, shape in zip(parts, first, strict=True))


def _parts(chunk: Any) -> tuple[Any, ...]:
    """Return the inputs of a chunk, and its targets if it is a tuple with any."""
    given = chunk if isinstance(chunk, tuple | list) else (chunk,)
    parts = tuple(tree_map(_as_values, part) for part in given)
    lengths = [length(values) for part in parts for values in tree_leaves(part)]
    if not lengths or None in lengths or len({*lengths}) > 1:
        raise ValueError(
            f"A chunk of the ChunkedDataset has parts of {lengths} rows; expected arrays or "
            "tensors of one length. Let chunks be (X, y), with a target for each row of X."
        )
    return parts


def _as_values(values: Any) -> Any:
    """Return values as an array or tensor; raise if they hold more, or less, than that."""
    advice = None
    if hasattr(values, "columns"):
        advice = "its columns would go by place. Give frame[names].to_numpy() in place of it"
    elif sparse.issparse(values):
        advice = "chunks are dense. Give its toarray()"
    elif isinstance(values, torch.Tensor) and values.layout is not torch.strided:
        advice = "chunks are dense. Give its to_dense()"
    if advice:
        name = f"{type(values).__module__}.{type(values).__name__}"
        raise TypeError(f"A chunk of the ChunkedDataset holds a {name}, and {advice}.")
    return values if isinstance(values, torch.Tensor) else np.asarray(values)


def _ordered_as(part: Any, shape: Any) -> Any:
    """Return the arrays of a part, those of a dict in the order of that of the first chunk."""
    return {name: part[name] for name in shape} if isinstance(part, dict) else part
