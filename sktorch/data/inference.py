"""Inputs in batches, for what is predicted."""

import torch

from sktorch.data.datasets import SliceableDataset, Stream
from sktorch.data.loaders import row_batches, stream_batches
from sktorch.data.rows import Rows, as_tensors


def input_batches(X, dtype, device, *, n_rows, options):
    """X as the tensors that a module takes, in their order.

    Parameters
    ----------
    X : array, dict of arrays, sequences of several lengths, SliceableDataset or Stream
    dtype : torch.dtype
    device : torch.device
    n_rows : int
        Most rows of a batch; a dataset has as many as ``options`` say.
    options : dict
        Arguments of the ``DataLoader`` of a dataset.

    Yields
    ------
    inputs : torch.Tensor, or a dict or tuple of them
    """
    if isinstance(X, Stream):
        batches = stream_batches(
            X, lambda _: torch.zeros(()), None, None, dtype=dtype, device=device, options=options
        )
    elif isinstance(X, SliceableDataset):
        rows, count = Rows(X, dtype, device), len(X)
        batches = row_batches(
            rows, torch.zeros(count), None, torch.arange(count), device=device, options=options
        )
    else:
        for start in range(0, X.shape[0], n_rows):
            # A copy: a module may work in place, and X is the caller's.
            yield as_tensors(X[start : start + n_rows], dtype, device, copy=True)
        return
    for inputs, _, _ in batches:
        yield inputs


def n_rows_of(X):
    """Number of rows of X; None for a stream, which does not know."""
    return None if isinstance(X, Stream) else X.shape[0]
