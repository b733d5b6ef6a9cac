"""Standardised inputs: about z near the mean, limited far out, and never silently wrong."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from sktorch.modules import MLP, Standardize, StandardizedMLP

X = torch.tensor([[1.0, 2000.0], [2.0, 2010.0], [4.0, 1990.0]])
MEAN, SCALE = X.mean(0), X.std(0, correction=0)


def by_hand(X, mean, scale, limit):
    y = (X - mean) / scale / limit
    return limit * y / (y.abs() + 1 / (1 + y.abs()))


@pytest.mark.parametrize("limit", [0.5, 3.0, 100.0])
def test_outputs(limit):
    layer = Standardize(MEAN, SCALE, limit)
    torch.testing.assert_close(layer(X), by_hand(X, MEAN, SCALE, limit))
    assert layer(X).abs().max() < limit
    assert not [*layer.parameters()]
    assert layer.state_dict().keys() == {"mean", "scale"}


def test_outputs_rise_with_inputs_to_the_limit_and_no_further():
    layer = Standardize([0.0], [1e-3])
    rising = torch.tensor([[-3e38], [-1e30], [-1.0], [-1e-9], [0.0], [1e-9], [1.0], [1e30]])
    outputs = layer(rising * 1e-3)
    assert (outputs.diff(dim=0) >= 0).all()
    torch.testing.assert_close(outputs[[0, 4, 7]], torch.tensor([[-3.0], [0.0], [3.0]]))
    torch.testing.assert_close(outputs[[3, 5]], torch.tensor([[-1e-9], [1e-9]]))


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
def test_what_no_number_says_is_not_a_number(value):
    outputs = Standardize(MEAN, SCALE)(torch.tensor([[value, 2000.0]]))
    assert outputs.isnan().tolist() == [[True, False]]


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([1.0, 2.0], None, torch.float32),
        (np.ones(2), None, torch.float64),
        (torch.ones(2, dtype=torch.float64), None, torch.float64),
        (np.ones(2), torch.float32, torch.float32),
    ],
)
def test_dtypes(values, dtype, expected):
    layer = Standardize(values, values, dtype=dtype)
    assert layer.mean.dtype is layer.scale.dtype is expected


def test_buffers_are_copies():
    mean = torch.zeros(2)
    layer = Standardize(mean, torch.ones(2))
    mean += 1
    assert layer.mean.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("scale", "limit"), [([1.0, 0.0], 3.0), ([1.0, -1.0], 3.0), ([1.0, torch.nan], 3.0), (1.0, 0)]
)
def test_a_scale_or_limit_that_is_not_above_zero(scale, limit):
    with pytest.raises(ValueError, match=r"above zero.*scale 1"):
        Standardize(MEAN, scale, limit)


# In front of an MLP


@pytest.mark.parametrize("n_features", [1, 4, 9, 400])
def test_the_mlp_gets_limited_rows_of_about_one_length(n_features):
    rows = torch.randn(500, n_features) * 1e3 + 1e4
    module = StandardizedMLP(n_features, 3, rows.mean(0), rows.std(0))
    hidden = module[0](rows)
    expected = by_hand(rows, rows.mean(0), rows.std(0), 3.0) * min(1, (4 / n_features) ** 0.5)
    torch.testing.assert_close(hidden, expected, rtol=1e-4, atol=1e-5)
    assert hidden.norm(dim=1).mean() < 2


def test_its_parameters_are_those_of_an_mlp():
    settings = {"hidden": (5, 4), "activation": "tanh", "dropout": 0.5, "normalization": "batch"}
    torch.manual_seed(0)
    plain = MLP(2, 3, **settings)
    state = torch.get_rng_state()
    torch.manual_seed(0)
    module = StandardizedMLP(2, 3, MEAN, SCALE, **settings)
    assert [*dict(module.named_parameters())] == [*dict(plain.named_parameters())]
    assert [*map(type, module)][1:] == [*map(type, plain)][1:]
    assert torch.equal(module[1].weight, plain[1].weight)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_computes_in_its_dtype(dtype):
    module = StandardizedMLP(2, 3, MEAN.double(), SCALE.numpy(), dtype=dtype)
    assert {tensor.dtype for tensor in module.state_dict().values()} == {dtype}
    assert module(X.to(dtype)).dtype is dtype


def test_pictures_are_flattened_once_they_are_standardised():
    pictures = torch.rand(6, 3, 2, 2)
    module = StandardizedMLP(12, 3, pictures.mean(0), pictures.std(0))
    flat = StandardizedMLP(12, 3, pictures.mean(0).flatten(), pictures.std(0).flatten())
    assert torch.equal(module[0](pictures), flat[0](pictures.flatten(1)))


def test_many_at_once(assert_stacks):
    def make():
        return StandardizedMLP(5, 3, torch.randn(5), torch.rand(5) + 0.1)

    assert_stacks(make, torch.randn(6, 5))


def test_a_linear_model():
    module = StandardizedMLP(2, 3, MEAN, SCALE, hidden=())
    assert [type(layer) for layer in [*module][1:]] == [nn.Linear]
    assert copy.deepcopy(module)(X).shape == (3, 3)
