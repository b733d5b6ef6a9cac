"""Losses that ``torch.nn`` does not have."""

from sktorch.losses.quantile import QuantileLoss

__all__ = ["QuantileLoss"]
