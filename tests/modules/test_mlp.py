"""The multi-layer perceptron."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from sktorch.modules import MLP
from sktorch.modules._layers import ACTIVATIONS


def kinds(module):
    return [type(layer).__name__ for layer in module]


@pytest.mark.parametrize(
    ("hidden", "widths"),
    [
        ((), [(5, 3)]),
        ([], [(5, 3)]),
        (7, [(5, 7), (7, 3)]),
        (np.int64(7), [(5, 7), (7, 3)]),
        ((7,), [(5, 7), (7, 3)]),
        ([7, 6], [(5, 7), (7, 6), (6, 3)]),
        (np.array([7, 6]), [(5, 7), (7, 6), (6, 3)]),
        ((1, 1, 1), [(5, 1), (1, 1), (1, 1), (1, 3)]),
    ],
)
def test_hidden_widths(hidden, widths):
    module = MLP(5, 3, hidden=hidden)
    linears = [layer for layer in module if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linears] == widths
    assert module(torch.zeros(4, 5)).shape == (4, 3)


def test_defaults():
    module = MLP(5, 3)
    assert kinds(module) == ["Flatten", "Linear", "ReLU", "Linear"]
    assert module[1].out_features == 100
    assert module[1].weight.dtype is torch.float32


def test_output_is_that_of_the_formula():
    module = MLP(4, 2, hidden=(3,), activation="tanh", dtype=torch.float64)
    X = torch.randn(6, 4, dtype=torch.float64)
    W1, b1, W2, b2 = module.parameters()
    torch.testing.assert_close(module(X), torch.tanh(X @ W1.T + b1) @ W2.T + b2)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_by_name(name):
    module = MLP(5, 3, hidden=(4, 4), activation=name)
    assert [type(module[2]), type(module[4])] == [ACTIVATIONS[name]] * 2
    assert module[2] is not module[4]


@pytest.mark.parametrize("activation", [nn.Mish, lambda: nn.LeakyReLU(0.3), lambda: nn.PReLU(4)])
def test_an_activation_of_ones_own(activation):
    module = MLP(5, 3, hidden=(4,), activation=activation)
    assert type(module[2]) is type(activation())


def test_dropout_follows_every_hidden_layer():
    module = MLP(5, 3, hidden=(4, 4), dropout=0.3)
    assert kinds(module) == ["Flatten", *["Linear", "ReLU", "Dropout"] * 2, "Linear"]
    assert module[3].p == 0.3
    assert kinds(MLP(5, 3, hidden=(), dropout=0.3)) == ["Flatten", "Linear"]


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 1, 3, 4), (2, 12)])
def test_samples_of_any_rank_are_flattened(shape):
    module = MLP(12, 3)
    X = torch.randn(shape)
    assert torch.equal(module(X), module(X.reshape(2, 12)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_dtype(dtype):
    module = MLP(5, 3, hidden=(4,), dtype=dtype)
    assert {parameter.dtype for parameter in module.parameters()} == {dtype}
    assert module(torch.zeros(2, 5, dtype=dtype)).dtype is dtype


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"activation": "rolu"},
            r"activation='rolu' is not known; expected one of \['elu'.*'tanh'\]",
        ),
        ({"activation": "ReLU"}, "activation='ReLU' is not known"),
        ({"activation": "reul"}, r"\]( or .*)\. Did you mean 'relu'\?"),
        ({"activation": nn.ReLU()}, "or a function that returns an nn.Module"),
        ({"normalization": "bacth"}, r"\['batch', 'layer'\] or None. Did you mean 'batch'\?"),
        ({"normalization": True}, "normalization=True is not known"),
        ({"hidden": 0}, r"hidden=\(0,\) must hold positive layer widths"),
        ({"hidden": (5, -1)}, r"hidden=\(5, -1\) must hold positive layer widths"),
        ({"hidden": (5, 2.5)}, r"hidden=\(5, 2.5\) must hold"),
        ({"dropout": 1.5}, "dropout probability has to be between 0 and 1"),
        ({"dropout": -0.1}, "dropout probability has to be between 0 and 1"),
    ],
)
def test_wrong_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        MLP(5, 3, **parameters)


@pytest.mark.parametrize(("name", "layer"), [("batch", "BatchNorm1d"), ("layer", "LayerNorm")])
def test_normalization_comes_before_the_activation(name, layer):
    module = MLP(5, 3, hidden=(4, 4), dropout=0.3, normalization=name)
    block = ["Linear", layer, "ReLU", "Dropout"]
    assert kinds(module) == ["Flatten", *block * 2, "Linear"]
    assert (module[1].bias is None) == (name == "batch")
    assert module[-1].bias is not None


@pytest.mark.parametrize("normalization", ["batch", "layer"])
def test_normalized_values(normalization):
    module = MLP(5, 3, hidden=(4,), normalization=normalization, dtype=torch.float64)
    hidden = nn.Sequential(*module)[:3](torch.randn(50, 5, dtype=torch.float64))
    along = 0 if normalization == "batch" else 1
    torch.testing.assert_close(hidden.mean(along), torch.zeros_like(hidden.mean(along)))
    variance = hidden.var(along, correction=0)
    torch.testing.assert_close(variance, torch.ones_like(variance), rtol=0.01, atol=0)


@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
def test_learns_iris(iris, losses_of_training, normalization):
    X, y = map(torch.from_numpy, iris)
    module = MLP(4, 3, hidden=(16,), normalization=normalization, dtype=torch.float64)
    first, last = losses_of_training(module, y, X)
    assert last < 0.7 * first


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_clones(clone):
    module = MLP(5, 3, dropout=0.5, normalization="batch").eval()
    X = torch.randn(2, 5)
    assert torch.equal(clone(module)(X), module(X))


@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
def test_many_at_once(assert_stacks, normalization):
    assert_stacks(lambda: MLP(5, 3, normalization=normalization), torch.randn(6, 5))
