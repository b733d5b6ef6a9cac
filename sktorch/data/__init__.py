"""Anything to batches of tensors."""

from sktorch.data.datasets import SliceableDataset
from sktorch.data.factory import make_loaders
from sktorch.data.padding import pad_sequences

__all__ = ["SliceableDataset", "make_loaders", "pad_sequences"]
