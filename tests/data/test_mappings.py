"""Several inputs by name."""

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn

from sktorch import TorchClassifier
from sktorch.data.sources import as_source

X = np.arange(12.0).reshape(4, 3)


def test_rows_are_taken_of_all_entries():
    source = as_source({"a": X, "b": torch.from_numpy(X[:, 0]), "c": sparse.csr_array(X)})
    rows = source.tensors(torch.tensor([2, 0]), torch.float32, torch.device("cpu"))
    assert {name: x.tolist() for name, x in rows.items()} == {
        "a": X[[2, 0]].tolist(),
        "b": X[[2, 0], 0].tolist(),
        "c": X[[2, 0]].tolist(),
    }
    assert {x.dtype for x in rows.values()} == {torch.float32}


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ({"a": X}, False),
        ({"a": X, "b": sparse.csr_array(X)}, True),
        ({"a": torch.from_numpy(X)}, False),
    ],
)
def test_an_entry_that_is_never_dense_keeps_all_at_the_source(entries, expected):
    assert as_source(entries).is_lazy is expected


def test_callbacks_get_what_indexes_by_rows():
    values = as_source({"a": X, "b": X[:, :1]}, checked_for="TorchClassifier").values
    assert values.shape == (4,)
    assert values[1:3]["b"].tolist() == X[1:3, :1].tolist()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({}, r"keys \[\]; expected the names of the arguments"),
        ({0: X}, r"keys \[0\]; expected the names"),
        ({"a": X, "b": X[:2]}, r"inconsistent numbers of samples: \[4, 2\]"),
        ({"a": X, "b": X * np.nan}, r"X\['b'\] contains NaN"),
        ({"a": torch.full((4, 2), torch.nan)}, "contains NaN or infinity"),
    ],
)
def test_wrong_entries(entries, message):
    with pytest.raises(ValueError, match=message):
        as_source(entries, checked_for="TorchClassifier")


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.output = nn.Linear(3, 2)

    def forward(self, a):
        return self.output(a)


def test_a_file_of_named_arrays_is_fitted_as_the_dict(tmp_path):
    np.savez(tmp_path / "X.npz", a=X.astype("float32"))
    settings = {"max_epochs": 1, "random_state": 0, "device": "cpu"}
    expected = TorchClassifier(Named, **settings).fit({"a": X.astype("float32")}, [0, 1, 0, 1])
    with np.load(tmp_path / "X.npz") as entries:
        fitted = TorchClassifier(Named, **settings).fit(entries, [0, 1, 0, 1])
    assert fitted.loss_curve_ == expected.loss_curve_
