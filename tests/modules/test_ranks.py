"""`Ranks` and their knots against `numpy.interp` and the ranks of distinct values."""

import numpy as np
import pytest
import torch
from scipy.stats import rankdata

from sktorch.modules import Ranks, rank_knots

random = np.random.default_rng(0)
X = np.column_stack(
    [random.standard_normal(50), random.integers(0, 5, 50), random.lognormal(0, 5, 50)]
).astype(np.float32)


@pytest.mark.parametrize("shape", [(6, 3), (2, 6, 3)])
def test_ranks_are_linear_between_knots_and_constant_beyond(shape):
    knots = np.sort(random.standard_normal((3, 9)), axis=1).astype(np.float32)
    inputs = 2 * random.standard_normal(shape).astype(np.float32)
    ranks = Ranks(knots)(torch.from_numpy(inputs))
    assert ranks.shape == shape
    steps = np.linspace(-1, 1, 9)
    for column in range(3):
        expected = np.interp(inputs[..., column], knots[column], steps)
        np.testing.assert_allclose(ranks[..., column], expected, atol=1e-5)


def test_training_rows_get_the_ranks_of_their_distinct_values():
    ranks = Ranks(rank_knots(X, n_knots=64))(torch.from_numpy(X))
    dense = rankdata(X, method="dense", axis=0) - 1
    np.testing.assert_allclose(ranks, 2 * dense / dense.max(axis=0) - 1, atol=1e-5)


def test_knots_are_quantiles_of_distinct_values():
    column = np.repeat([0.0, 1.0, 2.0, 3.0, 4.0], [1000, 1, 1, 1, 1])[:, None]
    assert rank_knots(column, n_knots=3).tolist() == [[0.0, 2.0, 4.0]]
    many = random.standard_normal((1000, 1))
    assert rank_knots(many, n_knots=3)[0, 1] == pytest.approx(np.median(many), abs=0.02)
    assert rank_knots(many).shape == (1, 65)
    assert rank_knots(many).dtype == torch.float64


def test_a_column_of_few_values_repeats_its_last_one():
    knots = rank_knots([[0.0], [1.0], [1.0], [3.0]], n_knots=6)
    assert knots.tolist() == [[0.0, 1.0, 3.0, 3.0, 3.0, 3.0]]
    ranks = Ranks(knots)(torch.tensor([[-9.0], [0.0], [0.5], [1.0], [3.0], [9.0]]))
    assert ranks.flatten().tolist() == [-1.0, -1.0, -0.5, 0.0, 1.0, 1.0]


def test_a_constant_column_has_finite_ranks():
    assert torch.isfinite(Ranks(rank_knots([[2.0], [2.0]]))(torch.tensor([[1.0], [2.0]]))).all()


def test_large_and_small_numbers_have_finite_ranks():
    layer = Ranks(rank_knots(X))
    assert torch.isfinite(layer(torch.tensor([[3e38, -3e38, 1e-40]]))).all()


@pytest.mark.parametrize("knots", [[0.0, 1.0], [[0.0]], [[1.0, 0.0]], [[0.0, 2.0, 1.0]]], ids=str)
def test_wrong_knots_are_refused(knots):
    with pytest.raises(ValueError, match=r"knots of shape .* must be of shape"):
        Ranks(knots)
