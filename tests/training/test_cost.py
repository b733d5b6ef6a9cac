"""Work against the formulas of the layers."""

import pytest
import torch
from torch import nn

from sktorch.modules import Ensemble
from sktorch.training.cost import Work, measure_work, rows_at_once

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
        (Ensemble(nn.Linear, 4, in_features=5, out_features=7), (5,), 4 * 5 * 7),
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


N_STEPS, N_INPUTS, N_HIDDEN = 11, 5, 7


def recurrent(gates, directions=1, layers=1):
    """Every weight matrix, the input's and the state's, once a time step."""
    widths = [N_INPUTS] + [N_HIDDEN * directions] * (layers - 1)
    return N_STEPS * directions * sum(gates * N_HIDDEN * (width + N_HIDDEN) for width in widths)


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        (nn.RNN, {}, recurrent(1)),
        (nn.GRU, {}, recurrent(3)),
        (nn.LSTM, {}, recurrent(4)),
        (nn.LSTM, {"bidirectional": True}, recurrent(4, directions=2)),
        (nn.LSTM, {"bidirectional": True, "num_layers": 2}, recurrent(4, 2, 2)),
    ],
)
def test_multiply_adds_of_recurrent_layers(kind, options, expected):
    layer = kind(N_INPUTS, N_HIDDEN, batch_first=True, **options)
    _, work = measure_work(layer, torch.ones(3, N_STEPS, N_INPUTS))
    assert work.multiply_adds == expected


@pytest.mark.parametrize(
    ("layer", "shape", "multiply_adds"),
    [
        (nn.Linear(5, 7, bias=False), (4, 5), 4 * 5 * 7),
        (nn.Conv1d(4, 6, 3), (4, 10), 6 * 8 * 4 * 3),
        (nn.Conv2d(4, 6, 3, groups=2), (4, 8, 8), 6 * 6 * 6 * 2 * 3 * 3),
        (nn.Conv2d(4, 6, (1, 5), stride=2), (4, 9, 9), 6 * 5 * 3 * 4 * 5),
        (nn.BatchNorm2d(4), (4, 8, 8), 0),
    ],
)
def test_multiply_adds_of_other_layers(layer, shape, multiply_adds):
    for n_rows in (1, 3):
        _, work = measure_work(layer, torch.ones(n_rows, *shape))
        assert work.multiply_adds == multiply_adds, "of a row, whatever the number of rows"


@pytest.mark.parametrize(
    ("layer", "X", "multiply_adds"),
    [
        (nn.Embedding(50, 4), torch.ones(3, 6, dtype=torch.long), 0),
        (nn.EmbeddingBag(50, 4), torch.ones(3, 6, dtype=torch.long), 0),
        (
            nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, batch_first=True),
            torch.ones(3, 5, 8),
            5 * (4 * 8 * 8 + 2 * 8 * 16),
        ),
    ],
)
def test_multiply_adds_of_embeddings_and_of_projections(layer, X, multiply_adds):
    with torch.no_grad():
        _, work = measure_work(layer.eval(), X)
    assert sum(cost for *_, cost in work.layers) == multiply_adds


def test_a_layer_that_is_not_called_costs_nothing():
    class Idle(nn.Linear):
        def __init__(self):
            super().__init__(5, 7)
            self.idle = nn.Linear(500, 700)

    _, work = measure_work(Idle(), torch.ones(3, 5))
    assert work.multiply_adds == 5 * 7


def test_layers_have_names_shapes_and_costs():
    module = nn.Sequential(nn.Conv1d(2, 6, 3), nn.Flatten(), nn.Linear(6 * 8, 4))
    _, work = measure_work(module, torch.ones(3, 2, 10))
    assert work.layers == (
        ("0", (None, 6, 8), 6 * 8 * 2 * 3),
        ("1", (None, 48), 0),
        ("2", (None, 4), 48 * 4),
        ("", (None, 4), 0),
    )
    assert sum(cost for _, _, cost in work.layers) == work.multiply_adds


def test_a_layer_that_is_called_twice_costs_twice():
    layer = nn.Linear(5, 5)
    _, work = measure_work(nn.Sequential(layer, layer), torch.ones(2, 5))
    assert work.layers[0] == ("0", (None, 5), 2 * 5 * 5)


def test_inputs_by_name():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 2), nn.Linear(5, 2)

        def forward(self, a, b):
            return self.a(a) + self.b(b)

    _, work = measure_work(Both(), {"a": torch.ones(4, 3), "b": torch.ones(4, 5)})
    assert work.multiply_adds == 3 * 2 + 5 * 2


def test_rows_at_once_are_whole_numbers_between_their_bounds():
    counts = [rows_at_once(Work(0, 3**power), CPU) for power in range(25)]
    assert all(isinstance(count, int) for count in counts)
    assert counts == sorted(counts, reverse=True)
    assert (counts[0], counts[-1]) == (65_536, 64)
    assert len(set(counts)) > 3
