"""Where the rows are kept while a module trains on them."""

import math

import torch

from sktorch.data.datasets import Stream
from sktorch.data.rows import Rows, is_lazy
from sktorch.data.structure import tree_leaves, tree_map

PLACEMENTS = ("auto", "device", "host", "source")
# The share of a GPU's free memory that data may take; the rest is for the model and its work.
GPU_FRACTION = 0.5


def choose_placement(values, dtype, device, wish="auto"):
    """Where to keep the rows: "device", "host" or "source".

    "device" is one tensor on the training device, "host" one in the host's pinned memory from
    which batches are copied ahead, "source" leaves the rows where the caller has them.

    Parameters
    ----------
    values : ndarray, scipy sparse array or torch.Tensor
    dtype : torch.dtype
        What the rows are cast to.
    device : torch.device
    wish : str, default="auto"
        One of `PLACEMENTS`. "auto" takes the device where the rows fit; sparse rows and memory
        maps, which are never made dense as a whole, stay at the source under any wish.

    Returns
    -------
    placement : str
    """
    if isinstance(values, Stream) or is_lazy(values):
        return "source"
    if wish != "auto":
        return "device" if wish == "host" and device.type != "cuda" else wish
    if device.type != "cuda":
        return "device"
    n_bytes = sum(math.prod(x.shape) for x in tree_leaves(values)) * dtype.itemsize
    return "device" if n_bytes <= GPU_FRACTION * torch.cuda.mem_get_info(device)[0] else "host"


def placed_rows(values, dtype, device, placement):
    """Rows in their place; batches of "host" and "source" come from the host."""
    home = torch.device("cpu") if placement == "host" else device
    rows = Rows(values, dtype, home, whole=placement != "source")
    if placement == "host":
        rows.values = tree_map(torch.Tensor.pin_memory, rows.values)
    return rows


class AheadBatches:
    """Batches of the host's memory, each copied to a CUDA device while the one before trains.

    Parameters
    ----------
    batches : iterable of tuple
    device : torch.device
    """

    def __init__(self, batches, device):
        self.batches, self.device = batches, device
        self._stream = torch.cuda.Stream(device)

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        ahead = None
        for batch in self.batches:
            copied = self._copy(batch)
            if ahead is not None:
                yield self._arrived(ahead)
            ahead = copied
        if ahead is not None:
            yield self._arrived(ahead)

    def _copy(self, batch):
        def copy(tensor):
            return (
                None if tensor is None else tensor.pin_memory().to(self.device, non_blocking=True)
            )

        with torch.cuda.stream(self._stream):
            return [tree_map(copy, part) for part in batch]

    def _arrived(self, batch):
        current = torch.cuda.current_stream(self.device)
        current.wait_stream(self._stream)
        for part in batch:
            for tensor in tree_leaves(part):
                if tensor is not None:
                    tensor.record_stream(current)
        return tuple(batch)
