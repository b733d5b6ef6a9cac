"""Batches of several tasks, stacked a block at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from sktorch.data.structure import tree_leaves
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
    different = [first[place] for place in numbers]
    are_whole = all(task.shared_batches.is_whole for task in different)
    tensors = _gathered(different) if are_whole else _stacked(different)
    if len(different) == len(tasks):
        return StackedBlock(tensors, None)
    index = torch.tensor([numbers[place] for place in places], device=tensors[0].device)
    return StackedBlock(tensors, index)


def _stacked(tasks: list[EpochTask]) -> list[Tensor]:
    """Return the tasks' own blocks as one of all."""
    blocks = [[x for part in task.next_block() for x in tree_leaves(part)] for task in tasks]
    n_batches = min(len(tensors[0]) for tensors in blocks)
    # Contiguous each, so that all batches have the strides that a recording was made with.
    return [torch.stack([t[:n_batches] for t in part], 1) for part in zip(*blocks, strict=True)]


def _gathered(tasks: list[EpochTask]) -> list[Tensor]:
    """Return rows of whole tensors: of one tensor of all tasks they are copied once."""
    rows = [task.next_rows() for task in tasks]
    n_batches = min(map(len, rows))
    index = torch.stack([of_task[:n_batches] for of_task in rows], 1)
    sources = [_whole_tensors(task) for task in tasks]
    tensors = [_rows_of([*given], index) for given in zip(*sources, strict=True)]
    if any(task.n_rows != task.n_own_rows for task in tasks):
        tensors[-1] *= torch.stack([task.filling_weight(tensors[-1]) for task in tasks])
    return tensors


def _whole_tensors(task: EpochTask) -> list[Tensor]:
    X, *others = task.shared_batches.example(task.n_done)
    return [*tree_leaves(X), *(tensor for tensor in others if tensor is not None)]


def _rows_of(sources: list[Tensor], index: Tensor) -> Tensor:
    """Return the rows that an index names of each source, along its second dimension."""
    places = {(source.data_ptr(), source.shape, source.stride()) for source in sources}
    if len(places) == 1:
        return sources[0].index_select(0, index.flatten()).unflatten(0, index.shape)
    pairs = zip(sources, index.unbind(1), strict=True)
    return torch.stack([s.index_select(0, i.flatten()).unflatten(0, i.shape) for s, i in pairs], 1)
