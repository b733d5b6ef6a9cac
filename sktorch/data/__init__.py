"""Anything to batches of tensors."""

from sktorch.data.chunked_dataset import ChunkedDataset
from sktorch.data.datasets import SliceableDataset
from sktorch.data.factory import make_loaders
from sktorch.data.padding import pad_sequences

__all__ = ["ChunkedDataset", "SliceableDataset", "make_loaders", "pad_sequences"]
