"""A dataset whose rows come many at a time."""

from collections.abc import Iterable, Iterator
from typing import Any

from torch.utils.data import IterableDataset

from sktorch.data.structure import n_rows_of, tree_map


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
        generator function; a generator can be read only once. A chunk is ``(X, y)``, or X alone to
        predict. X is an array or tensor of shape (n_rows, ...), or a dict or tuple of them for
        several inputs; y is an array of n_rows targets. Chunks may differ in their number of rows.

    Raises
    ------
    TypeError
        If ``chunks`` can't be iterated.

    Notes
    -----
    About three chunks are in memory at a time: the one read, as it is and as a tensor of the
    module's dtype, and the one before it.

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
        for chunk in self.chunks:
            is_pair = isinstance(chunk, tuple | list)
            parts = tuple(chunk) if is_pair else (chunk,)
            for row in range(n_rows_of(parts[0])):
                sample = tuple(tree_map(lambda values, row=row: values[row], x) for x in parts)
                yield sample if is_pair else sample[0]
