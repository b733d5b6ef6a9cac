"""Equal data of several tasks: fetched once, and kept once on a device."""

from collections.abc import Hashable, MutableMapping
from hashlib import sha256

import torch
from torch import Tensor

from sktorch.data.batches import Batches
from sktorch.data.structure import tree_leaves, tree_map


class SharedData:
    """The digests of what batches are cut from; equal ones mean equal batches."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches
        self._tensors = [
            digest(tensor) for tensor in (*tree_leaves(batches.rows.values), batches.targets)
        ]
        rows = batches.rows.values
        self._rest = (
            tuple(rows) if isinstance(rows, dict) else type(rows),
            digest(batches.weights),
            digest(batches.index),
            (batches.batch_size, batches.shuffle, batches.drop_last),
        )

    def key(self, seed: int | None) -> Hashable:
        """Return what epochs of the same batches in the same order have in common."""
        return *self._tensors, *self._rest, seed

    def share(self, pool: MutableMapping[Hashable, Tensor]) -> None:
        """Use the pool's tensors where they hold the same values; add those that it lacks.

        Nobody may write to the tensors of these batches, nor to the pool's.
        """
        digests = iter(self._tensors)
        rows = self._batches.rows
        rows.values = tree_map(lambda x: pool.setdefault(next(digests), x), rows.values)
        self._batches.targets = pool.setdefault(next(digests), self._batches.targets)


def digest(tensor: Tensor | None) -> Hashable:
    """Return a hash of a tensor's shape, dtype, device and values; None for None."""
    if tensor is None:
        return None
    values = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
    # Two tensors have the same digest by chance with a probability of 2**-128.
    return tuple(tensor.shape), tensor.dtype, tensor.device, sha256(values.data).digest()
