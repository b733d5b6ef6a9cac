"""Rows of what can be indexed, as tensors: converted once where that can be."""

import numpy as np
import pytest
import torch

from sktorch.data.rows import Rows
from sktorch.data.sources import as_source
from tests.data.test_tensors import CPU, KINDS, VALUES


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "index",
    [
        torch.tensor([2, 0]),
        np.array([2, 0]),
        slice(1, 3),
        torch.tensor([], dtype=torch.int64),
    ],
)
@pytest.mark.parametrize("kind", ["float64", "fortran", "read-only", "tensor", "csr", "csr matrix"])
def test_rows(kind, index, dtype):
    rows = Rows(as_source(KINDS[kind](VALUES)), dtype, CPU)
    assert len(rows) == 4
    part = rows[index]
    assert isinstance(part, torch.Tensor)
    assert part.dtype is dtype
    assert part.shape[1:] == (3,)
    expected = VALUES[index if isinstance(index, slice) else np.asarray(index)]
    assert part.tolist() == expected.tolist()


def test_images_keep_their_shape():
    images = np.arange(48.0).reshape(2, 3, 4, 2)
    assert torch.equal(
        Rows(as_source(images), torch.float64, CPU)[torch.tensor([1])], torch.tensor(images[1:])
    )


@pytest.mark.parametrize("kind", ["csr", "csr matrix"])
def test_sparse_rows_stay_sparse(kind):
    given = KINDS[kind](VALUES)
    assert Rows(as_source(given), torch.float32, CPU).values is given


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
@pytest.mark.parametrize("to_view", [lambda m: m, np.asarray, lambda m: np.asarray(m)[1:]])
def test_a_memory_map_is_read_a_piece_at_a_time(tmp_path, mode, to_view):
    path = tmp_path / "X.npy"
    np.save(path, VALUES.astype("float32"))
    given = to_view(np.load(path, mmap_mode=mode))
    rows = Rows(as_source(given), torch.float32, CPU)
    assert rows.values is given
    assert len(rows) == len(given)
    part = rows[torch.tensor([1, 0])]
    assert part.tolist() == given[[1, 0]].tolist()
    part.fill_(-1)
    assert rows[slice(0, 1)].tolist() == given[:1].tolist() != [[-1] * 3]
    assert np.load(path).tolist() == VALUES.tolist()


def test_an_array_in_memory_is_converted_once():
    rows = Rows(as_source(VALUES), torch.float32, CPU)
    assert isinstance(rows.values, torch.Tensor)
    assert rows.values.dtype is torch.float32
