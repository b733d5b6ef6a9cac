"""Batches of several tasks, stacked a block at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from sktorch._private.torch import tree_leaves
from sktorch.fused.epoch import EpochTask


@dataclass(frozen=True)
class StackedBlock:
    """Batches along a first dimension, and along a second one those of different models.

    An `index` says for each model which of the second dimension are its own; without one they are
    in the order of the models.
    """

    tensors: list[Tensor]
    index: Tensor | None

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __iter__(self) -> Iterator[list[Tensor]]:
        """Yield the tensors of one batch of every model."""
        for batch in zip(*self.tensors, strict=True):
            if self.index is None:
                yield [*batch]
            else:
                yield [tensor.index_select(0, self.index) for tensor in batch]

    def rest(self, start: int) -> "StackedBlock":
        """Return the batches from one on."""
        return StackedBlock([tensor[start:] for tensor in self.tensors], self.index)


def stacked_block(tasks: list[EpochTask], width: int) -> StackedBlock:
    """Return the next batches of all tasks, as many as all have at hand, stacked to a width.

    Tasks that share their batches, and are at the same place, share what is fetched. Rows beyond
    the tasks have the first one's batches.
    """
    tasks = tasks + tasks[:1] * (width - len(tasks))
    places = [(id(task.shared_batches), task.n_done) for task in tasks]
    numbers = {place: number for number, place in enumerate(dict.fromkeys(places))}
    first = {place: task for task, place in zip(reversed(tasks), reversed(places), strict=True)}
    parts = [tree_leaves(first[place].next_block()) for place in numbers]
    n_batches = min(len(tensors[0]) for tensors in parts)
    # Contiguous each, so that all batches have the strides that a recording was made with.
    tensors = [torch.stack([t[:n_batches] for t in part], 1) for part in zip(*parts, strict=True)]
    if len(numbers) == len(tasks):
        return StackedBlock(tensors, None)
    index = torch.tensor([numbers[place] for place in places], device=tensors[0].device)
    return StackedBlock(tensors, index)
