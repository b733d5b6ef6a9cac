"""Data whose rows can be taken by index: as tensors, and as batches."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any

import torch
from torch.utils.data import Dataset, default_collate

from sktorch.data.batches import Batches
from sktorch.data.loaders import LoaderBatches
from sktorch.data.placement import AheadBatches, choose_placement
from sktorch.data.source import BatchSettings, Loader, Settings, Source
from sktorch.data.structure import Inputs, tree_leaves, tree_map
from sktorch.data.tensors import as_tensors, take_rows

# Options of a DataLoader that batches cut by index have, too.
_BATCH_OPTIONS = {"batch_size", "shuffle", "drop_last"}


class RowSource(Source):
    """Data whose rows can be taken by index."""

    cut_batches: Callable[..., Batches] | None = Batches  # None: only a DataLoader can
    collate_fn: Callable = staticmethod(default_collate)  # of the DataLoader

    def __init__(self, X: Any, settings: Settings) -> None:
        super().__init__(X, settings)
        # Rows to train and rows to validate on share what is converted and moved.
        self._placed: dict[tuple, Rows] = {}

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return tree_leaves(self.values)[0].shape[0]

    @cached_property
    def example(self) -> Any:
        """Up to two rows as the module gets them, but for dtype and device."""
        return self.stack(self.take(slice(2)))

    def take(self, index: Any) -> Any:
        """Return the values of the rows that an index names."""
        return tree_map(lambda values: take_rows(values, index), self.values)

    def stack(self, values: Any) -> Any:
        """Return values of several rows as the module gets them, but for dtype and device."""
        return values

    def tensors(
        self, index: Any, dtype: torch.dtype, device: torch.device, *, copy: bool = False
    ) -> Inputs:
        """Return the rows that an index names as the tensors that a module takes."""
        return as_tensors(self.stack(self.take(index)), dtype, device, copy=copy)

    def sample(self, position: int, dtype: torch.dtype, device: torch.device) -> Any:
        """Return the input of one row for a ``DataLoader``, without the dimension of the rows."""
        return tree_map(lambda x: x[0], self.tensors(torch.tensor([position]), dtype, device))

    def placement(self, dtype: torch.dtype, device: torch.device, requested: str) -> str:
        """Return where rows are kept: "device", "host" or "source"."""
        return "source" if self.is_lazy else choose_placement(self.values, dtype, device, requested)

    def batches(
        self,
        targets: torch.Tensor,
        weights: torch.Tensor | None,
        index: torch.Tensor,
        settings: BatchSettings,
    ) -> Loader:
        """Return batches of the rows that an index names: cut by it, or through a DataLoader."""
        dtype, device, options = settings.dtype, settings.device, settings.options
        placement = self.placement(dtype, device, settings.placement)
        if self.cut_batches is None or not options.keys() <= _BATCH_OPTIONS:
            rows = self._rows(dtype, torch.device("cpu"), placement)
            return row_batches(
                rows,
                targets,
                weights,
                index,
                device=device,
                options=options,
                keep_order=settings.keep_order,
                named=settings.named,
            )
        home = torch.device("cpu") if placement == "host" else device
        rows = self._rows(dtype, home, placement)
        weights = None if weights is None else weights.to(home)
        batches = self.cut_batches(rows, targets.to(home), weights, index, **options)
        return AheadBatches(batches, device) if placement == "host" else batches

    def inputs(
        self, dtype: torch.dtype, device: torch.device, *, n_rows: int, options: dict[str, Any]
    ) -> Iterator[Inputs]:
        """Yield the inputs of all rows in their order, at most ``n_rows`` at a time."""
        for start in range(0, self.n_rows, n_rows):
            # A copy: a module may work in place, and the values are the caller's.
            yield self.tensors(slice(start, start + n_rows), dtype, device, copy=True)

    def _rows(self, dtype: torch.dtype, home: torch.device, placement: str) -> "Rows":
        if placement == "source":
            return Rows(self, dtype, home, whole=False)
        key = dtype, home, placement
        if key not in self._placed:
            self._placed[key] = Rows(self, dtype, home, pinned=placement == "host")
        return self._placed[key]


class Rows:
    """Rows of a source as tensors of one dtype on one device.

    What can be converted and moved as a whole is, unless ``whole`` is False; of anything else only
    the rows asked for are read and made dense.
    """

    def __init__(
        self,
        source: RowSource,
        dtype: torch.dtype,
        device: torch.device,
        *,
        whole: bool = True,
        pinned: bool = False,
    ) -> None:
        self.dtype, self.device, self.collate_fn = dtype, device, source.collate_fn
        self.is_whole = whole and not source.is_lazy
        # Whole rows leave the source alone: it keeps them, and a circle would outlive the training.
        self._source = None if self.is_whole else source
        self.values = source.tensors(slice(None), dtype, device) if self.is_whole else source.values
        if self.is_whole and pinned:
            self.values = tree_map(torch.Tensor.pin_memory, self.values)

    def __len__(self) -> int:
        return tree_leaves(self.values)[0].shape[0]

    def __getitem__(self, index: Any) -> Any:
        if self._source is None:
            return tree_map(lambda values: take_rows(values, index), self.values)
        return self._source.tensors(index, self.dtype, self.device)

    def sample(self, position: int) -> Any:
        """Return the input of one row for a ``DataLoader``, without the dimension of the rows."""
        if self._source is None:
            return tree_map(lambda values: values[position], self.values)
        return self._source.sample(position, self.dtype, self.device)


def row_batches(
    rows: Rows,
    targets: torch.Tensor,
    weights: torch.Tensor | None,
    index: torch.Tensor,
    *,
    device: torch.device,
    options: dict[str, Any],
    keep_order: bool = False,
    named: Callable[[], AbstractContextManager] = nullcontext,
) -> LoaderBatches:
    """Return batches of the rows that an index names, through a ``DataLoader``."""
    return LoaderBatches(
        _RowSamples(rows, targets, weights, index),
        rows.dtype,
        device,
        weighted=weights is not None,
        collate_fn=rows.collate_fn,
        options=options,
        keep_order=keep_order,
        named=named,
    )


class _RowSamples(Dataset):
    """Triples (input, target, weight) of the rows that an index names."""

    def __init__(
        self, rows: Rows, targets: torch.Tensor, weights: torch.Tensor | None, index: torch.Tensor
    ) -> None:
        self.rows, self.targets, self.index = rows, targets, index
        self.weights = torch.ones(len(targets)) if weights is None else weights

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, position: int) -> tuple[Any, torch.Tensor, torch.Tensor]:
        if position >= len(self):
            raise ValueError(
                f"The sampler asks for row {position}, but only {len(self)} rows are trained on: "
                "those held out and those of weight zero don't count. Change "
                "iterator_train__sampler, or iterator_train__batch_sampler."
            )
        row = int(self.index[position])
        return self.rows.sample(row), self.targets[row], self.weights[row]
