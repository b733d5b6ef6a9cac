"""Rows to batches: whole tensors cut by index.

A batch is ``(X, y, weight)``, tensors on the training device; ``weight`` may be None.
"""

import copy
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import chain, repeat
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from sktorch._errors import errors_name
from sktorch.data.loaders import n_batches_of
from sktorch.data.order import IN_BLOCKS, epoch_order, order_in_blocks
from sktorch.data.structure import (
    Batch,
    Inputs,
    concatenated,
    split_rows,
    tree_leaves,
    tree_map,
)

# Copied in a new order at a time: small beside data that need more memory.
BLOCK_BYTES = 16 * 2**20
# Rows that stay where they are, as in a file, are fetched in so many parts at least.
MIN_BLOCKS = 32


class _Rows(Protocol):
    """Rows from which batches are cut."""

    values: Any
    is_whole: bool

    def __getitem__(self, index: Tensor) -> Inputs: ...


def draw_loader_seed() -> int:
    """Draw the number that a ``DataLoader`` draws at the start of every pass over the data."""
    return int(torch.empty((), dtype=torch.int64).random_())


class Batches:
    """Batches of the rows of an index, in a new order every epoch if shuffled.

    With ``shuffle="blocks"`` it is one that a disk reads in few pieces.
    It has the batches of one epoch, or of `n_epochs` that follow each other.
    """

    n_epochs = 1
    cuts_blocks = True  # Several batches can be fetched as one, and cut.

    def __init__(
        self,
        rows: _Rows,
        targets: Tensor,
        weights: Tensor | None,
        index: Tensor,
        *,
        batch_size: int,
        shuffle: bool | str,
        drop_last: bool = False,
    ) -> None:
        self.rows, self.targets, self.weights, self.index = rows, targets, weights, index
        self.batch_size, self.shuffle, self.drop_last = batch_size, shuffle, drop_last

    def __len__(self) -> int:
        return self.n_epochs * n_batches_of(len(self.index), self.batch_size, self.drop_last)

    def repeated(self, n_epochs: int) -> Self:
        """Return the batches of so many epochs, one after another."""
        batches = copy.copy(self)
        batches.n_epochs = n_epochs
        return batches

    def __iter__(self) -> Iterator[Batch]:
        return chain.from_iterable(map(self._cut, self._fetched()))

    def blocks(self) -> Iterator[tuple[Batch, int]]:
        """Yield the rows of several batches at a time, and the number of rows of each batch."""
        size = self.batch_size
        for block in self._fetched():
            n_rows = len(block[1])
            n_whole = n_rows - n_rows % size
            if n_whole:
                yield rows_of(block, 0, n_whole), size
            if n_whole < n_rows:
                yield rows_of(block, n_whole, n_rows - n_whole), n_rows - n_whole

    def _fetched(self) -> Iterator[Batch]:
        """Return the rows of batches that are fetched together; the first epoch draws at once."""
        first = self._one_epoch(BLOCK_BYTES)
        further = (self._one_epoch(BLOCK_BYTES) for _ in range(self.n_epochs - 1))
        return (
            epoch.block(start)[1]
            for epoch in chain([first], further)
            for start in range(0, len(epoch.sizes), epoch.n_at_once)
        )

    def epoch(self, block_bytes: int = BLOCK_BYTES) -> "EpochBatches | SeveralEpochs":
        """Return the batches of what comes next, fetched in blocks of so many bytes."""
        epochs = [self._one_epoch(block_bytes) for _ in range(self.n_epochs)]
        return epochs[0] if len(epochs) == 1 else SeveralEpochs(epochs)

    def _one_epoch(self, block_bytes: int) -> "EpochBatches":
        """Draw the order of one more epoch.

        Draws from torch's default generator what a ``DataLoader`` draws (a base seed for its
        workers, then the sampler's seed), so that the same seed gives the same batches as a
        hand-written loop.
        """
        draw_loader_seed()
        return EpochBatches(self, draw_loader_seed() if self.shuffle else None, block_bytes)

    def _cut(self, block: Batch) -> Iterator[Batch]:
        inputs, targets, weights = block
        pieces = repeat(None) if weights is None else weights.split(self.batch_size)
        size = self.batch_size
        return zip(split_rows(inputs, size), targets.split(size), pieces, strict=False)

    def fetch(self, index: Tensor) -> Batch:
        """Return inputs, targets and weights of the rows of an index."""
        weights = None if self.weights is None else self.weights.index_select(0, index)
        return self.rows[index], self.targets.index_select(0, index), weights

    def n_at_once(self, block_bytes: int) -> int:
        """Return how many batches to fetch at once."""
        if not self.cuts_blocks:
            return 1
        if not self.rows.is_whole:  # They are not in memory: little of them should be.
            block_bytes = min(block_bytes, len(self.index) * self.row_bytes // MIN_BLOCKS)
        return max(block_bytes // max(self.row_bytes * self.batch_size, 1), 1)

    @property
    def row_bytes(self) -> int:
        """The size of a row as the module gets it."""
        rows = self.rows.values if self.rows.is_whole else self.rows[torch.tensor([0])]
        return sum(x[:1].nbytes for x in tree_leaves(rows))

    def order(self, seed: int | None) -> Tensor:
        """Return the rows of an epoch in the order of a seed; None: in that of the index."""
        if seed is None:
            return self.index
        if self.shuffle == IN_BLOCKS:
            return order_in_blocks(self.index, seed, self.row_bytes)
        return self.index[epoch_order(len(self.index), seed)]


def rows_of(batch: Batch, start: int, n_rows: int) -> Batch:
    """Return rows of a batch that follow each other."""
    X, y, weights = batch
    if n_rows == len(y):
        return batch

    def cut(tensor: Tensor) -> Tensor:
        return tensor.narrow(0, start, n_rows)

    return tree_map(cut, X), cut(y), None if weights is None else cut(weights)


class EpochBatches:
    """The batches of one epoch in the order of a seed (None: of the index), fetched when needed."""

    n_epochs = 1

    def __init__(self, batches: Batches, seed: int | None, block_bytes: int) -> None:
        self._batches, self.seed = batches, seed
        self.is_whole = batches.rows.is_whole
        self.is_weighted = batches.weights is not None
        whole, rest = divmod(len(batches.index), batches.batch_size)
        self.sizes = [batches.batch_size] * whole
        if rest and not batches.drop_last:
            self.sizes.append(rest)
        self.n_at_once = batches.n_at_once(block_bytes)
        self._last: tuple[int, Batch] | None = None

    @cached_property
    def _order(self) -> Tensor:
        order = self._batches.order(self.seed)
        return order[: sum(self.sizes)].to(self._batches.targets.device)

    def forget_rows(self) -> None:
        """Free the order and the rows, which are drawn and fetched anew where they are needed."""
        self._last = None
        self.__dict__.pop("_order", None)

    def example(self, number: int) -> Batch:
        """Return tensors whose rows have the layout of a batch's, fetching it only if need be."""
        batches = self._batches
        if not batches.rows.is_whole:
            return self.block(number)[1]
        return batches.rows.values, batches.targets, batches.weights

    def block(self, number: int) -> tuple[int, Batch]:
        """Return the batches fetched together with a batch, and the number of the first of them.

        Fetching a block and cutting it is faster than an index for each batch.
        """
        first, rows = self.rows_of_block(number)
        if self._last is None or self._last[0] != first:
            self._last = first, self._batches.fetch(rows)
        return self._last

    def rows_of_block(self, number: int) -> tuple[int, Tensor]:
        """Return the number of a block's first batch, and the numbers of its rows."""
        first, size = number - number % self.n_at_once, self._batches.batch_size
        return first, self._order[first * size : (first + self.n_at_once) * size]


class SeveralEpochs:
    """The batches of epochs that follow each other; rows of epochs gone by are forgotten."""

    def __init__(self, epochs: list[EpochBatches]) -> None:
        self._epochs, self.n_epochs = epochs, len(epochs)
        self.is_whole, self.is_weighted = epochs[0].is_whole, epochs[0].is_weighted
        self.seed = tuple(epoch.seed for epoch in epochs)
        self.sizes = [size for epoch in epochs for size in epoch.sizes]
        self._current = 0

    def __copy__(self) -> "SeveralEpochs":
        return SeveralEpochs([*map(copy.copy, self._epochs)])

    def example(self, number: int) -> Batch:
        """Return tensors whose rows have the layout of a batch's, fetching it only if need be."""
        epoch, _, number = self._place(number)
        return epoch.example(number)

    def block(self, number: int) -> tuple[int, Batch]:
        """Return the batches fetched together with a batch, and the number of the first of them."""
        epoch, start, number = self._place(number)
        first, block = epoch.block(number)
        return start + first, block

    def rows_of_block(self, number: int) -> tuple[int, Tensor]:
        """Return the number of a block's first batch, and the numbers of its rows."""
        epoch, start, number = self._place(number)
        first, rows = epoch.rows_of_block(number)
        return start + first, rows

    def _place(self, number: int) -> tuple[EpochBatches, int, int]:
        """Return a batch's epoch, the number of its first batch, and the batch's number in it."""
        n_batches = len(self._epochs[0].sizes)
        epoch, within = divmod(number, n_batches)
        if epoch != self._current:
            self._epochs[self._current].forget_rows()
            self._current = epoch
        return self._epochs[epoch], number - within, within


class AugmentedBatches:
    """Batches whose inputs a function changes as they come, differently in every epoch."""

    def __init__(self, batches: Any, augment: Callable[[Inputs], Inputs]) -> None:
        self.batches, self.augment = batches, augment

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        for X, y, weight in self.batches:
            yield self._augmented(X), y, weight

    def _augmented(self, X: Inputs) -> Inputs:
        with errors_name("augment"):
            augmented = self.augment(X)
            n_rows = len(tree_leaves(X)[0])
            for part in tree_leaves(augmented):
                if not isinstance(part, Tensor) or len(part) != n_rows:
                    got = getattr(part, "shape", type(part).__name__)
                    raise TypeError(f"it returned {got}, expected a tensor of {n_rows} rows")
        return augmented


class JoinedBatches:
    """Batches of which a last one of one row is joined to the one before it.

    For modules that can't be trained on one row, as those with batch statistics.
    """

    def __init__(self, batches: Any) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return max(len(self.batches) - 1, 1)

    def __iter__(self) -> Iterator[Batch]:
        held: Batch | None = None
        for batch in self.batches:
            if len(batch[1]) > 1:
                if held is not None:
                    yield held
                held = batch
            elif held is None or not _can_be_joined(held, batch):
                raise ValueError(
                    "The module can't be trained on a batch of one row, as batch statistics can't, "
                    "and there is no batch that the row can join. Choose another batch_size, set "
                    "iterator_train__drop_last=True, or choose another normalization."
                )
            else:
                held = joined(held, batch)
        if held is not None:
            yield held


def _can_be_joined(batch: Batch, other: Batch) -> bool:
    """Say whether the inputs have one shape: sequences may have been padded to two lengths."""
    return all(tree_leaves(tree_map(lambda x, y: x.shape[1:] == y.shape[1:], batch[0], other[0])))


def joined(*batches: Batch) -> Batch:
    """Return the rows of batches as one."""
    inputs, targets, weights = zip(*batches, strict=True)
    both = None if weights[0] is None else torch.cat(weights)
    return concatenated(inputs), torch.cat(targets), both
