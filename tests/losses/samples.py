"""A loss that tests share, at module level so that it pickles."""

import torch.nn.functional as F
from torch import nn


class Brier(nn.Module):
    """A loss as a user writes it, after torch's pattern."""

    def __init__(self, reduction="mean"):
        super().__init__()
        self.reduction = reduction

    def forward(self, output, target):
        rows = (output.softmax(1) - F.one_hot(target, output.shape[1])).square().sum(1)
        return rows.mean() if self.reduction == "mean" else rows
