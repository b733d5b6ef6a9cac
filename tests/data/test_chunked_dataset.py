"""Chunks as an ``IterableDataset`` of rows, for whoever reads it as one."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from sktorch.data import ChunkedDataset

X, y = np.arange(12.0).reshape(6, 2), np.arange(6)


@pytest.mark.parametrize("values", [X, torch.from_numpy(X), {"a": X, "b": X[:, 0]}])
def test_iterating_gives_rows(values):
    pieces = [slice(0, 4), slice(4, 4), slice(4, 6)]

    def cut(piece):
        if isinstance(values, dict):
            return {name: column[piece] for name, column in values.items()}
        return values[piece]

    batches = [*DataLoader(ChunkedDataset([(cut(p), y[p]) for p in pieces]), batch_size=4)]
    assert [labels.tolist() for _, labels in batches] == [[0, 1, 2, 3], [4, 5]]
    inputs = torch.cat([rows["a"] if isinstance(rows, dict) else rows for rows, _ in batches])
    assert np.array_equal(inputs, X)


def test_inputs_alone_are_rows():
    rows = [*ChunkedDataset([X[:4], X[4:]])]
    assert np.array_equal(rows, X)


@pytest.mark.parametrize("chunks", [3, None, X.sum()])
def test_what_is_not_iterable_is_refused(chunks):
    with pytest.raises(TypeError, match="chunks must be an iterable"):
        ChunkedDataset(chunks)
