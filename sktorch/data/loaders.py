"""Batches from a ``torch.utils.data.DataLoader``: for what does not fit, index or stack by itself.

A batch is ``(X, y, weight)`` as in `sktorch.data.batches`.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from numbers import Integral
from operator import length_hint
from typing import Any, Self

import torch
from torch.utils.data import DataLoader, Dataset

from sktorch.data.dtypes import Dtypes
from sktorch.data.order import IN_BLOCKS
from sktorch.data.structure import Batch, only_entry, tree_leaves
from sktorch.data.tensors import as_tensors

# Options of a DataLoader that choose rows, or their order.
REORDERING = ("shuffle", "sampler", "batch_sampler", "drop_last")


def loader_options(batch_size: int, shuffle: bool, given: dict[str, Any]) -> dict[str, Any]:
    """Return arguments of a ``DataLoader``, less those that the given ones exclude."""
    # A size of another kind, set after a fit, is refused where one is needed: by no array.
    size = int(batch_size) if isinstance(batch_size, Integral) else batch_size
    options = {"batch_size": size, "shuffle": shuffle} | given
    if "sampler" in given or "batch_sampler" in given:
        del options["shuffle"]
    if "batch_sampler" in given:
        del options["batch_size"]
    elif "batch_size" in given:
        check_size(given["batch_size"])
    if options.get("shuffle") not in (None, True, False, IN_BLOCKS):
        raise ValueError(
            f"shuffle must be True, False or {IN_BLOCKS!r}, got {options['shuffle']!r}"
        )
    return options


def check_size(batch_size: Any) -> None:
    """Raise if a batch size is not a positive integer."""
    if not isinstance(batch_size, Integral) or batch_size <= 0:
        raise ValueError(f"batch_size must be a positive integer, got {batch_size!r}")


def leaves_one_row(n_rows: int, options: dict[str, Any]) -> bool:
    """Say whether a ``DataLoader`` of these options makes a batch of one row."""
    if options.get("drop_last") or options.get("batch_sampler") is not None:
        return False
    sampler, size = options.get("sampler"), options["batch_size"]
    n_rows = n_rows if sampler is None else length_hint(sampler)
    return size is not None and (size == 1 or n_rows % size == 1)


def n_batches_of(n_rows: int, batch_size: int, drop_last: bool) -> int:
    """Return how many batches rows make that come one after another."""
    whole, rest = divmod(n_rows, batch_size)
    return whole + (rest > 0 and not drop_last)


def check_keeps_rows(options: dict[str, Any]) -> None:
    """Raise if options of a ``DataLoader`` leave rows out or change their order."""
    reordering = [name for name in REORDERING if options.get(name) not in (None, False)]
    if options.get("in_order") is False:
        reordering.append("in_order")
    if reordering:
        raise ValueError(
            f"iterator_valid can't take {sorted(reordering)}: what is predicted has to come for "
            "all rows, in their order. Leave out iterator_valid__*."
        )


def with_own_seed(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options with a generator: a ``DataLoader`` draws the caller's numbers without."""
    return {"generator": torch.Generator()} | options


class LoaderBatches:
    """Batches that a ``DataLoader`` collates of (input, target, weight), moved to the device."""

    def __init__(
        self,
        samples: Dataset,
        dtypes: Dtypes,
        device: torch.device,
        *,
        weighted: bool,
        collate_fn: Callable,
        options: dict[str, Any],
        keep_order: bool,
        encode: Callable[[list], torch.Tensor] | None = None,
        arguments: tuple[str, ...] | None = None,
        named: Callable[[], AbstractContextManager] = nullcontext,
    ) -> None:
        check_size(options.get("batch_size", 1))
        if options.get("shuffle") == IN_BLOCKS:
            raise ValueError(
                f"shuffle={IN_BLOCKS!r} is for arrays that are cut by index, and these rows go "
                "through a DataLoader. Leave out shuffle, or, for an array, what only a DataLoader "
                "has"
            )
        self.dtypes, self.device, self.weighted = dtypes, device, weighted
        self.arguments, self.named = arguments, named
        given = options.get("collate_fn")
        keep_order = bool(given) and (weighted or keep_order)
        options = options | {"collate_fn": _Collate(given or collate_fn, keep_order, encode)}
        if device.type in ("cpu", "mps"):  # Only a warning would come of it.
            options.pop("pin_memory", None)
        self.loader: DataLoader = DataLoader(samples, **options)
        self._options, self._own_collate_fn = options, given is not None

    def __len__(self) -> int:
        return len(self.loader)

    @property
    def can_be_cut(self) -> bool:
        """Whether each row of a batch is the same without the others, and batches keep order."""
        in_order = self._options.get("in_order", True)
        return self.loader.batch_sampler is not None and in_order and not self._own_collate_fn

    def cut(self, choose: Callable[[list], list], draw: Callable) -> Self:
        """Return the batches with some of their rows alone, which a function chooses.

        The order of rows is drawn inside of `draw(function, *arguments)`.
        """
        batches = copy.copy(self)
        options = {k: v for k, v in self._options.items() if k not in ("batch_size", *REORDERING)}
        sampler: Any = _CutBatches(self.loader.batch_sampler, choose, draw)
        batches.loader = DataLoader(self.loader.dataset, batch_sampler=sampler, **options)
        return batches

    def __iter__(self) -> Iterator[Batch]:
        with self.named():
            batches = iter(self.loader)
        for X, y, weight in batches:
            inputs = as_inputs(X, self.arguments)  # Here, for pinning makes lists of tuples.
            yield (
                as_tensors(inputs, self.dtypes, self.device),
                y.to(self.device, non_blocking=True),
                weight.to(self.device, non_blocking=True) if self.weighted else None,
            )


@dataclass
class _CutBatches:
    """A sampler of parts of the batches of another."""

    batch_sampler: Any
    choose: Callable[[list], list]
    draw: Callable

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[list]:
        batches = self.draw(iter, self.batch_sampler)
        while batch := self.draw(next, batches, None):
            yield self.choose([*batch])


@dataclass
class _Collate:
    """Collates inputs and targets as in a plain training loop, and weights beside them."""

    collate_fn: Callable
    keep_order: bool
    encode: Callable[[list], torch.Tensor] | None

    def __call__(self, samples: list[tuple]) -> tuple[Any, torch.Tensor, torch.Tensor]:
        inputs, given, weights = zip(*samples, strict=True)
        # A batch at a time: many times as fast as one by one.
        targets = given if self.encode is None else self.encode([*given])
        X, y = _collated([*zip(inputs, targets, strict=True)], self.collate_fn)
        if self.keep_order:
            expected = torch.stack([*targets]).flatten()
            if not torch.equal(torch.as_tensor(y, dtype=expected.dtype).flatten(), expected):
                raise ValueError(
                    f"collate_fn {self.collate_fn!r} returned other targets than those of its "
                    "samples, or in another order. What is predicted, scored or weighted has to "
                    "keep it: leave the samples in their order in collate_fn."
                )
        return X, y, torch.stack(weights)


def collated_inputs(
    inputs: list[Any], collate_fn: Callable, arguments: tuple[str, ...] | None
) -> Any:
    """Return the inputs of samples as ``collate_fn`` stacks them, beside targets of zero."""
    X, _ = _collated([(x, torch.tensor(0)) for x in inputs], collate_fn)
    X = as_inputs(X, arguments)
    for part in tree_leaves(X):
        if not hasattr(part, "dtype"):
            raise ValueError(
                f"The dataset's inputs are collated to {type(part).__name__}; expected a tensor, "
                "or a dict or tuple of them. Let the dataset return tensors, arrays or numbers."
            )
    return X


def _collated(pairs: list[tuple], collate_fn: Callable) -> tuple[Any, Any]:
    """Return the inputs and the targets that ``collate_fn`` makes of pairs of both."""
    try:
        batch = collate_fn(pairs)
    except (TypeError, RuntimeError) as error:
        raise ValueError(
            f"The samples of the dataset don't stack to a batch: {error}. Let the dataset return "
            "tensors of one shape, or pass iterator_train__collate_fn and "
            "iterator_valid__collate_fn (sktorch.data.pad_sequences pads sequences)."
        ) from error
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise TypeError(
            f"collate_fn {collate_fn!r} returned {type(batch).__name__}, expected a pair: "
            "the inputs and the targets of the batch. Change collate_fn."
        )
    return batch[0], batch[1]


def as_inputs(X: Any, arguments: tuple[str, ...] | None) -> Any:
    """Return collated inputs as a module of these arguments takes them: lists become tuples."""
    return only_entry(tuple(X) if isinstance(X, list) else X, arguments)
