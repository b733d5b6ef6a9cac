"""Whether a stack computes what its models compute alone."""

import pytest
import torch
from torch import nn

from sktorch.fused.agreement import TOLERANCE, WithoutDropout, close

ONES = torch.ones(3, dtype=torch.float64)


@pytest.mark.parametrize(
    ("stacked", "is_close"),
    [
        (ONES, True),
        (ONES + 1e-9, True),
        (ONES + 1e-6, False),
        (torch.ones(4, dtype=torch.float64), False),
        (ONES * torch.nan, False),
    ],
)
def test_numbers_are_close_up_to_rounding(stacked, is_close):
    assert close(stacked, ONES, TOLERANCE) == is_close
    assert close(ONES * torch.nan, ONES * torch.nan, TOLERANCE)


def test_dropout_is_left_out():
    with WithoutDropout():
        assert torch.equal(nn.Dropout(0.5)(ONES), ONES)
