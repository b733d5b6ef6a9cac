"""Where the rows are kept while a module trains on them."""

import math
from collections.abc import Iterator
from typing import Any

import torch

from sktorch.data.batches import Batches
from sktorch.data.structure import Batch, tree_leaves, tree_map

PLACEMENTS = ("auto", "device", "host", "source")
# The share of a GPU's free memory that data may take; the rest is for the model and its work.
DATA_GPU_FRACTION = 0.5


def choose_placement(
    values: Any, dtype: torch.dtype, device: torch.device, requested: str = "auto"
) -> str:
    """Return where to keep rows that can be made dense as a whole.

    "device" is one tensor on the training device, "host" one in the host's pinned memory from
    which batches are copied ahead, "source" leaves the rows where the caller has them.
    """
    if requested != "auto":
        return "device" if requested == "host" and device.type != "cuda" else requested
    if device.type != "cuda":
        return "device"
    n_bytes = sum(math.prod(x.shape) for x in tree_leaves(values)) * dtype.itemsize
    return "device" if n_bytes <= DATA_GPU_FRACTION * torch.cuda.mem_get_info(device)[0] else "host"


class AheadBatches:
    """Batches of the host's memory, each copied to a CUDA device while the one before trains."""

    def __init__(self, batches: Batches, device: torch.device) -> None:
        self.batches, self.device = batches, device
        self._stream = torch.cuda.Stream(device)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        ahead = None
        for batch in self.batches:
            copied = self._copy(batch)
            if ahead is not None:
                yield self._arrived(ahead)
            ahead = copied
        if ahead is not None:
            yield self._arrived(ahead)

    def _copy(self, batch: Batch) -> Batch:
        def copy(tensor: torch.Tensor | None) -> torch.Tensor | None:
            if tensor is None:
                return None
            return tensor.pin_memory().to(self.device, non_blocking=True)

        with torch.cuda.stream(self._stream):
            X, y, weight = (tree_map(copy, part) for part in batch)
        return X, y, weight

    def _arrived(self, batch: Batch) -> Batch:
        current = torch.cuda.current_stream(self.device)
        current.wait_stream(self._stream)
        for part in batch:
            for tensor in tree_leaves(part):
                if tensor is not None:
                    tensor.record_stream(current)
        return batch
