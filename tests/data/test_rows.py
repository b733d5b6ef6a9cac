"""Anything that holds rows, as dense tensors; shared where asked for, never changed."""

import sys

import numpy as np
import pytest
import torch
from scipy import sparse

from sktorch.data.rows import Rows, as_tensor

CPU = torch.device("cpu")
SWAPPED = ">" if sys.byteorder == "little" else "<"
VALUES = np.arange(12).reshape(4, 3)
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64]


def read_only(X):
    X = X.copy()
    X.setflags(write=False)
    return X


KINDS = {
    **{
        name: lambda X, name=name: X.astype(name)
        for name in ("float64", "float32", "float16", "int64", "int8", "uint8", "uint16", "uint64")
    },
    "swapped float": lambda X: X.astype(f"{SWAPPED}f8"),
    "swapped int": lambda X: X.astype(f"{SWAPPED}i2"),
    "fortran": lambda X: np.asfortranarray(X.astype("float32")),
    "negative strides": lambda X: X.astype("float32")[::-1, ::-1].copy()[::-1, ::-1],
    "read-only": lambda X: read_only(X.astype("float32")),
    "broadcast": lambda X: np.broadcast_to(X.astype("float32"), X.shape),
    "tensor": lambda X: torch.from_numpy(X.astype("float32")),
    "tensor int": lambda X: torch.from_numpy(X.astype("int32")),
    "tensor that needs a gradient": lambda X: torch.tensor(X.astype("float32"), requires_grad=True),
    **{
        fmt: lambda X, fmt=fmt: sparse.csr_array(X.astype("float32")).asformat(fmt)
        for fmt in ("csr", "csc")
    },
    "csr matrix": lambda X: sparse.csr_matrix(X.astype("float64")),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_as_tensor(kind, copy, dtype):
    tensor = as_tensor(KINDS[kind](VALUES), dtype, CPU, copy=copy)
    assert tensor.dtype is dtype
    assert not tensor.requires_grad
    assert tensor.tolist() == VALUES.tolist()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_can_be_changed_alone(kind, dtype):
    given = KINDS[kind](VALUES)
    as_tensor(given, dtype, CPU, copy=True).fill_(-1)
    dense = given.toarray() if sparse.issparse(given) else given
    assert dense.tolist() == VALUES.tolist()


@pytest.mark.parametrize("make", [lambda: VALUES.astype("float32"), lambda: torch.ones(4, 3)])
def test_what_fits_is_shared(make):
    given = make()
    tensor = as_tensor(given, torch.float32, CPU)
    assert np.shares_memory(tensor.numpy(), np.asarray(given))


@pytest.mark.parametrize("value", [True, False])
def test_bool(value):
    assert as_tensor(np.array([[value]]), torch.float32, CPU).tolist() == [[float(value)]]


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
    rows = Rows(KINDS[kind](VALUES), dtype, CPU)
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
        Rows(images, torch.float64, CPU)[torch.tensor([1])], torch.tensor(images[1:])
    )


@pytest.mark.parametrize("kind", ["csr", "csr matrix"])
def test_sparse_rows_stay_sparse(kind):
    given = KINDS[kind](VALUES)
    assert Rows(given, torch.float32, CPU).values is given


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
@pytest.mark.parametrize("to_view", [lambda m: m, np.asarray, lambda m: np.asarray(m)[1:]])
def test_a_memory_map_is_read_a_piece_at_a_time(tmp_path, mode, to_view):
    path = tmp_path / "X.npy"
    np.save(path, VALUES.astype("float32"))
    given = to_view(np.load(path, mmap_mode=mode))
    rows = Rows(given, torch.float32, CPU)
    assert rows.values is given
    assert len(rows) == len(given)
    part = rows[torch.tensor([1, 0])]
    assert part.tolist() == given[[1, 0]].tolist()
    part.fill_(-1)
    assert rows[slice(0, 1)].tolist() == given[:1].tolist() != [[-1] * 3]
    assert np.load(path).tolist() == VALUES.tolist()


def test_an_array_in_memory_is_converted_once():
    rows = Rows(VALUES, torch.float32, CPU)
    assert isinstance(rows.values, torch.Tensor)
    assert rows.values.dtype is torch.float32
