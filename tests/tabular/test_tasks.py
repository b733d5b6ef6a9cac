"""Losses, temperatures and risks of members, against those of scikit-learn and scipy."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from sklearn.metrics import brier_score_loss, log_loss, mean_absolute_error, mean_pinball_loss

from sktorch.tabular._tasks import FACTORS, Classification, Regression

random = np.random.default_rng(0)
N, K, C = 200, 2, 3
CODES = random.integers(0, C, (N, K))
WEIGHTS = random.random((N, K))
WEIGHTS /= WEIGHTS.sum(0)


def logits(sharpness):
    """Logits (N, K, C) that know something of the codes, and are as sure of it as is said."""
    return sharpness * (np.eye(C)[CODES] + random.standard_normal((N, K, C)))


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 4.0])
def test_factors_are_the_best_of_the_grid_and_near_the_optimum(sharpness):
    outputs, task = logits(sharpness), Classification(C, "log_loss")
    tensors = map(torch.from_numpy, (outputs, CODES, WEIGHTS))
    factors = task.factors(*tensors).numpy()
    assert factors.shape == (K,)
    for k in range(K):

        def loss(factor, k=k):
            p = softmax(factor * outputs[:, k], axis=1)
            return log_loss(CODES[:, k], p, sample_weight=WEIGHTS[:, k])

        assert factors[k] == min(FACTORS, key=loss)
        best = minimize_scalar(loss, bounds=(FACTORS[0], FACTORS[-1]), method="bounded").x
        assert abs(np.log(factors[k] / best)) <= np.log(FACTORS[1] / FACTORS[0]) + 1e-3


def test_risks_of_probabilities_are_brier_scores():
    outputs = logits(2.0)
    risks = Classification(C, "log_loss").risks(*map(torch.from_numpy, (outputs, CODES, WEIGHTS)))
    for k in range(K):
        p = softmax(outputs[:, k], axis=1)
        expected = brier_score_loss(
            CODES[:, k], p, sample_weight=WEIGHTS[:, k], labels=range(C), scale_by_half=False
        )
        assert risks[k].item() == pytest.approx(expected)


def test_risks_of_labels_are_errors_and_of_equal_errors_the_surer_is_better():
    outputs = logits(2.0)
    task = Classification(C, "error")
    risks = task.risks(*map(torch.from_numpy, (outputs, CODES, WEIGHTS)))
    errors = ((outputs.argmax(-1) != CODES) * WEIGHTS).sum(0)
    np.testing.assert_allclose(risks, errors, atol=2e-3)
    right = torch.eye(C)[:, None], torch.arange(C)[:, None], torch.full((C, 1), 1 / C)
    assert task.risks(2 * right[0], *right[1:]) < task.risks(*right) < 1e-3


@pytest.mark.parametrize(
    ("loss", "quantile", "expected"),
    [
        ("squared_error", None, lambda y, p: np.mean((y - p) ** 2)),
        ("absolute_error", None, lambda y, p: mean_absolute_error(y, p) / 2),
        ("quantile", 0.9, lambda y, p: mean_pinball_loss(y, p, alpha=0.9)),
        ("quantile", 0.2, lambda y, p: mean_pinball_loss(y, p, alpha=0.2)),
    ],
)
def test_losses_of_numbers_are_those_of_scikit_learn(loss, quantile, expected):
    y, predicted = random.standard_normal((2, 50))
    task = Regression(loss, quantile)
    losses = task(torch.from_numpy(predicted[:, None]), torch.from_numpy(y))
    assert losses.shape == (50,)
    assert losses.mean().item() == pytest.approx(expected(y, predicted))
    outputs, targets = torch.from_numpy(predicted[:, None, None]), torch.from_numpy(y[:, None])
    weights = torch.full((50, 1), 1 / 50, dtype=torch.float64)
    assert task.risks(outputs, targets, weights).item() == pytest.approx(expected(y, predicted))
    assert task.factors(outputs, targets, weights).tolist() == [1.0]


def test_logarithms_become_standardised_targets():
    y = random.lognormal(2.0, 1.0, 50)
    center, scale = y.mean(), y.std()
    mean, std = np.log(y).mean(), np.log(y).std()
    task = Regression("squared_error", None, center, scale, (mean, std))
    outputs = torch.from_numpy((np.log(y) - mean) / std)
    np.testing.assert_allclose(task.numbers(outputs), (y - center) / scale, atol=1e-12)
    assert torch.isfinite(task.numbers(torch.tensor([-1e30, 1e30]))).all()
