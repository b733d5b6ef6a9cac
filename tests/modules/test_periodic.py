"""`PeriodicEmbedding` against the formula of the paper, column by column."""

import math
from itertools import product

import pytest
import torch
from torch import nn

from sktorch.modules import MLP, PeriodicEmbedding
from tests.modules.searches import check_stacked_as_alone

torch.manual_seed(0)
X = torch.randn(7, 3, dtype=torch.float64)


def by_hand(layer, X, column):
    """The outputs of one column without its number, by sines and cosines."""
    angles = 2 * math.pi * X[:, column, None] * layer.frequencies[column]
    if layer.phases is None:
        waves = torch.cat([angles.sin(), angles.cos()], dim=1)
    else:
        waves = (angles + layer.phases[column] - math.pi / 2).cos()
    own = 0 if len(layer.weight) == 1 else column
    return layer.activation(waves @ layer.weight[own].T + layer.bias[own, :, 0])


@pytest.mark.parametrize(
    ("learn_phases", "shared", "activation", "keep_inputs"),
    [*product([True, False], [True, False], ["identity", "relu"], [True, False])],
)
def test_embeddings_are_those_of_the_formula(learn_phases, shared, activation, keep_inputs):
    layer = PeriodicEmbedding(
        3, 5, 2, 0.5, learn_phases, shared, activation, keep_inputs, dtype=torch.float64
    )
    parts = [X] * keep_inputs + [by_hand(layer, X, column) for column in range(3)]
    outputs = layer(X)
    assert outputs.shape == (7, layer.n_outputs) == (7, 3 * (2 + keep_inputs))
    torch.testing.assert_close(outputs, torch.cat(parts, dim=1))
    assert torch.autograd.gradcheck(layer, X.clone().requires_grad_())


def test_it_starts_as_the_paper_says():
    torch.manual_seed(0)
    layer = PeriodicEmbedding(500, n_frequencies=16, sigma=0.3)
    assert layer.frequencies.std().item() == pytest.approx(0.3, rel=0.05)
    assert layer.phases.abs().max() <= math.pi
    assert layer.phases.std().item() == pytest.approx(math.pi / 3**0.5, rel=0.05)
    assert 0.24 < layer.weight.abs().max() <= 0.25  # 1 / sqrt(16)
    assert {name for name, _ in layer.named_parameters()} == {
        "frequencies",
        "phases",
        "weight",
        "bias",
    }


def test_the_text_of_a_layer_has_its_sizes():
    text = repr(PeriodicEmbedding(3, 8, 2))
    assert text.startswith("PeriodicEmbedding(\n  3, n_frequencies=8, embedding_dim=2")


@pytest.mark.parametrize("name", ["n_features", "n_frequencies", "embedding_dim"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "3", None])
def test_wrong_sizes_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name}={value!r} must be a positive whole number"):
        PeriodicEmbedding(**{"n_features": 3} | {name: value})


@pytest.mark.parametrize("sigma", [0, -0.1, math.inf, math.nan])
def test_a_wrong_sigma_is_refused(sigma):
    with pytest.raises(ValueError, match=r"sigma=.* must be a positive number"):
        PeriodicEmbedding(3, sigma=sigma)


def test_a_wrong_activation_is_refused():
    with pytest.raises(ValueError, match="activation='rellu' is not known"):
        PeriodicEmbedding(3, activation="rellu")


def periodic_mlp(n_features, n_outputs, **parameters):
    embedding = PeriodicEmbedding(n_features, **parameters)
    return nn.Sequential(embedding, MLP(embedding.n_outputs, n_outputs, hidden=(8,)))


@pytest.mark.parametrize("learn_phases", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_a_search_trains_it_stacked(iris, monkeypatch, capsys, learn_phases, shared):
    check_stacked_as_alone(
        periodic_mlp,
        {"module__learn_phases": learn_phases, "module__shared": shared},
        iris,
        monkeypatch,
    )
    assert "train together" in capsys.readouterr().out
