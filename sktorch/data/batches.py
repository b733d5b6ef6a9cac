"""Rows to batches: whole tensors cut by index.

A batch is ``(X, y, weight)``, tensors on the training device; ``weight`` may be None.
"""

from itertools import chain, islice, repeat

import torch

from sktorch.data.structure import leaves, split

# What is copied in a new order at a time: small beside the data that asks for more memory.
BLOCK_BYTES = 16 * 2**20


def epoch_order(n_rows):
    """The order in which ``DataLoader(shuffle=True)`` would visit the rows now.

    Draws from torch's default generator what a ``DataLoader`` draws (a base seed for its workers,
    then the sampler's seed), so that the same seed gives the same batches as a hand-written loop.

    Parameters
    ----------
    n_rows : int

    Returns
    -------
    order : torch.Tensor of shape (n_rows,), int64
    """
    draw_loader_seed()
    sampler_seed = draw_loader_seed()
    return torch.randperm(n_rows, generator=torch.Generator().manual_seed(sampler_seed))


def draw_loader_seed():
    """Draw the number that a ``DataLoader`` draws at the start of every pass over the data."""
    return int(torch.empty((), dtype=torch.int64).random_())


class Batches:
    """Batches of rows, in a new order every epoch if shuffled.

    Parameters
    ----------
    rows : Rows
        The inputs.
    targets : torch.Tensor of shape (n_rows, ...)
    weights : torch.Tensor of shape (n_rows,) or None
    index : torch.Tensor of shape (n_used,), int64
        The rows to use: those of a split.
    batch_size : int
    shuffle : bool
    drop_last : bool
        Whether to leave out a last batch that is shorter than the others.

    Attributes
    ----------
    block_bytes : int
        What is copied in a new order at a time.
    """

    block_bytes = BLOCK_BYTES

    def __init__(self, rows, targets, weights, index, *, batch_size, shuffle, drop_last=False):
        self.rows, self.targets, self.weights, self.index = rows, targets, weights, index
        self.batch_size, self.shuffle, self.drop_last = batch_size, shuffle, drop_last

    def __len__(self):
        whole, rest = divmod(len(self.index), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self):
        return islice(chain.from_iterable(map(self._cut, self.blocks())), len(self))

    def blocks(self):
        """Whole batches of rows, several at a time, in the order of a new way through them."""
        if self.shuffle:
            order = self.index[epoch_order(len(self.index))]
        else:
            draw_loader_seed()
            order = self.index
        if self.drop_last:
            order = order[: len(self) * self.batch_size]
        # Fetching a block and cutting it is faster than an index for each batch.
        return map(self._fetch, order.to(self.targets.device).split(self._rows_of_a_block()))

    def _fetch(self, index):
        weights = None if self.weights is None else self.weights.index_select(0, index)
        return self.rows[index], self.targets.index_select(0, index), weights

    def _cut(self, block):
        inputs, targets, weights = block
        weights = repeat(None) if weights is None else weights.split(self.batch_size)
        pieces = split(inputs, self.batch_size), targets.split(self.batch_size)
        return zip(*pieces, weights, strict=False)

    def _rows_of_a_block(self):
        """A number of whole batches: of rows that are made dense for it, a single one."""
        if not self.rows.is_whole:
            return self.batch_size
        row_bytes = sum(x[:1].nbytes for x in leaves(self.rows.values))
        n_batches = self.block_bytes // max(row_bytes * self.batch_size, 1)
        return self.batch_size * max(n_batches, 1)


class AugmentedBatches:
    """Batches whose inputs a function changes, as they come: other ones in every epoch.

    Parameters
    ----------
    batches : iterable of batches
    augment : callable
        ``X -> X``, of the inputs of a batch.
    """

    def __init__(self, batches, augment):
        self.batches, self.augment = batches, augment

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        for X, y, weight in self.batches:
            yield self.augment(X), y, weight
