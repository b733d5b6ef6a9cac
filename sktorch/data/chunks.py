"""Streams whose rows come many at a time, which are cut into batches."""

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import cached_property
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from sktorch.data.batches import BLOCK_BYTES, joined, rows_of
from sktorch.data.chunked_dataset import ChunkedDataset, checked_chunks
from sktorch.data.datasets import inputs_and_target
from sktorch.data.dtypes import Dtypes, matching_dtypes
from sktorch.data.loaders import as_inputs, check_keeps_rows, check_size, n_batches_of
from sktorch.data.source import BatchSettings, Settings, Shape, no_samples, shape_of
from sktorch.data.streams import PREDICTED, Beside, Stream, check_one_reader
from sktorch.data.structure import Batch, Inputs, n_rows_of, tree_leaves, tree_map
from sktorch.data.tensors import as_array, as_tensors

# Options of a DataLoader that change the order of rows, or stack them.
_REFUSED = ("shuffle", "sampler", "batch_sampler", "collate_fn")


class Chunks(Stream):
    """A `ChunkedDataset`: a pass over it gives chunks of rows where a stream's gives samples."""

    n_looked_at = 1

    @staticmethod
    def accepts(X: Any, settings: Settings) -> bool:
        """Accept a ChunkedDataset."""
        return isinstance(X, ChunkedDataset)

    @property
    def _iterable(self) -> Iterable:
        return self.values.chunks

    def _open(self) -> Iterator:
        return checked_chunks(super()._open())

    def _samples(self) -> Iterator:
        first, begun = self._look(), self._begun
        self._begun = None
        if begun is None:
            return self._open()
        # A few rows tell what there is to know: the chunk itself has to leave the memory.
        self._first_samples = [tuple(map(_few, parts)) for parts in first]
        return chain(first, begun)

    @cached_property
    def holds_targets(self) -> bool:
        """Whether the last part of a chunk is its targets."""
        holds = super().holds_targets
        if holds and len(self._first()[0]) < 2:
            raise TypeError(
                "A chunk of the ChunkedDataset is one array, expected a tuple (X, y). Pass a list "
                "of such tuples, or an object that yields them, or pass y beside the dataset."
            )
        return holds

    @cached_property
    def example(self) -> Any:
        """Up to two rows as the module gets them, but for dtype and device."""
        # Of the few rows alone: the chunk has to leave the memory.
        inputs, _ = inputs_and_target(self._first()[0], self.holds_targets)
        return as_inputs(_few(inputs), self.settings.arguments)

    @property
    def shape(self) -> Shape:
        """The shape of a row."""
        return shape_of(self.example)

    def count_rows(self) -> int:
        """Return the number of rows of a pass."""
        return sum(n_rows_of(inputs) for inputs, _ in self)

    @property
    def targets(self) -> np.ndarray:
        """The targets of the last pass: each may have another order."""
        if self._targets is None:
            for _ in self:
                pass
        if not self._targets:
            raise no_samples(self.settings)
        return np.concatenate([*map(as_array, self._targets)])

    def batches(
        self,
        targets: torch.Tensor,
        weights: torch.Tensor | None,
        index: torch.Tensor,
        settings: BatchSettings,
    ) -> "ChunkBatches":
        """Return batches of all rows in the order of the chunks, which workers may change."""
        self._begun = None  # Training begins with the first chunk, and its own random numbers.
        beside = self._beside(targets, weights, settings)
        encode = settings.encode or torch.as_tensor
        return ChunkBatches(
            _Blocks(self, settings.dtypes, beside, encode),
            settings.device,
            n_rows=len(targets),
            is_weighted=weights is not None,
            options=settings.options,
            named=settings.named,
        )

    def inputs(
        self, dtypes: Dtypes, device: torch.device, *, n_rows: int, options: dict[str, Any]
    ) -> Iterator[Inputs]:
        """Yield the inputs of all rows in their order, at most ``n_rows`` at a time."""
        check_keeps_rows(options)
        check_one_reader(options, PREDICTED)
        for inputs, _ in self:
            for start in range(0, n_rows_of(inputs), n_rows):
                yield self.tensors(_cut(inputs, slice(start, start + n_rows)), dtypes, device)

    def tensors(self, inputs: Any, dtypes: Dtypes, device: torch.device) -> Inputs:
        """Return inputs as the tensors that a module takes, and may change in place."""
        values = as_inputs(inputs, self.settings.arguments)
        tree_map(_check_keeps_floats, values, matching_dtypes(values, dtypes))
        return as_tensors(values, dtypes, device, copy=True)


class ChunkBatches:
    """Batches of equal size, cut from blocks of any size."""

    def __init__(
        self,
        blocks: "_Blocks",
        device: torch.device,
        *,
        n_rows: int,
        is_weighted: bool,
        options: dict[str, Any],
        named: Callable[[], AbstractContextManager],
    ) -> None:
        refused = [name for name in _REFUSED if options.get(name) not in (None, False)]
        if refused:
            raise ValueError(
                f"A ChunkedDataset can't take {refused}: its rows come stacked, and in the order "
                "of its chunks. Leave these options out, and shuffle in chunks."
            )
        options = {name: value for name, value in options.items() if name not in _REFUSED}
        self.batch_size, self.drop_last = options.pop("batch_size"), options.pop("drop_last", False)
        check_size(self.batch_size)
        if device.type in ("cpu", "mps"):  # Only a warning would come of it.
            options.pop("pin_memory", None)
        self.n_rows, self.is_weighted, self.device, self.named = n_rows, is_weighted, device, named
        self.loader: DataLoader = DataLoader(blocks, batch_size=None, **options)

    def __len__(self) -> int:
        return n_batches_of(self.n_rows, self.batch_size, self.drop_last)

    def __iter__(self) -> Iterator[Batch]:
        waiting: list[Batch] = []  # for the rows that they lack for a batch
        n_waiting = 0
        with self.named():
            blocks = iter(self.loader)
        for block in blocks:
            waiting.append(self._moved(*block))
            n_waiting += len(waiting[-1][1])
            if n_waiting < self.batch_size:
                continue
            rows = joined(*waiting) if len(waiting) > 1 else waiting[0]
            n_rows, n_waiting = n_waiting, n_waiting % self.batch_size
            for start in range(0, n_rows - n_waiting, self.batch_size):
                yield rows_of(rows, start, self.batch_size)
            waiting = [rows_of(rows, n_rows - n_waiting, n_waiting)] if n_waiting else []
        if waiting and not self.drop_last:
            yield joined(*waiting)

    def _moved(self, X: Any, y: torch.Tensor, weights: torch.Tensor) -> Batch:
        def move(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.to(self.device, non_blocking=True)

        inputs = tuple(X) if isinstance(X, list) else X  # Pinning makes lists of tuples.
        return tree_map(move, inputs), move(y), move(weights) if self.is_weighted else None


class _Blocks(IterableDataset):
    """Tensors of inputs, targets and weights, of parts of chunks that are small beside them."""

    def __init__(
        self,
        chunks: Chunks,
        dtypes: Dtypes,
        beside: Beside,
        encode: Callable[[Any], torch.Tensor],
    ) -> None:
        self.chunks, self.dtypes, self.beside, self.encode = chunks, dtypes, beside, encode

    def __iter__(self) -> Iterator[tuple[Inputs, torch.Tensor, torch.Tensor]]:
        targets, weights, taken = self.beside.targets, self.beside.weights, 0
        for inputs, given in self.chunks:
            n_rows = n_rows_of(inputs)
            end = taken + n_rows
            self.beside.check(end)
            y = self.encode(given) if targets is None else targets[taken:end]
            w = None if weights is None else weights[taken:end]
            taken = end
            size = max(BLOCK_BYTES // max(_bytes(inputs) // n_rows, 1), 1)
            for start in range(0, n_rows, size):
                rows = slice(start, start + size)
                X = self.chunks.tensors(_cut(inputs, rows), self.dtypes, torch.device("cpu"))
                yield X, y[rows], _ONE if w is None else w[rows]
        self.beside.check(taken, is_end=True)


_ONE = torch.ones(())


def _bytes(inputs: Any) -> int:
    return sum(values.nbytes for values in tree_leaves(inputs))


def _cut(inputs: Any, rows: slice) -> Any:
    return tree_map(itemgetter(rows), inputs)


def _few(inputs: Any) -> Any:
    """Return a copy of up to two rows."""
    return tree_map(copy.deepcopy, _cut(inputs, slice(2)))


def _check_keeps_floats(values: Any, dtype: torch.dtype) -> None:
    """Raise if floats would be rounded, as the first chunk had integers in their place."""
    is_tensor = isinstance(values, torch.Tensor)
    is_floating = values.is_floating_point() if is_tensor else values.dtype.kind == "f"
    if is_floating and not (dtype.is_floating_point or dtype.is_complex):
        raise ValueError(
            f"A chunk of the ChunkedDataset holds {values.dtype}, and the first one held integers, "
            f"which the module gets as {dtype}. Let all chunks have the same dtypes."
        )
