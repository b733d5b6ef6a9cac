"""Batches of which each process loads its share: samples of a dataset, which take time to make."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from sktorch.data.batches import AugmentedBatches, draw_loader_seed
from sktorch.data.loaders import LoaderBatches
from sktorch.data.structure import Batch
from sktorch.training.processes import SeveralProcesses
from sktorch.training.randomness import RandomStream


class SharedBatches:
    """Batches with the inputs of this process's share, and the targets and weights of all rows.

    All processes draw the same order of rows, but each has its own numbers for what makes samples.
    """

    def __init__(self, batches: Any, processes: SeveralProcesses) -> None:
        self._processes = processes
        self._sizes: deque[int] = deque()  # of batches that are being loaded
        self._order: RandomStream | None = None
        augment = batches.augment if isinstance(batches, AugmentedBatches) else None
        loaded = _inner(batches).cut(self._own, self._in_order)
        self._batches = loaded if augment is None else AugmentedBatches(loaded, augment)

    def __len__(self) -> int:
        return len(self._batches)

    def drawing(self, order: RandomStream, own: RandomStream) -> Iterator[Batch]:
        """Yield the batches of an epoch, by random numbers for the order and for this process."""
        self._sizes.clear()
        self._order, gathered = order, self._processes.gathered
        order.run(draw_loader_seed)  # as the loader of one process does; here it is of the own
        batches, end = iter(self._batches), object()
        while (batch := own.run(next, batches, end)) is not end:
            X, y, weight = batch
            n_rows = self._sizes.popleft()
            n_own = self._processes.n_own(n_rows)
            y = gathered(y[:n_own], n_rows)
            yield X, y, None if weight is None else gathered(weight[:n_own], n_rows)

    def _own(self, rows: list) -> list:
        self._sizes.append(len(rows))
        return rows[self._processes.share(len(rows))] or rows[:1]

    def _in_order(self, function: Any, *args: Any) -> Any:
        assert self._order is not None
        return self._order.run(function, *args)


def can_be_shared(batches: Iterable[Batch]) -> bool:
    """Say whether batches are of single samples, stacked in their order."""
    inner = _inner(batches)
    return type(inner) is LoaderBatches and inner.can_be_cut


def _inner(batches: Any) -> Any:
    return batches.batches if isinstance(batches, AugmentedBatches) else batches
