"""Targets of any container as numpy arrays."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from sktorch.targets.arrays import as_numpy, check_matrix, is_label_matrix
from sktorch.targets.choice import label_codec


def test_tensors_become_arrays_and_others_stay():
    tensor, values = torch.tensor([1.0, 2.0], requires_grad=True), [1, 2]
    assert as_numpy(tensor).tolist() == [1.0, 2.0]
    assert as_numpy(values) is values


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        ([0, 1], False),
        ([], False),
        ("text", False),
        (None, False),
        (np.zeros((3, 1)), False),
        ([[0], [1]], False),
        ([[0, 1], [1, 1]], True),
        (((0, 1), (1, 1)), True),
        (np.zeros((3, 2)), True),
        (np.zeros((3, 2, 2)), False),
        (torch.zeros(3, 2), True),
        (pd.DataFrame({"a": [0], "b": [1]}), True),
        (sparse.csr_array(np.eye(3)), True),
    ],
)
def test_a_label_matrix_has_several_columns(y, expected):
    assert is_label_matrix(y) is expected


@pytest.mark.parametrize("container", [list, torch.tensor, pd.DataFrame, sparse.csr_array])
def test_checked_matrices_are_dense_arrays(container):
    checked = check_matrix(container([[0, 1], [1, 0], [1, 1]]), np.zeros((3, 1)))
    assert isinstance(checked, np.ndarray)
    assert checked.tolist() == [[0, 1], [1, 0], [1, 1]]


@pytest.mark.parametrize(
    ("Y", "message"),
    [
        ([[0.5, 1.5], [1.0, 2.5], [0.0, 1.0]], "Unknown label type: continuous"),
        ([[0, 1], [1, 0]], r"inconsistent numbers of samples: \[3, 2\]"),
        ([[0, np.nan], [1, 0], [1, 1]], "y contains NaN"),
        ([["a", None], ["b", "b"], ["a", "b"]], "(?i)nan|NoneType|unknown label type"),
    ],
)
def test_wrong_label_matrices(Y, message):
    with pytest.raises((ValueError, TypeError), match=message):
        label_codec(Y).check(Y, np.zeros((3, 1)))
