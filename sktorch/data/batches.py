"""Rows to batches: whole tensors cut by index, or a ``DataLoader`` where its options are asked for.

A batch is ``(X, y, weight)``, tensors on the training device; ``weight`` may be None.
"""

from itertools import islice, repeat

import torch
from torch.utils.data import DataLoader, Dataset

from sktorch.data.structure import each, leaves, split

# What may be copied in a new order every epoch: small beside the data that asks for more memory.
SMALL_BYTES = 32 * 2**20


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


def loader_options(batch_size, shuffle, given):
    """Arguments of a ``DataLoader``, less those that the given ones exclude.

    Parameters
    ----------
    batch_size : int
    shuffle : bool
    given : dict

    Returns
    -------
    options : dict
    """
    options = {"batch_size": int(batch_size), "shuffle": shuffle} | given
    if "sampler" in given or "batch_sampler" in given:
        del options["shuffle"]
    if "batch_sampler" in given:
        del options["batch_size"]
    return options


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
    """

    def __init__(self, rows, targets, weights, index, *, batch_size, shuffle, drop_last=False):
        self.rows, self.targets, self.weights, self.index = rows, targets, weights, index
        self.batch_size, self.shuffle, self.drop_last = batch_size, shuffle, drop_last

    def __len__(self):
        whole, rest = divmod(len(self.index), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self):
        if self.shuffle:
            order = self.index[epoch_order(len(self.index))]
        else:
            draw_loader_seed()
            order = self.index
        order = order.to(self.targets.device)
        if self.rows.is_whole and sum(x.nbytes for x in leaves(self.rows.values)) <= SMALL_BYTES:
            yield from self._cut(order)
            return
        for chunk in order.split(self.batch_size)[: len(self)]:
            weight = None if self.weights is None else self.weights[chunk]
            yield self.rows[chunk], self.targets[chunk], weight

    def _cut(self, order):
        """Reorder everything at once and cut slices: faster than an index for each batch."""
        X, y = split(self.rows[order], self.batch_size), self.targets[order].split(self.batch_size)
        weights = repeat(None)
        if self.weights is not None:
            weights = self.weights[order].split(self.batch_size)
        return islice(zip(X, y, weights, strict=False), len(self))


class _RowDataset(Dataset):
    def __init__(self, rows, targets, weights, index):
        self.rows, self.index = rows, index
        # Samples without weights carry a weight of one: a collate function stacks no None.
        self.targets = targets
        self.weights = torch.ones(len(targets)) if weights is None else weights

    def __len__(self):
        return len(self.index)

    def __getitem__(self, position):
        row = self.index[position]
        inputs = each(lambda x: x[0], self.rows[row.reshape(1)])
        return inputs, self.targets[row], self.weights[row]


class LoaderBatches:
    """Batches from a ``torch.utils.data.DataLoader``, moved to the training device.

    Parameters
    ----------
    rows, targets, weights, index
        As in `Batches`, on the CPU.
    device : torch.device
    options : dict
        Arguments of ``DataLoader``.
    """

    def __init__(self, rows, targets, weights, index, *, device, options):
        self.device, self.weighted = device, weights is not None
        self.loader = DataLoader(_RowDataset(rows, targets, weights, index), **options)

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        def move(tensor):
            return tensor.to(self.device, non_blocking=True)

        for X, y, weight in self.loader:
            yield each(move, X), move(y), move(weight) if self.weighted else None
