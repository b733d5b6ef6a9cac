"""The pinball loss against scikit-learn's, and its minimiser."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes
from sklearn.metrics import mean_pinball_loss

from sktorch.losses.adapters import LossFunction
from sktorch.losses.quantile import QuantileLoss

LEVELS = [0.1, 0.5, 0.9]


@pytest.fixture(scope="module")
def target():
    return torch.as_tensor(load_diabetes().target)


@pytest.mark.parametrize("quantile", LEVELS)
def test_the_loss_is_that_of_scikit_learn(target, quantile):
    output = target.flip(0)
    expected = mean_pinball_loss(target, output, alpha=quantile)
    assert QuantileLoss(quantile)(output, target).item() == pytest.approx(expected)
    assert QuantileLoss(quantile, "sum")(output, target).item() == pytest.approx(
        expected * len(target)
    )
    assert QuantileLoss(quantile, "none")(output, target).mean().item() == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_several_quantiles_have_a_column_each(target, shape):
    output = torch.stack([target.flip(0), target.roll(1), target.roll(2)], dim=1)
    expected = [
        mean_pinball_loss(target, column, alpha=level)
        for column, level in zip(output.T, LEVELS, strict=True)
    ]
    losses = QuantileLoss(LEVELS, "none")(output, target.reshape(shape))
    np.testing.assert_allclose(losses.mean(0), expected, rtol=1e-6)
    mean = QuantileLoss(LEVELS)(output, target.reshape(shape))
    assert mean.item() == pytest.approx(np.mean(expected))


def test_several_targets():
    output, target = torch.zeros(5, 2, 3), torch.ones(5, 2)
    losses = QuantileLoss(LEVELS, "none")(output, target)
    np.testing.assert_allclose(losses, np.broadcast_to(LEVELS, (5, 2, 3)), rtol=1e-6)
    assert QuantileLoss(0.25)(torch.zeros(5, 2), target).item() == 0.25


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("quantile", [0.3, LEVELS])
def test_the_output_keeps_its_dtype_once_the_loss_has_it(dtype, quantile):
    loss = QuantileLoss(quantile).to(dtype)
    output = torch.zeros(4, 3, dtype=dtype)
    target = output[:, 0] if isinstance(quantile, list) else output
    assert loss(output, target).dtype == dtype


@pytest.mark.parametrize("quantile", [0.2, 0.8])
def test_its_minimiser_is_the_quantile(target, quantile):
    loss = QuantileLoss(quantile)
    candidates = target.unique()
    losses = [loss(value.expand_as(target), target).item() for value in candidates]
    best = candidates[np.argmin(losses)].item()
    assert best == pytest.approx(np.quantile(target, quantile), abs=2)


def test_weights_of_rows(target):
    output, weight = torch.stack([target.flip(0)] * 3, dim=1), torch.rand(len(target))
    got = LossFunction(QuantileLoss(LEVELS))(output, target, weight)
    by_row = QuantileLoss(LEVELS, "none")(output, target).mean(1)
    torch.testing.assert_close(got, (by_row * weight).mean())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda loss: pickle.loads(pickle.dumps(loss))])
def test_copies(copied):
    loss = copied(QuantileLoss(LEVELS))
    assert loss(torch.zeros(1, 3), torch.ones(1)).item() == pytest.approx(0.5)
    assert not loss.state_dict()
    assert repr(loss) == "QuantileLoss(quantile=[0.1, 0.5, 0.9])"


@pytest.mark.parametrize(
    "quantile", [0, 1, -0.1, 1.5, float("nan"), "0.5", None, True, [], [0.5, 1], [[0.1, 0.2]]]
)
def test_wrong_quantiles(quantile):
    with pytest.raises(ValueError, match="must be a number between 0 and 1, both excluded"):
        QuantileLoss(quantile)


@pytest.mark.parametrize("quantile", [np.float64(0.5), np.array([0.1, 0.9]), (0.1,)])
def test_right_quantiles(quantile):
    n_quantiles = np.size(quantile)
    assert QuantileLoss(quantile).levels.numel() == n_quantiles


def test_wrong_reduction():
    with pytest.raises(ValueError, match=r"reduction='average' .* \['mean', 'sum', 'none'\]"):
        QuantileLoss(reduction="average")


@pytest.mark.parametrize(
    ("quantile", "output", "target"),
    [
        (0.5, (4, 1), (4,)),
        (0.5, (4,), (3,)),
        (LEVELS, (4, 2), (4,)),
        (LEVELS, (4, 3), (4, 3)),
        (LEVELS, (3,), (3,)),
    ],
)
def test_shapes_that_do_not_fit(quantile, output, target):
    with pytest.raises(ValueError, match=r"The output has shape .* and the target"):
        QuantileLoss(quantile)(torch.zeros(output), torch.zeros(target))
