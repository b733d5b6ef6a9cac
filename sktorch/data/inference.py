"""Inputs in batches, for what is predicted."""

import torch

from sktorch.data.datasets import SliceableDataset, Stream
from sktorch.data.loaders import check_keeps_rows, row_batches, stream_batches
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

    Raises
    ------
    ValueError
        For options of a dataset's loader that would give other rows, or in another order.
    """
    if isinstance(X, Stream | SliceableDataset):
        check_keeps_rows(options)
        # The seed of its workers: a DataLoader draws it from the caller's numbers otherwise.
        options = {"generator": torch.Generator()} | options
    if isinstance(X, Stream):
        batches = stream_batches(
            X,
            _no_targets,
            None,
            None,
            dtype=dtype,
            device=device,
            options=options,
            keep_order=True,
        )
    elif isinstance(X, SliceableDataset):
        rows, count = Rows(X, dtype, device), len(X)
        # Positions in place of targets: they show whether a collate function changes the order.
        index = torch.arange(count)
        batches = row_batches(
            rows, index, None, index, device=device, options=options, keep_order=True
        )
    else:
        for start in range(0, X.shape[0], n_rows):
            # A copy: a module may work in place, and X is the caller's.
            yield as_tensors(X[start : start + n_rows], dtype, device, copy=True)
        return
    for inputs, _, _ in batches:
        yield inputs


def _no_targets(targets):
    return torch.zeros(len(targets), dtype=torch.int64)


def n_rows_of(X):
    """Number of rows of X; None for a stream, which does not know."""
    return None if isinstance(X, Stream) else X.shape[0]
