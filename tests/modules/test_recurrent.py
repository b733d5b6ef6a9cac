"""The recurrent network."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from sktorch import TorchClassifier
from sktorch.modules import RecurrentNet

VARIANTS = [
    {},
    {"cell": "lstm"},
    {"n_layers": 2},
    {"bidirectional": True},
    {"cell": "lstm", "bidirectional": True, "n_layers": 2},
]
LENGTHS = torch.tensor([3, 7, 1, 5])


@pytest.fixture
def sequences():
    """Four sequences of 7 steps at most, three features, float64."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(4, 7, 3, dtype=torch.float64, generator=generator)


def small(**parameters):
    return RecurrentNet((None, 3), 2, hidden=5, dtype=torch.float64, **parameters)


def padded_with(sequences, value):
    padding = torch.arange(7) >= LENGTHS[:, None]
    return sequences.masked_fill(padding[:, :, None], value)


@pytest.mark.parametrize("parameters", VARIANTS)
@pytest.mark.parametrize("padding", [0.0, 1e6, float("nan")])
def test_padding_changes_nothing(sequences, parameters, padding):
    module = small(**parameters)
    X = padded_with(sequences, padding)
    output = module(X, LENGTHS)
    unpadded = [module(x[None, :n])[0] for x, n in zip(X, LENGTHS, strict=True)]
    torch.testing.assert_close(output, torch.stack(unpadded))


@pytest.mark.parametrize("parameters", VARIANTS)
def test_padding_changes_no_gradient(sequences, parameters):
    module = small(**parameters)
    gradients = []
    for padding in (0.0, float("nan")):
        module.zero_grad()
        module(padded_with(sequences, padding), LENGTHS).sum().backward()
        gradients.append([parameter.grad.clone() for parameter in module.parameters()])
    torch.testing.assert_close(*gradients)
    module.zero_grad()
    sum(module(x[None, :n]).sum() for x, n in zip(sequences, LENGTHS, strict=True)).backward()
    torch.testing.assert_close([p.grad for p in module.parameters()], gradients[0])


@pytest.mark.parametrize("parameters", VARIANTS)
def test_full_lengths_are_no_lengths(sequences, parameters):
    module = small(**parameters)
    torch.testing.assert_close(module(sequences, torch.full((4,), 7)), module(sequences))


def test_output_is_that_of_cells_step_by_step(sequences):
    module = small(activation="tanh")
    cell = nn.GRUCell(3, 5, dtype=torch.float64)
    state = module.recurrent.state_dict()
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in state.items()})
    hidden = torch.zeros(4, 5, dtype=torch.float64)
    for step in sequences.unbind(1):
        hidden = cell(step, hidden)
    head = module.head[-1]
    torch.testing.assert_close(module(sequences), hidden.tanh() @ head.weight.T + head.bias)


def test_both_directions_read_the_sequence(sequences):
    module = small(bidirectional=True)
    assert module.head[-1].in_features == 10
    output = module(sequences)
    for step in (0, -1):  # Each direction's last step matters, and its first.
        other = sequences.clone()
        other[:, step] += 1
        assert not torch.allclose(module(other), output)


@pytest.mark.parametrize("normalization", ["batch", "layer"])
def test_head(normalization):
    module = small(normalization=normalization, activation="relu", dropout=0.3)
    norm = {"batch": "BatchNorm1d", "layer": "LayerNorm"}[normalization]
    assert [type(layer).__name__ for layer in module.head] == [norm, "ReLU", "Dropout", "Linear"]
    assert module.recurrent.dropout == 0.0
    assert small(dropout=0.3, n_layers=2).recurrent.dropout == 0.3


@pytest.mark.parametrize("parameters", [*VARIANTS, {"normalization": "batch"}])
def test_learns_digits_row_by_row(digits_images, losses_of_training, parameters):
    X, y = map(torch.from_numpy, digits_images)
    torch.manual_seed(0)
    module = RecurrentNet((8, 8), 10, hidden=16, **parameters)
    lengths = torch.full((300,), 8)
    first, last = losses_of_training(module, y[:300], X[:300, 0], lengths, n_steps=30)
    assert last < 0.8 * first


@pytest.mark.parametrize("parameters", VARIANTS)
@pytest.mark.parametrize("clone", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_clones(sequences, clone, parameters):
    module = small(**parameters).eval()
    assert torch.equal(clone(module)(sequences), module(sequences))


def test_dtype(sequences):
    module = small(normalization="batch", bidirectional=True)
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float64}
    assert module(sequences, LENGTHS).dtype is torch.float64
    assert RecurrentNet((7, 3), 2)(sequences.float()).dtype is torch.float32


@pytest.mark.parametrize("parameters", [{}, {"normalization": "batch"}, {"n_layers": 2}])
def test_many_at_once(sequences, assert_stacks, parameters):
    assert_stacks(lambda: small(**parameters), sequences)
    assert_stacks(lambda: small(**parameters), sequences, LENGTHS)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"input_shape": (7,)}, r"input_shape=\(7,\) must be \(n_steps, n_features\). Reshape X"),
        ({"input_shape": (1, 7, 3)}, "must be"),
        ({"input_shape": {"x": (7, 3)}}, r"input_shape=\(\) must be"),
        ({"input_shape": ((7,), ())}, r"input_shape=\(7,\) must be"),
        ({"input_shape": (3, None)}, r"input_shape\[-1\]=None must be a positive whole number"),
        ({"hidden": 0}, "hidden=0 must be a positive"),
        ({"hidden": (4, 4)}, r"hidden=\(4, 4\) must be a positive whole number"),
        ({"n_layers": 0}, "n_layers=0 must be"),
        ({"cell": "ltsm"}, r"cell='ltsm' .* one of \['gru', 'lstm'\]. Did you mean 'lstm'?"),
        ({"activation": "thanh"}, "Did you mean 'tanh'?"),
        ({"normalization": "group"}, "normalization='group' is not known"),
        ({"dropout": -1}, "dropout probability has to be between 0 and 1"),
    ],
)
def test_wrong_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        RecurrentNet(**{"input_shape": (7, 3), "n_outputs": 3} | parameters)


@pytest.mark.parametrize(
    "input_shape",
    [(7, 3), [None, 3], (None, 3), {"X": (7, 3), "lengths": ()}, ((7, 3), ())],
)
def test_input_shape(input_shape):
    assert RecurrentNet(input_shape, 2).recurrent.input_size == 3


def test_lengths_beside_sequences_in_a_classifier(digits_images):
    X, y = digits_images[0][:200, 0], digits_images[1][:200]
    inputs = {"X": X, "lengths": np.full(200, 8)}
    one, other = (
        TorchClassifier(RecurrentNet, max_epochs=2, random_state=0).fit(data, y).predict_proba(data)
        for data in (X, inputs)
    )
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("bidirectional", "lengths", "error", "message"),
    [
        (False, [3.0, 1.0, 1.0, 1.0], TypeError, "must be an int64 tensor, got torch.float32"),
        (False, [3, 1], ValueError, r"lengths has shape \(2,\); expected \(4,\)"),
        (True, [3, 1], ValueError, r"lengths has shape \(2,\); expected \(4,\)"),
        (False, [3, 1, 8, 1], RuntimeError, "index 7 is out of bounds"),
        (False, [3, 1, 0, 1], RuntimeError, "index -1 is out of bounds"),
        (True, [3, 1, 8, 1], ValueError, "between 1 and the 7 steps of X, got 1 to 8"),
        (True, [3, 1, 0, 1], ValueError, "between 1 and the 7 steps of X, got 0 to 3"),
    ],
)
def test_wrong_lengths(sequences, bidirectional, lengths, error, message):
    with pytest.raises(error, match=message):
        small(bidirectional=bidirectional)(sequences, torch.tensor(lengths))


def test_wrong_rank(sequences):
    with pytest.raises(ValueError, match=r"X has shape \(7, 3\); expected \(n_samples, n_steps"):
        small()(sequences[0])
