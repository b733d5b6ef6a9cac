"""`ScaleLayer` multiplies each feature by its factor."""

import pytest
import torch
from torch import nn

from sktorch.modules import MLP, ScaleLayer
from tests.modules.searches import check_stacked_as_alone


@pytest.mark.parametrize("shape", [(5, 3), (3,), (2, 5, 3)])
def test_features_are_multiplied_by_factors_that_start_at_one(shape):
    layer, X = ScaleLayer(3), torch.randn(shape)
    assert torch.equal(layer(X), X)
    factors = torch.tensor([2.0, 0.0, -1.0])
    layer.load_state_dict({"weight": factors})
    assert torch.equal(layer(X), X * factors)
    assert ScaleLayer(3, dtype=torch.float64)(X).dtype == torch.float64
    assert repr(layer) == "ScaleLayer(3)"


@pytest.mark.parametrize("n_features", [0, 1.5, None])
def test_a_wrong_size_is_refused(n_features):
    with pytest.raises(ValueError, match=r"n_features=.* must be a positive whole number"):
        ScaleLayer(n_features)


def scaled_mlp(n_features, n_outputs):
    return nn.Sequential(ScaleLayer(n_features), MLP(n_features, n_outputs, hidden=(8,)))


def test_a_search_trains_it_stacked(iris, monkeypatch, capsys):
    groups = {"optimizer__param_groups": [("0.weight", {"lr_factor": 6})]}
    check_stacked_as_alone(scaled_mlp, groups, iris, monkeypatch)
    assert "train together" in capsys.readouterr().out
