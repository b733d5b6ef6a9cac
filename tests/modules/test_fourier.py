"""`FourierFeatures` against sines and cosines by hand."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from sktorch.modules import MLP, FourierFeatures
from tests.modules.searches import check_stacked_as_alone

X = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_waves_are_an_octave_apart():
    waves = FourierFeatures(n_frequencies=3, lowest=0.2)(X)
    angles = np.concatenate([2 * np.pi * f * X.numpy() for f in (0.2, 0.4, 0.8)], axis=1)
    np.testing.assert_allclose(waves, np.concatenate([np.sin(angles), np.cos(angles)], axis=1))


@pytest.mark.parametrize("shape", [(3,), (7, 3), (2, 7, 3), (0, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_they_are_made_along_the_last_dimension(shape, dtype):
    layer, inputs = FourierFeatures(4), torch.ones(shape, dtype=dtype)
    waves = layer(inputs)
    assert waves.shape == (*shape[:-1], 24)
    assert waves.dtype == dtype
    assert not [*layer.parameters(), *layer.buffers()]


def test_the_text_of_a_layer_has_its_frequencies():
    assert repr(FourierFeatures(3, 0.5)) == "FourierFeatures(n_frequencies=3, lowest=0.5)"


@pytest.mark.parametrize("value", [0, -1, 1.5, "3", None])
def test_a_wrong_number_of_frequencies_is_refused(value):
    with pytest.raises(ValueError, match=f"n_frequencies={value!r} must be a positive whole numb"):
        FourierFeatures(value)


@pytest.mark.parametrize("lowest", [0, -0.1, math.inf, math.nan])
def test_a_wrong_frequency_is_refused(lowest):
    with pytest.raises(ValueError, match=r"lowest=.* must be a positive number"):
        FourierFeatures(lowest=lowest)


def waves_of(n_features, n_outputs):
    return nn.Sequential(FourierFeatures(2), MLP(4 * n_features, n_outputs, hidden=(8,)))


def test_a_search_trains_it_stacked(iris, monkeypatch, capsys):
    check_stacked_as_alone(waves_of, {}, iris, monkeypatch)
    assert "train together" in capsys.readouterr().out
