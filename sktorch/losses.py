"""Losses that ``torch.nn`` does not have."""

from sktorch.training.quantile import QuantileLoss

__all__ = ["QuantileLoss"]
