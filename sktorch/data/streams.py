"""Streams: an ``IterableDataset``, whose samples come in its own order, once a pass."""

from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import chain, islice
from math import ceil
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset, default_collate

from sktorch.data.datasets import holds_target, inputs_and_target
from sktorch.data.dtypes import Dtypes
from sktorch.data.loaders import LoaderBatches, check_keeps_rows, collated_inputs, with_own_seed
from sktorch.data.source import (
    BatchSettings,
    Loader,
    Settings,
    Shape,
    Source,
    no_samples,
    shape_of_samples,
)
from sktorch.data.structure import Inputs
from sktorch.data.tensors import as_array


class Stream(Source):
    """An ``IterableDataset``.

    A pass over it, which may be long, gives the targets and an example at once.
    """

    is_indexable = False
    runs_user_code = True
    n_rows = None
    n_looked_at = 2  # samples, for an example

    def __init__(self, X: IterableDataset, settings: Settings) -> None:
        super().__init__(X, settings)
        self.values = X
        self._iterator: Iterator | None = None
        self._begun: Iterator | None = None
        self._first_samples: list | None = None
        self._targets: list | None = None

    @staticmethod
    def accepts(X: Any, settings: Settings) -> bool:
        """Accept an IterableDataset."""
        return isinstance(X, IterableDataset)

    def __getstate__(self) -> dict[str, Any]:
        # For workers: iterators don't pickle.
        return vars(self) | {"_iterator": None, "_begun": None}

    @property
    def _passes(self) -> Iterable:
        """What is iterated for a pass over the data."""
        return self.values

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        """Yield the inputs and the target of each sample, and keep the targets."""
        self._targets = targets = []
        for sample in self._samples():
            inputs, target = inputs_and_target(sample, self.holds_targets)
            targets.append(target)
            yield inputs, target

    def _samples(self) -> Iterator:
        """Return all samples: of the pass whose first were looked at, or of another one."""
        first = self._look()
        begun, self._begun = self._begun, None
        return self._open() if begun is None else chain(first, begun)

    def _open(self) -> Iterator:
        iterator = iter(self._passes)
        if iterator is self._iterator:
            raise ValueError(
                f"{type(self._passes).__name__}.__iter__ returns the same iterator every time, "
                "which can be read only once. Let it return a new one, which begins with the first "
                "sample."
            )
        self._iterator = iterator
        return iterator

    def _look(self) -> list[Any]:
        """Return the first samples, of a pass that may go on after them."""
        if self._first_samples is None:
            self._begun = self._open()
            self._first_samples = [*islice(self._begun, self.n_looked_at)]
        return self._first_samples

    def _first(self) -> list[Any]:
        """Return the first samples; raise if there are none."""
        if not self._look():
            raise no_samples(self.settings)
        return self._look()

    @cached_property
    def holds_targets(self) -> bool:
        """Whether the last part of a sample is its target."""
        told = self.settings.has_targets
        return holds_target(self._first()[0], self.settings) if told is None else told

    @cached_property
    def _first_inputs(self) -> list[Any]:
        return [inputs_and_target(sample, self.holds_targets)[0] for sample in self._first()]

    @cached_property
    def example(self) -> Any:
        """Up to two samples as they are collated."""
        settings = self.settings
        return collated_inputs(
            self._first_inputs, settings.collate_fn or default_collate, settings.arguments
        )

    @property
    def shape(self) -> Shape:
        """The shape of a sample."""
        return shape_of_samples(self.example, self._first_inputs[0])

    def count_rows(self) -> int:
        """Return the number of samples of a pass."""
        return sum(1 for _ in self)

    @property
    def targets(self) -> np.ndarray:
        """The targets of the last pass: each may have another order."""
        if self._targets is None:
            for _ in self:
                pass
        if not self._targets:
            raise no_samples(self.settings)
        return as_array(self._targets)

    def batches(
        self,
        targets: torch.Tensor,
        weights: torch.Tensor | None,
        index: torch.Tensor,
        settings: BatchSettings,
    ) -> Loader:
        """Return batches of all samples in the stream's order, which workers may change."""
        self._begun = None  # Training begins with the first sample, and its own random numbers.
        beside, options = None if self.holds_targets else targets, settings.options
        if beside is not None or weights is not None:
            check_one_reader(options, "y and sample_weight have")
        elif settings.keep_order:
            check_one_reader(options, PREDICTED)
        return StreamBatches(
            _StreamSamples(self, beside, weights),
            settings.dtypes,
            settings.device,
            n_samples=len(targets),
            weighted=weights is not None,
            collate_fn=default_collate,
            options={name: value for name, value in options.items() if name != "shuffle" or value},
            keep_order=settings.keep_order,
            encode=settings.encode if beside is None else None,
            arguments=self.settings.arguments,
            named=settings.named,
        )

    def inputs(
        self, dtypes: Dtypes, device: torch.device, *, n_rows: int, options: dict[str, Any]
    ) -> Iterator[Inputs]:
        """Yield the inputs of all samples in the order of the stream."""
        check_keeps_rows(options)
        check_one_reader(options, PREDICTED)
        batches = LoaderBatches(
            _StreamSamples(self, None, None),
            dtypes,
            device,
            weighted=False,
            collate_fn=default_collate,
            options=with_own_seed({k: value for k, value in options.items() if k != "shuffle"}),
            keep_order=True,
            encode=lambda targets: torch.zeros(len(targets), dtype=torch.int64),
            arguments=self.settings.arguments,
        )
        for X, _, _ in batches:
            yield X


PREDICTED = "its predictions are returned in"


def check_one_reader(options: dict[str, Any], order: str) -> None:
    """Raise if workers would read a stream side by side, each its part."""
    if options.get("num_workers"):
        raise ValueError(
            f"num_workers={options['num_workers']} reads an IterableDataset in another order than "
            f"{order}. Leave out num_workers, or, to train, let the samples hold their targets."
        )


class StreamBatches(LoaderBatches):
    """Batches of a stream, whose number follows from that of the targets."""

    def __init__(
        self, *args: Any, n_samples: int, options: dict[str, Any], **settings: Any
    ) -> None:
        super().__init__(*args, options=options, **settings)
        self.n_samples, self.options = n_samples, options

    def __len__(self) -> int:
        n_batches = self.n_samples / self.options["batch_size"]
        return int(n_batches) if self.options.get("drop_last") else ceil(n_batches)


class _StreamSamples(IterableDataset):
    """Triples (input, target, weight) of a stream, with targets and weights that lie beside it."""

    def __init__(
        self, stream: Stream, targets: torch.Tensor | None, weights: torch.Tensor | None
    ) -> None:
        self.stream, self.targets, self.weights = stream, targets, weights

    def __iter__(self) -> Iterator[tuple[Any, Any, torch.Tensor]]:
        beside = self.weights if self.targets is None else self.targets
        one, count = torch.ones(()), 0
        for inputs, target in self.stream:
            if beside is not None and count == len(beside):
                raise another_length("more", count, self.targets is not None)
            target = target if self.targets is None else self.targets[count]
            yield inputs, target, one if self.weights is None else self.weights[count]
            count += 1
        if beside is not None and count < len(beside):
            raise another_length("fewer", len(beside), self.targets is not None)


def another_length(comparison: str, expected: int, of_targets: bool) -> ValueError:
    """Return the error of a stream with more or fewer samples than y or sample_weight."""
    name = "y" if of_targets else "sample_weight"
    return ValueError(
        f"The IterableDataset gives {comparison} samples than the {expected} of {name}. "
        f"Give {name} as many rows."
    )
