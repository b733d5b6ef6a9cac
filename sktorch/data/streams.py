"""Streams: an ``IterableDataset``, whose samples come in its own order, once a pass."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset, default_collate

from sktorch.data.datasets import holds_target, inputs_and_target
from sktorch.data.dtypes import Dtypes
from sktorch.data.loaders import (
    LoaderBatches,
    check_keeps_rows,
    collated_inputs,
    n_batches_of,
    with_own_seed,
)
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
    def _iterable(self) -> Iterable:
        """Return what is iterated in every pass over the data."""
        return self.values

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        """Yield the inputs and the target of each sample, and keep the targets."""
        self._targets = targets = []
        for sample in self._samples():
            inputs, target = inputs_and_target(sample, self.holds_targets)
            targets.append(_own(target))
            yield inputs, target

    def _samples(self) -> Iterator:
        """Return all samples: of the pass whose first were looked at, or of another one."""
        first = self._look()
        begun, self._begun = self._begun, None
        return self._open() if begun is None else chain(first, begun)

    def _open(self) -> Iterator:
        iterator = iter(self._iterable)
        if iterator is self._iterator:
            raise ValueError(
                f"{type(self._iterable).__name__}.__iter__ returns the same iterator every time, "
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
        beside, options = self._beside(targets, weights, settings), settings.options
        return StreamBatches(
            _StreamSamples(self, beside),
            settings.dtypes,
            settings.device,
            n_samples=len(targets),
            weighted=weights is not None,
            collate_fn=default_collate,
            options={name: value for name, value in options.items() if name != "shuffle" or value},
            keep_order=settings.keep_order,
            encode=settings.encode if beside.targets is None else None,
            arguments=self.settings.arguments,
            named=settings.named,
        )

    def _beside(
        self, targets: torch.Tensor, weights: torch.Tensor | None, settings: BatchSettings
    ) -> "Beside":
        """Return targets and weights that the samples don't hold; check who may read them."""
        beside = Beside(None if self.holds_targets else targets, weights)
        if beside.targets is not None or weights is not None:
            check_one_reader(settings.options, "y and sample_weight have")
        elif settings.keep_order:
            check_one_reader(settings.options, PREDICTED)
        return beside

    def inputs(
        self, dtypes: Dtypes, device: torch.device, *, n_rows: int, options: dict[str, Any]
    ) -> Iterator[Inputs]:
        """Yield the inputs of all samples in the order of the stream."""
        check_keeps_rows(options)
        check_one_reader(options, PREDICTED)
        batches = LoaderBatches(
            _StreamSamples(self, Beside(None, None)),
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


def _own(target: Any) -> Any:
    """Return a copy of a target: its memory may be a part of the samples, or used for the next."""
    if isinstance(target, torch.Tensor):
        return target.detach().clone()
    return target.copy() if isinstance(target, np.ndarray) else target


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
        drop_last = bool(self.options.get("drop_last"))
        return n_batches_of(self.n_samples, self.options["batch_size"], drop_last)


class _StreamSamples(IterableDataset):
    """Triples (input, target, weight) of a stream, with targets and weights that lie beside it."""

    def __init__(self, stream: Stream, beside: "Beside") -> None:
        self.stream, self.beside = stream, beside

    def __iter__(self) -> Iterator[tuple[Any, Any, torch.Tensor]]:
        one, taken = torch.ones(()), 0
        targets, weights = self.beside.targets, self.beside.weights
        for inputs, target in self.stream:
            self.beside.check(taken + 1)
            yield (
                inputs,
                target if targets is None else targets[taken],
                one if weights is None else weights[taken],
            )
            taken += 1
        self.beside.check(taken, is_end=True)


@dataclass
class Beside:
    """Targets and weights that lie beside a stream, in its order."""

    targets: torch.Tensor | None
    weights: torch.Tensor | None

    def check(self, n_rows: int, is_end: bool = False) -> None:
        """Raise if the stream has given more rows than there are, or ended with fewer."""
        values = self.weights if self.targets is None else self.targets
        if values is None or n_rows == len(values) or (n_rows < len(values) and not is_end):
            return
        name = "sample_weight" if self.targets is None else "y"
        comparison = "fewer" if is_end else "more"
        raise ValueError(
            f"The IterableDataset gives {comparison} samples than the {len(values)} of {name}. "
            f"Give {name} as many rows."
        )
