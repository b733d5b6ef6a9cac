"""Work against the formulas of the layers."""

import pytest
import torch
from torch import nn

from sktorch.training.work import Work, measure_work, rows_at_once

CPU = torch.device("cpu")


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(4, 8, batch_first=True)
        self.output = nn.Linear(8, 2)

    def forward(self, X):
        return self.output(self.rnn(X)[0][:, -1])


@pytest.mark.parametrize(
    ("module", "shape", "multiply_adds"),
    [
        (nn.Linear(5, 7), (5,), 5 * 7),
        (nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3)), (5,), 5 * 7 + 7 * 3),
        (nn.Conv2d(2, 6, 3, padding=1), (2, 8, 8), 6 * 8 * 8 * 2 * 3 * 3),
        (Recurrent(), (10, 4), 10 * 8 * 4 + 10 * 8 * 8 + 8 * 2),
        (nn.ReLU(), (5,), 0),
    ],
)
def test_multiply_adds(module, shape, multiply_adds):
    X = torch.ones(3, *shape)
    output, work = measure_work(module, X)
    assert work.multiply_adds == multiply_adds
    assert torch.equal(output, module(X))
    assert not any(layer._forward_hooks for layer in module.modules())


def test_activations_are_input_and_outputs():
    _, work = measure_work(nn.Sequential(nn.Linear(5, 7), nn.ReLU()), torch.ones(2, 5))
    assert work.activation_bytes == 4 * (5 + 7 + 7 + 7), (
        "the last one counts for the container, too"
    )


def test_hooks_go_after_an_error():
    module = nn.Linear(5, 7)
    with pytest.raises(RuntimeError):
        measure_work(module, torch.ones(3, 4))
    assert not module._forward_hooks


@pytest.mark.parametrize(
    ("activation_bytes", "n_rows"), [(0, 65_536), (1, 65_536), (4096, 1024), (10**9, 64)]
)
def test_rows_at_once(activation_bytes, n_rows):
    assert rows_at_once(Work(0, activation_bytes), CPU) == n_rows
