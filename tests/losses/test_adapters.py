"""Losses around other losses, one loss a row, and the weighted mean of a batch."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sktorch.losses.adapters import (
    ColumnsLoss,
    EntriesLoss,
    FunctionLoss,
    GaussianLoss,
    LossFunction,
    innermost,
    per_row,
)
from sktorch.losses.quantile import QuantileLoss
from tests.losses.samples import Brier

LOSS = nn.GaussianNLLLoss()


@pytest.mark.parametrize(
    ("criterion", "expected"),
    [
        (LOSS, LOSS),
        (nn.MSELoss, nn.MSELoss),
        (GaussianLoss(LOSS), LOSS),
        (partial(partial(nn.MSELoss)), nn.MSELoss),
        (FunctionLoss(partial(F.mse_loss)), F.mse_loss),
        (GaussianLoss(FunctionLoss(F.gaussian_nll_loss)), F.gaussian_nll_loss),
    ],
)
def test_the_innermost_criterion(criterion, expected):
    assert innermost(criterion) is expected


def test_tensors_among_the_arguments_of_a_function_move_along():
    loss = FunctionLoss(F.cross_entropy, weight=torch.ones(3), label_smoothing=0.1).double()
    assert loss.weight.dtype is torch.float64
    assert repr(loss) == "FunctionLoss(cross_entropy)"
    output, target = torch.randn(5, 3, dtype=torch.float64), torch.arange(5) % 3
    expected = F.cross_entropy(output, target, label_smoothing=0.1)
    torch.testing.assert_close(loss(output, target), expected)


def test_the_gaussian_loss_takes_means_and_raw_variances():
    output, target = torch.randn(5, 4), torch.randn(5, 2)
    expected = LOSS(output[:, :2], target, F.softplus(output[:, 2:]))
    torch.testing.assert_close(GaussianLoss(LOSS)(output, target), expected)
    assert per_row(GaussianLoss(LOSS))(output, target).shape == (5, 2)


def test_the_loss_of_columns_is_the_mean_of_theirs():
    loss = ColumnsLoss(nn.CrossEntropyLoss(), lambda codes, n, output: codes, [2, 3], [2, 3])
    output, codes = torch.randn(5, 5), torch.stack([torch.arange(5) % n for n in (2, 3)], dim=1)
    parts = [
        F.cross_entropy(output[:, :2], codes[:, 0]),
        F.cross_entropy(output[:, 2:], codes[:, 1]),
    ]
    torch.testing.assert_close(loss(output, codes), sum(parts) / 2)
    torch.testing.assert_close(per_row(loss)(output, codes).mean(), sum(parts) / 2)


@pytest.mark.parametrize(
    "criterion",
    [nn.CrossEntropyLoss(), nn.BCEWithLogitsLoss(), Brier(), FunctionLoss(F.cross_entropy)],
)
def test_per_row_leaves_the_criterion_as_it_is(criterion):
    before = copy.deepcopy(vars(criterion))
    rows = per_row(criterion)
    assert rows is not criterion
    assert {key: vars(criterion)[key] for key in before if key[0] != "_"} == {
        key: value for key, value in before.items() if key[0] != "_"
    }
    output = torch.randn(5, 3)
    target = torch.eye(3)[torch.arange(5) % 3]
    target = target if isinstance(criterion, nn.BCEWithLogitsLoss) else target.argmax(1)
    losses = rows(output, target)
    assert len(losses) == 5
    torch.testing.assert_close(losses.mean(), criterion(output, target))


def test_per_row_shares_buffers():
    criterion = nn.CrossEntropyLoss(weight=torch.ones(3))
    assert per_row(criterion).weight is criterion.weight


def test_the_weighted_loss_of_a_batch():
    output = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    y, weight = torch.tensor([0, 0, 1]), torch.tensor([1.0, 0.0, 3.0])
    losses = -output.log_softmax(1)[torch.arange(3), y]
    loss_function = LossFunction(nn.CrossEntropyLoss())
    torch.testing.assert_close(loss_function(output, y, None), losses.mean())
    torch.testing.assert_close(loss_function(output, y, weight), (losses * weight).sum() / 3)


@pytest.mark.parametrize(
    "rows",
    [lambda o, y: o.sum(), lambda o, y: o[:2].sum(1)],
)
def test_a_weighted_loss_that_is_not_one_per_row(rows):
    with pytest.raises(ValueError, match="sample_weight or class_weight was given, but criterion"):
        LossFunction(FunctionLoss(rows))(torch.zeros(3, 2), torch.zeros(3).long(), torch.ones(3))


def test_a_function_without_a_readable_signature():
    # Functions of torch's C++ have none; without weights nothing needs it.
    output, target = torch.randn(4, 1), torch.ones(4, 1)
    loss_function = LossFunction(FunctionLoss(torch.dist))
    torch.testing.assert_close(loss_function(output, target, None), torch.dist(output, target))


class OwnLoss(nn.CrossEntropyLoss):
    """May do anything."""


@pytest.mark.parametrize(
    ("criterion", "expected"),
    [
        (nn.CrossEntropyLoss(), True),
        (QuantileLoss([0.5]), True),
        (GaussianLoss(nn.GaussianNLLLoss()), True),
        (GaussianLoss(OwnLoss()), False),
        (EntriesLoss(nn.CrossEntropyLoss(), -100), False),
        (FunctionLoss(F.cross_entropy), False),
        (OwnLoss(), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_who_judges_rows_apart(criterion, expected):
    assert LossFunction(criterion).judges_rows_apart is expected
