"""`PiecewiseLinearEmbedding` against the definition of its encoding, and bins of quantiles."""

import numpy as np
import pytest
import torch
from torch import nn

from sktorch.modules import MLP, PiecewiseLinearEmbedding, quantile_bins
from tests.modules.searches import check_stacked_as_alone

EDGES = [[0.0, 1.0, 3.0, 10.0], [-1.0, 1.0], [0.0, 0.0, 2.0, 2.0, 4.0], [5.0]]
torch.manual_seed(0)
X = torch.cat([8 * torch.randn(60, 4), torch.tensor([[0.0, 1.0, 2.0, 5.0], [1.0, -1.0, 4.0, 6.0]])])
X = X.double()


def encoded(x, edges):
    """How a number fills the bins of its column: equation 1 of Gorishniy et al., 2022."""
    edges = sorted(set(edges))
    n_bins = len(edges) - 1
    filled = []
    for t in range(n_bins):
        share = (x - edges[t]) / (edges[t + 1] - edges[t])
        if x < edges[t] and t > 0:
            share = 0.0
        if x >= edges[t + 1] and t < n_bins - 1:
            share = 1.0
        filled.append(share)
    return filled


@pytest.mark.parametrize("starts_linear", [True, False])
@pytest.mark.parametrize("activation", ["identity", "relu"])
def test_embeddings_are_those_of_the_definition(starts_linear, activation):
    layer = PiecewiseLinearEmbedding(EDGES, 3, starts_linear, activation, dtype=torch.float64)
    nn.init.normal_(layer.weight)
    expected = []
    for column, edges in enumerate(EDGES):
        is_bin = torch.tensor(edges).diff() > 0
        weight = layer.weight[column][:, : len(is_bin)][:, is_bin]
        filled = torch.tensor([encoded(float(x), edges) for x in X[:, column]], dtype=X.dtype)
        linear = layer.linear[column]
        outputs = filled.reshape(len(X), -1) @ weight.T + linear[:, -1]
        if starts_linear:
            outputs = outputs + X[:, column, None] * linear[:, 0]
        expected.append(layer.activation(outputs))
    assert layer(X).shape == (len(X), layer.n_outputs) == (62, 12)
    torch.testing.assert_close(layer(X), torch.cat(expected, dim=1))


def test_it_starts_as_a_linear_map():
    layer = PiecewiseLinearEmbedding(EDGES, 3, dtype=torch.float64)
    zero, one, two = (layer(torch.full((1, 4), x, dtype=X.dtype)) for x in (0.0, 10.0, 20.0))
    torch.testing.assert_close(two - one, one - zero)
    assert layer.weight.count_nonzero() == 0
    assert PiecewiseLinearEmbedding(EDGES, 3, starts_linear=False).weight.count_nonzero() > 0


def test_bins_are_saved_with_the_module():
    layer, other = (
        PiecewiseLinearEmbedding(EDGES, 3),
        PiecewiseLinearEmbedding([[0, 1, 2, 3, 4]] * 4, 3),
    )
    other.load_state_dict(layer.state_dict())
    torch.testing.assert_close(other(X.float()), layer(X.float()), rtol=0, atol=0)


def test_the_text_of_a_layer_has_its_sizes():
    assert "4, n_bins=4, embedding_dim=3" in repr(PiecewiseLinearEmbedding(EDGES, 3))


@pytest.mark.parametrize(
    ("bins", "message"),
    [
        ([], "has 0 columns of"),
        ([[1.0]], "1 columns of .1. edges"),
        ([[0.0, 1.0], []], "2 columns of .2, 0. edges"),
        ([[0.0, 2.0, 1.0]], "must hold finite edges that do not fall"),
        ([[0.0, float("nan")]], "must hold finite edges"),
        ([[0.0, float("inf")]], "must hold finite edges"),
    ],
)
def test_wrong_bins_are_refused(bins, message):
    with pytest.raises(ValueError, match=message):
        PiecewiseLinearEmbedding(bins)


@pytest.mark.parametrize("n_bins", [1, 2, 5, 48])
@pytest.mark.parametrize("kind", [np.asarray, torch.tensor], ids=["array", "tensor"])
def test_bins_are_quantiles_of_the_rows(n_bins, kind, iris):
    edges = quantile_bins(kind(iris[0]), n_bins)
    expected = np.quantile(iris[0], np.linspace(0, 1, n_bins + 1), axis=0).T
    assert edges.shape == (4, n_bins + 1)
    np.testing.assert_allclose(edges, expected, rtol=1e-12)


def test_missing_values_do_not_count():
    column = torch.tensor([[0.0], [float("nan")], [1.0], [2.0], [float("nan")]])
    assert quantile_bins(column, 2).tolist() == [[0.0, 1.0, 2.0]]


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (torch.zeros(3), "must have shape"),
        (torch.zeros(0, 2), "must have shape .* and rows"),
        (torch.full((3, 1), float("nan")), "a column without a finite number"),
        (torch.tensor([[0.0], [float("inf")]]), "or with infinite ones"),
    ],
)
def test_rows_without_quantiles_are_refused(X, message):
    with pytest.raises(ValueError, match=message):
        quantile_bins(X)
    with pytest.raises(ValueError, match="n_bins=0 must be"):
        quantile_bins(X, 0)


def binned_mlp(n_features, n_outputs, bins, **parameters):
    embedding = PiecewiseLinearEmbedding(bins, embedding_dim=3, **parameters)
    return nn.Sequential(embedding, MLP(embedding.n_outputs, n_outputs, hidden=(8,)))


@pytest.mark.parametrize("starts_linear", [True, False])
def test_a_search_trains_it_stacked(iris, monkeypatch, capsys, starts_linear):
    parameters = {
        "module__bins": quantile_bins(iris[0], 8),
        "module__starts_linear": starts_linear,
    }
    check_stacked_as_alone(binned_mlp, parameters, iris, monkeypatch)
    assert "train together" in capsys.readouterr().out
