"""Arrays: memory maps and sparse matrices are read a batch at a time, wrong tensors refused."""

import re

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.utils import check_array
from torch import nn

from sktorch import TorchClassifier
from sktorch.data.arrays import check_values
from sktorch.data.rows import Rows
from sktorch.data.sources import as_source

CPU = torch.device("cpu")


def integers():
    X = np.random.RandomState(0).randint(0, 4, (48, 5)).astype("float32")
    return X, (X[:, 0] > X[:, 1]).astype(int)


def integers_in_file(folder):
    X, _ = integers()
    X.tofile(folder / "X.dat")
    return np.memmap(folder / "X.dat", dtype=X.dtype, mode="r", shape=X.shape)


@pytest.mark.parametrize(
    "view", [lambda X: X, lambda X: X[10:30], lambda X: X.reshape(-1, 5), lambda X: X[::-1]]
)
def test_a_memory_map_is_not_copied_whole(tmp_path, view):
    mapped = integers_in_file(tmp_path)
    checked = as_source(view(mapped), checked_for="TorchClassifier")
    assert np.shares_memory(checked.values, mapped)
    rows = Rows(checked, torch.float32, CPU)
    assert not isinstance(rows.values, torch.Tensor)
    assert np.shares_memory(rows.values, mapped)
    np.testing.assert_array_equal(rows[torch.tensor([3, 1])], view(mapped)[[3, 1]])


def test_sparse_X_is_made_dense_a_batch_at_a_time():
    X, y = integers()
    heights = []

    class Watched(nn.Linear):
        def forward(self, X):
            heights.append(len(X))
            return super().forward(X)

    X = sparse.csr_array(X)
    rows = Rows(as_source(X, checked_for="TorchClassifier"), torch.float32, CPU)
    assert sparse.issparse(rows.values)
    TorchClassifier(Watched(5, 2), batch_size=10, max_epochs=1, device="cpu").fit(X, y)
    assert heights[-5:] == [10, 10, 10, 10, 8]


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (torch.zeros(6), ValueError, r"Expected 2D array, got 1D tensor.*Reshape X"),
        (torch.zeros(6, 0), ValueError, r"Found array with 6 sample\(s\) and shape \(6, 0\)"),
        (torch.zeros(0, 3), ValueError, r"Found array with 0 sample\(s\)"),
        (torch.full((6, 3), torch.nan), ValueError, "Input X contains NaN or infinity"),
        (torch.full((6, 3), torch.inf), ValueError, "Input X contains NaN or infinity"),
        (torch.zeros(6, 3, dtype=torch.complex64), ValueError, "Complex data not supported"),
        (torch.eye(6).to_sparse(), TypeError, r"X .*layout torch.sparse_coo.*to_dense\(\)"),
    ],
)
def test_tensors_that_are_no_good(X, error, message):
    with pytest.raises(error, match=message):
        as_source(X, checked_for="TorchClassifier")


def test_a_list_of_samples_is_refused():
    for samples in ([(np.ones(2), 0)], [{"a": torch.ones(2)}]):
        with pytest.raises(ValueError, match=r"list of samples, each a .*SliceableDataset"):
            as_source(samples, checked_for="TorchClassifier")


def test_unchecked_values_are_only_converted():
    values = as_source([[np.nan, 1.0]]).values
    np.testing.assert_array_equal(values, [[np.nan, 1.0]])
    assert as_source(sparse.coo_array(np.eye(3))).values.format == "csr"


@pytest.mark.parametrize(
    "X",
    [
        np.ones((3, 2)),
        np.ones((3, 2, 2), dtype="float32"),
        np.full((3, 2), 60_000, dtype="float16"),  # Their sum is infinite.
        np.full((3, 2), np.finfo("float32").max),
        np.full((3, 2), 2**63, dtype="uint64"),
        np.ones((3, 2), dtype=">f4"),
        np.ones((3, 2), dtype=bool),
        np.array([[1, 2], [3, 4]], dtype=object),
        np.ones(3),
        np.ones((0, 2)),
        np.ones((3, 0)),
        np.array(1.0),
        np.array([[1.0, np.nan]]),
        np.array([[np.inf, -np.inf]]),
        np.array([[1j, 1]]),
        np.array([["a", "b"]]),
        np.eye(2).view(np.recarray),
    ],
    ids=repr,
)
@pytest.mark.filterwarnings("ignore:invalid value encountered in reduce")  # scikit-learn's sum
def test_arrays_are_checked_as_scikit_learn_checks_them(X):
    try:
        expected = check_array(X, allow_nd=True, estimator="TorchClassifier", input_name="X")
    except (TypeError, ValueError) as error:
        with pytest.raises(type(error), match=re.escape(str(error))):
            check_values(X, "TorchClassifier")
    else:
        checked = check_values(X, "TorchClassifier")
        assert (checked is X) == (expected is X)
        np.testing.assert_array_equal(checked, expected, strict=True)
