"""Anything as dense tensors; shared where asked for, never changed."""

import sys

import numpy as np
import pytest
import torch
from scipy import sparse

from sktorch.data.tensors import as_array, as_tensor, as_tensors

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


def test_integers_of_several_inputs_stay_integers():
    values = {"words": VALUES.astype("uint8"), "numbers": VALUES.astype("float16")}
    for given in (values, tuple(values.values())):
        tensors = as_tensors(given, torch.float32, CPU)
        words, numbers = tensors.values() if isinstance(given, dict) else tensors
        assert (words.dtype, numbers.dtype) == (torch.int64, torch.float32)


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ([1, 2], np.array([1, 2])),
        (("a", "b"), np.array(["a", "b"])),
        (torch.tensor([1.5]).requires_grad_(), np.array([1.5], dtype="float32")),
        ([torch.tensor(1), torch.tensor(2)], np.array([1, 2])),
        (np.array([1], dtype="int8"), np.array([1], dtype="int8")),
    ],
)
def test_as_array(targets, expected):
    values = as_array(targets)
    assert values.dtype == expected.dtype
    np.testing.assert_array_equal(values, expected)
