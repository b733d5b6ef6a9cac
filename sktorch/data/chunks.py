"""Streams whose rows come many at a time, which are cut into batches."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from math import ceil
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from sktorch.data.batches import joined, rows_of
from sktorch.data.chunked_dataset import ChunkedDataset
from sktorch.data.dtypes import Dtypes
from sktorch.data.loaders import as_inputs, check_keeps_rows, check_size
from sktorch.data.source import BatchSettings, Settings, Shape, no_samples, shape_of
from sktorch.data.streams import PREDICTED, Stream, another_length, check_one_reader
from sktorch.data.structure import Batch, Inputs, n_rows_of, split_rows, tree_leaves, tree_map
from sktorch.data.tensors import as_array, as_tensors, length


class Chunks(Stream):
    """A `ChunkedDataset`: a pass over it gives chunks of rows where a stream's gives samples."""

    n_looked_at = 1

    @staticmethod
    def accepts(X: Any, settings: Settings) -> bool:
        """Accept a ChunkedDataset."""
        return isinstance(X, ChunkedDataset)

    @property
    def _passes(self) -> Iterable:
        return self.values.chunks

    def _open(self) -> Iterator:
        first: Shape = None
        for chunk in map(_checked, super()._open()):
            shape = [shape_of(part) for part in _parts(chunk)]
            if first not in (None, shape):
                raise ValueError(
                    f"A chunk of the ChunkedDataset has rows of shapes {shape}, and the first one "
                    f"has {first}. Let all chunks have rows of the same shapes."
                )
            first = shape
            if _n_rows(chunk):
                yield chunk

    @cached_property
    def example(self) -> Any:
        """Up to two rows as the module gets them, but for dtype and device."""
        rows = tree_map(lambda values: values[:2], self._first_inputs[0])
        return as_inputs(rows, self.settings.arguments)

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
        beside, options = None if self.holds_targets else targets, settings.options
        if beside is not None or weights is not None:
            check_one_reader(options, "y and sample_weight have")
        elif settings.keep_order:
            check_one_reader(options, PREDICTED)
        return ChunkBatches(
            _Tensors(self, settings.dtypes, beside, weights, settings.encode),
            settings.device,
            n_rows=len(targets),
            is_weighted=weights is not None,
            **options,
        )

    def inputs(
        self, dtypes: Dtypes, device: torch.device, *, n_rows: int, options: dict[str, Any]
    ) -> Iterator[Inputs]:
        """Yield the inputs of all rows in their order, at most ``n_rows`` at a time."""
        check_keeps_rows(options)
        check_one_reader(options, PREDICTED)
        for inputs, _ in self:
            values = as_inputs(inputs, self.settings.arguments)
            # A copy: a module may work in place, and the values are the caller's.
            yield from split_rows(as_tensors(values, dtypes, device, copy=True), n_rows)


class ChunkBatches:
    """Batches of equal size, cut from chunks of any size."""

    def __init__(
        self,
        chunks: IterableDataset,
        device: torch.device,
        *,
        n_rows: int,
        is_weighted: bool,
        batch_size: int,
        shuffle: bool = False,
        drop_last: bool = False,
        collate_fn: Callable | None = None,
        **options: Any,
    ) -> None:
        check_size(batch_size)
        if collate_fn is not None:
            raise ValueError(
                f"collate_fn={collate_fn!r} stacks single samples, and the rows of a "
                "ChunkedDataset come stacked. Leave it out, and change the chunks instead."
            )
        if shuffle:
            options["shuffle"] = shuffle  # The DataLoader says that a stream has its own order.
        self.device, self.is_weighted = device, is_weighted
        self.n_rows, self.batch_size, self.drop_last = n_rows, batch_size, drop_last
        self.loader: DataLoader = DataLoader(chunks, batch_size=None, **options)

    def __len__(self) -> int:
        n_batches = self.n_rows / self.batch_size
        return int(n_batches) if self.drop_last else ceil(n_batches)

    def __iter__(self) -> Iterator[Batch]:
        rest: Batch | None = None  # rows of a batch that the next chunk fills up
        for chunk in self._moved():
            if rest is not None:
                n_missing = min(self.batch_size - len(rest[1]), len(chunk[1]))
                rest = joined(rest, rows_of(chunk, 0, n_missing))
                chunk = rows_of(chunk, n_missing, len(chunk[1]) - n_missing)
                if len(rest[1]) < self.batch_size:
                    continue
                yield rest
            n_rows = len(chunk[1])
            n_whole = n_rows - n_rows % self.batch_size
            for start in range(0, n_whole, self.batch_size):
                yield rows_of(chunk, start, self.batch_size)
            rest = rows_of(chunk, n_whole, n_rows - n_whole) if n_whole < n_rows else None
        if rest is not None and not self.drop_last:
            yield rest

    def _moved(self) -> Iterator[Batch]:
        for X, y, weights in self.loader:
            inputs = tuple(X) if isinstance(X, list) else X  # as pinning makes lists of tuples
            moved = partial(torch.Tensor.to, device=self.device, non_blocking=True)
            yield tree_map(moved, inputs), moved(y), moved(weights) if self.is_weighted else None


class _Tensors(IterableDataset):
    """Tensors of the inputs, targets and weights of each chunk."""

    def __init__(
        self,
        chunks: Chunks,
        dtypes: Dtypes,
        targets: torch.Tensor | None,
        weights: torch.Tensor | None,
        encode: Callable[[Any], torch.Tensor] | None,
    ) -> None:
        self.chunks, self.dtypes = chunks, dtypes
        self.targets, self.weights, self.encode = targets, weights, encode

    def __iter__(self) -> Iterator[tuple[Inputs, torch.Tensor, torch.Tensor]]:
        beside = self.weights if self.targets is None else self.targets
        count, of_targets = 0, self.targets is not None
        for inputs, given in self.chunks:
            values = as_inputs(inputs, self.chunks.settings.arguments)
            # A copy: a module may work in place, and the values are the caller's.
            X = as_tensors(values, self.dtypes, torch.device("cpu"), copy=True)
            rows = slice(count, count + n_rows_of(X))
            if beside is not None and rows.stop > len(beside):
                raise another_length("more", len(beside), of_targets)
            count = rows.stop
            if self.targets is None:
                assert self.encode is not None
                y = self.encode(given)
            else:
                y = self.targets[rows]
            yield X, y, torch.ones(()) if self.weights is None else self.weights[rows]
        if beside is not None and count < len(beside):
            raise another_length("fewer", len(beside), of_targets)


def _checked(chunk: Any) -> Any:
    """Return a chunk as arrays or tensors of equal length; raise if its parts differ in length."""
    parts = tuple(_as_values(part) for part in _parts(chunk))
    lengths = [length(values) for part in parts for values in tree_leaves(part)]
    if not lengths or None in lengths or len({*lengths}) > 1:
        raise ValueError(
            f"A chunk of the ChunkedDataset has parts of {lengths} rows; expected arrays or "
            "tensors of one length. Let chunks be (X, y), with a target for each row of X."
        )
    return parts if isinstance(chunk, tuple | list) else parts[0]


def _as_values(part: Any) -> Any:
    """Return the arrays or tensors of a part of a chunk."""
    if isinstance(part, dict):
        return {name: _as_values(values) for name, values in part.items()}
    return part if isinstance(part, torch.Tensor) else np.asarray(part)


def _parts(chunk: Any) -> Sequence[Any]:
    return chunk if isinstance(chunk, tuple | list) else (chunk,)


def _n_rows(chunk: Any) -> int:
    return n_rows_of(_parts(chunk)[0])
