"""What is predicted takes little memory beside the data."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sktorch import TorchClassifier

y = np.arange(60) % 2


class LargestOutput(TorchDispatchMode):
    """Notes the bytes of the largest tensor that an operation makes, beside views of others."""

    def __init__(self):
        super().__init__()
        self.n_bytes, self.operation = 0, None

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        known = {
            part.untyped_storage().data_ptr()
            for part in tree_leaves((args, kwargs))
            if isinstance(part, torch.Tensor)
        }
        value = operation(*args, **(kwargs or {}))
        for part in tree_leaves(value):
            if isinstance(part, torch.Tensor) and part.untyped_storage().data_ptr() not in known:
                n_bytes = part.untyped_storage().nbytes()
                if n_bytes > self.n_bytes:
                    self.n_bytes, self.operation = n_bytes, str(operation)
        return value


N_ROWS = 400_000
MANY = {
    "tensor": lambda: torch.rand(N_ROWS, 50),
    "tensor of float64": lambda: torch.rand(N_ROWS // 2, 50, dtype=torch.float64),
    "array": lambda: np.ones((N_ROWS, 50), np.float32),
    "dict of tensors": lambda: {"X": torch.rand(N_ROWS, 50)},
}


class Small(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.output = nn.Linear(50, n_outputs)

    def forward(self, X):
        return self.output(X)


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
@pytest.mark.parametrize("rows", MANY)
def test_predictions_take_a_part_of_the_rows_at_a_time(rows, method):
    given = MANY[rows]()
    few = {"X": given["X"][:60]} if isinstance(given, dict) else given[:60]
    fitted = TorchClassifier(Small, max_epochs=1).fit(few, y)
    leaves = given.values() if isinstance(given, dict) else [given]
    n_bytes = sum(part.nbytes for part in leaves)
    with LargestOutput() as seen:
        getattr(fitted, method)(given)
    assert seen.n_bytes < n_bytes / 8, seen.operation


def test_a_check_of_a_tensor_finds_a_value_anywhere():
    fitted = TorchClassifier(Small, max_epochs=1).fit(torch.rand(60, 50), y)
    for position in (0, 123_456, N_ROWS - 1):
        given = torch.rand(N_ROWS, 50)
        given[position, 7] = torch.nan
        with pytest.raises(ValueError, match="NaN"):
            fitted.predict(given)
