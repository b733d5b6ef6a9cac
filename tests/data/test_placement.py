"""Where rows are kept, and that it does not change the model."""

import numpy as np
import pytest
import torch
from scipy import sparse

from sktorch import TorchClassifier
from sktorch.data.placement import choose_placement, placed_rows

CPU = torch.device("cpu")
VALUES = np.arange(12.0).reshape(4, 3)


def mapped(tmp_path):
    path = tmp_path / "X.npy"
    np.save(path, VALUES)
    return np.load(path, mmap_mode="r")


@pytest.mark.parametrize(
    ("make", "wish", "expected"),
    [
        (lambda _: VALUES, "auto", "device"),
        (lambda _: VALUES, "device", "device"),
        (lambda _: VALUES, "host", "device"),  # A CPU's host is the device.
        (lambda _: VALUES, "source", "source"),
        (lambda _: torch.from_numpy(VALUES), "auto", "device"),
        (mapped, "auto", "source"),
        (mapped, "device", "source"),
        (lambda _: sparse.csr_array(VALUES), "auto", "source"),
        (lambda _: sparse.csr_array(VALUES), "device", "source"),
        (lambda _: {"a": VALUES, "b": VALUES}, "auto", "device"),
        (lambda _: {"a": VALUES, "b": sparse.csr_array(VALUES)}, "auto", "source"),
    ],
)
def test_choice_on_a_cpu(make, wish, expected, tmp_path):
    values = make(tmp_path)
    placement = choose_placement(values, torch.float32, CPU, wish)
    assert placement == expected
    rows = placed_rows(values, torch.float32, CPU, placement)
    assert rows.is_whole == (expected == "device")
    batch = rows[torch.tensor([2, 0])]
    batch = batch["b"] if isinstance(values, dict) else batch
    assert torch.equal(batch, torch.tensor(VALUES[[2, 0]], dtype=torch.float32))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
def test_placement_does_not_change_a_bit(iris, dtype):
    X, y = (10 * iris[0]).astype(dtype), iris[1]

    def fit(**placement):
        return TorchClassifier(max_epochs=3, random_state=0, device="cpu", **placement).fit(X, y)

    expected, got = fit(), fit(data_placement="source")
    assert (expected.data_placement_, got.data_placement_) == ("device", "source")
    np.testing.assert_array_equal(expected.predict_proba(X), got.predict_proba(X))
