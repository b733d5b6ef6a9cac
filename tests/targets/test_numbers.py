"""Numbers: shapes, scale and back, whatever the loss."""

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler
from torch import nn

from sktorch.losses import QuantileLoss
from sktorch.losses.adapters import GaussianLoss
from sktorch.targets.numbers import Numbers

Y = np.random.RandomState(0).gamma(2.0, 10.0, (20, 3))


def codec_of(y, criterion=nn.MSELoss, scaled=True):
    codec = Numbers.of(y, criterion)
    if scaled:
        codec.fit_scale(codec.encode(y), None)
    return codec


@pytest.mark.parametrize("y", [Y, Y[:, :1], Y[:, 0]], ids=lambda y: str(y.shape))
def test_numbers_come_back_in_their_shape(y):
    codec = codec_of(y)
    encoded = codec.encode(y)
    assert encoded.shape == (20, codec.n_targets)
    np.testing.assert_array_equal(codec.decode(encoded), y)
    output = torch.zeros(2, codec.n_targets, dtype=torch.float64)
    target = codec.target(nn.MSELoss(), encoded, output)
    np.testing.assert_allclose(target, StandardScaler().fit_transform(encoded))
    # A module whose outputs are the targets predicts y.
    np.testing.assert_allclose(codec.predicted(nn.MSELoss(), target), encoded)


def test_weights_count_in_the_scale():
    weight = np.arange(20) % 3
    codec = codec_of(Y, scaled=False)
    codec.fit_scale(Y, weight)
    repeated = np.repeat(Y, weight, axis=0)
    np.testing.assert_allclose(codec.mean, repeated.mean(axis=0))
    np.testing.assert_allclose(codec.scale, repeated.std(axis=0))


def test_a_constant_column_keeps_a_scale():
    codec = codec_of(np.full((5, 1), 3.0))
    assert codec.scale.tolist() == [1.0]
    output = torch.zeros(5, 1)
    np.testing.assert_array_equal(codec.predicted(nn.MSELoss(), output), np.full((5, 1), 3.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_targets_and_predictions_have_the_outputs_dtype(dtype):
    codec, output = codec_of(Y), torch.zeros(20, 3, dtype=dtype)
    assert codec.target(nn.MSELoss(), Y, output).dtype is dtype
    assert codec.predicted(nn.MSELoss(), output).dtype is dtype


@pytest.mark.parametrize(
    ("criterion", "n_targets", "width"),
    [
        (nn.MSELoss(), 3, 3),
        (nn.PoissonNLLLoss(), 3, 3),
        (GaussianLoss(nn.GaussianNLLLoss()), 3, 6),
        (QuantileLoss(0.3), 3, 3),
        (QuantileLoss([0.1, 0.5, 0.7, 0.9]), 1, 4),
    ],
    ids=str,
)
def test_the_width_of_an_output(criterion, n_targets, width):
    codec = codec_of(Y[:, :n_targets], criterion, scaled=False)
    codec.check_criterion(criterion)
    assert codec.n_outputs(criterion) == width
    codec.check_output(criterion, torch.zeros(20, width), 20)
    with pytest.raises(ValueError, match=rf"expects \(20, {width}\)"):
        codec.check_output(criterion, torch.zeros(20, width + 1), 20)
    assert codec.predicted(criterion, torch.zeros(20, width)).shape == (20, width) or width == 6


def test_means_and_deviations_are_scaled_back():
    criterion, codec = GaussianLoss(nn.GaussianNLLLoss()), codec_of(Y)
    output = torch.randn(4, 6, dtype=torch.float64)
    mean, variance = output[:, :3], nn.functional.softplus(output[:, 3:])
    predicted, deviation = (
        function(criterion, output) for function in (codec.predicted, codec.standard_deviation)
    )
    np.testing.assert_allclose(predicted, mean.numpy() * Y.std(0) + Y.mean(0))
    np.testing.assert_allclose(deviation, variance.sqrt().numpy() * Y.std(0))
    assert codec.standard_deviation(nn.MSELoss(), output[:, :3]) is None


@pytest.mark.parametrize(
    ("criterion", "expected"),
    [(nn.PoissonNLLLoss(), np.e), (nn.PoissonNLLLoss(log_input=False), 1.0)],
)
def test_counts_are_never_scaled(criterion, expected):
    codec = codec_of(Y, criterion)
    np.testing.assert_allclose(codec.predicted(criterion, torch.ones(1, 3)), expected)
    with pytest.raises(ValueError, match=r"y holds -1\.0.*loss of counts"):
        codec.encode(-np.ones((2, 3)))


@pytest.mark.parametrize("given", [Y, Y.tolist(), torch.from_numpy(Y), Y.astype(object)])
def test_checked_numbers_are_float64(given):
    checked = Numbers.check(given, Y)
    assert checked.dtype == np.float64
    np.testing.assert_array_equal(checked, Y)


def test_features_of_steps_and_channels_of_pictures_share_a_scale():
    steps = np.random.default_rng(0).normal(size=(20, 5, 3)) * [1, 10, 100] + [0, 5, 50]
    codec = codec_of(steps)
    target = codec.target(nn.MSELoss(), codec.encode(steps), torch.zeros(20, 5, 3))
    np.testing.assert_allclose(target.mean((0, 1)), 0, atol=1e-5)
    np.testing.assert_allclose(target.std((0, 1), correction=0), 1, rtol=1e-5)
    pictures = codec_of(np.moveaxis(steps[:, :, None], -1, 1))
    np.testing.assert_allclose(np.unique(pictures.scale), np.unique(codec.scale))
    assert (pictures.n_outputs(nn.MSELoss), codec.n_outputs(nn.MSELoss)) == (3, 3)
    weight = np.arange(20) % 3
    codec.fit_scale(codec.encode(steps), weight)
    repeated = np.repeat(steps, weight, axis=0).reshape(-1, 3)
    np.testing.assert_allclose(codec.scale.reshape(5, 3)[0], repeated.std(0))


def test_means_and_variances_of_steps_are_in_the_last_dimension():
    steps = np.random.default_rng(0).normal(size=(20, 5, 3))
    criterion, codec = GaussianLoss(nn.GaussianNLLLoss()), codec_of(steps)
    codec.check_output(criterion, torch.zeros(20, 5, 6), 20)
    assert codec.decode(codec.standard_deviation(criterion, torch.zeros(20, 5, 6))).shape == (
        20,
        5,
        3,
    )
    with pytest.raises(ValueError, match="three dimensions at most"):
        codec_of(steps[:, None]).check_criterion(nn.GaussianNLLLoss)
