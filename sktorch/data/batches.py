"""Rows to batches: whole tensors cut by index.

A batch is ``(X, y, weight)``, tensors on the training device; ``weight`` may be None.
"""

from functools import cached_property
from hashlib import sha256
from itertools import chain, repeat

import torch

from sktorch.data.structure import split_rows, tree_leaves, tree_map

# What is copied in a new order at a time: small beside the data that asks for more memory.
BLOCK_BYTES = 16 * 2**20


def epoch_order(n_rows, seed):
    """The order in which a ``DataLoader(shuffle=True)`` visits the rows, by its sampler's seed.

    Parameters
    ----------
    n_rows : int
    seed : int
        What the sampler draws from torch's default generator, after what the loader itself draws.

    Returns
    -------
    order : torch.Tensor of shape (n_rows,), int64
    """
    return torch.randperm(n_rows, generator=torch.Generator().manual_seed(seed))


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
        self._is_shared = False

    def __len__(self):
        whole, rest = divmod(len(self.index), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self):
        way = self.epoch()
        starts = range(0, len(self), self.n_at_once)
        return chain.from_iterable(self._cut(way.block(start)[1]) for start in starts)

    def epoch(self):
        """A new way through the batches.

        Draws from torch's default generator what a ``DataLoader`` draws (a base seed for its
        workers, then the sampler's seed), so that the same seed gives the same batches as a
        hand-written loop.
        """
        draw_loader_seed()
        return EpochBatches(self, draw_loader_seed() if self.shuffle else None)

    def _cut(self, block):
        inputs, targets, weights = block
        weights = repeat(None) if weights is None else weights.split(self.batch_size)
        pieces = split_rows(inputs, self.batch_size), targets.split(self.batch_size)
        return zip(*pieces, weights, strict=False)

    def fetch(self, index):
        """Inputs, targets and weights of the rows of an index."""
        weights = None if self.weights is None else self.weights.index_select(0, index)
        return self.rows[index], self.targets.index_select(0, index), weights

    @property
    def n_at_once(self):
        """Number of batches to fetch at once: of rows that are made dense for it, a single one."""
        if not self.rows.is_whole:
            return 1
        row_bytes = sum(x[:1].nbytes for x in tree_leaves(self.rows.values))
        return max(self.block_bytes // max(row_bytes * self.batch_size, 1), 1)

    @cached_property
    def identity(self):
        """What batches of the same values share, hashable: digests of all that they are cut from.

        None where that is not in memory as a whole.
        """
        if not self.rows.is_whole:
            return None
        rows = self.rows.values
        names = tuple(rows) if isinstance(rows, dict) else type(rows)
        settings = self.batch_size, self.shuffle, self.drop_last
        others = _digest(self.weights), _digest(self.index)
        return names, *self._digests, *others, settings

    @cached_property
    def _digests(self):
        """Of the rows' tensors, in their order, and of the targets."""
        return [_digest(tensor) for tensor in (*tree_leaves(self.rows.values), self.targets)]

    def share(self, pool):
        """Use tensors of the same values out of a pool, and leave there those that it lacks.

        Parameters
        ----------
        pool : mapping of digests to torch.Tensor
            Of tensors that nobody writes to, as must be those of these batches.
        """
        if not self._is_shared:
            digests = iter(self._digests)
            self.rows.values = tree_map(
                lambda x: pool.setdefault(next(digests), x), self.rows.values
            )
            self.targets = pool.setdefault(next(digests), self.targets)
            self._is_shared = True


class EpochBatches:
    """One way through batches, of which nothing is fetched until it is asked for.

    Parameters
    ----------
    batches : Batches
    seed : int or None
        Of the order; None keeps that of the index.

    Attributes
    ----------
    sizes : list of int
        Number of rows of each batch.
    """

    def __init__(self, batches, seed):
        self._batches, self._seed = batches, seed
        whole, rest = divmod(len(batches.index), batches.batch_size)
        self.sizes = [batches.batch_size] * whole
        if rest and not batches.drop_last:
            self.sizes.append(rest)
        self._n_at_once, self._last = batches.n_at_once, (None, None)

    @property
    def identity(self):
        """What ways to the same batches in the same order share, hashable; None if not known."""
        identity = self._batches.identity
        return identity and (identity, self._seed)

    @cached_property
    def _order(self):
        index = self._batches.index
        if self._seed is not None:
            index = index[epoch_order(len(index), self._seed)]
        return index[: sum(self.sizes)].to(self._batches.targets.device)

    def block(self, number):
        """The batches that are fetched together with one, and the number of the first of them.

        Fetching a block and cutting it is faster than an index for each batch.
        """
        first = number - number % self._n_at_once
        known, block = self._last
        if known != first:
            size = self._batches.batch_size
            rows = self._order[first * size : (first + self._n_at_once) * size]
            block = self._batches.fetch(rows)
            self._last = first, block
        return first, block


def _digest(tensor):
    if tensor is None:
        return None
    values = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
    # Of all that may be the same by chance this is the least: 2**-128.
    return tuple(tensor.shape), tensor.dtype, tensor.device, sha256(values).digest()


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
