"""Batches from a ``torch.utils.data.DataLoader``: for what does not fit, index or stack by itself.

A batch is ``(X, y, weight)`` as in `sktorch.data.batches`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from sktorch.data.datasets import SliceableDataset, Stream
from sktorch.data.padding import pad_sequences
from sktorch.data.rows import as_inputs, as_tensors, is_ragged
from sktorch.data.structure import tree_leaves

# Options of a DataLoader that choose rows, or their order.
REORDERING = ("shuffle", "sampler", "batch_sampler", "drop_last")


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


def check_keeps_rows(options):
    """Raise ValueError for options of a ``DataLoader`` that leave rows out or change their order.

    Parameters
    ----------
    options : dict
    """
    reordering = [name for name in REORDERING if options.get(name) not in (None, False)]
    if options.get("in_order") is False:
        reordering.append("in_order")
    if reordering:
        raise ValueError(
            f"iterator_valid can't take {sorted(reordering)}: what is predicted has to come for "
            "all rows, in their order. Leave out iterator_valid__*."
        )


class LoaderBatches:
    """Batches that a ``DataLoader`` collates, moved to the training device.

    Parameters
    ----------
    samples : torch.utils.data.Dataset
        Of triples: input, target and weight of a row.
    dtype : torch.dtype
        What inputs are cast to.
    device : torch.device
    weighted : bool
        Whether the weights mean anything; otherwise None is given in their place.
    collate_fn : callable
        Makes ``(X, y)`` of a list of pairs, unless the options hold another.
    options : dict
        Arguments of ``DataLoader``.
    keep_order : bool
        Whether a collate function has to leave the targets as they are, in their order. With
        weights it has to, too.
    encode : callable, default=None
        Makes the targets of a batch, a tensor, of those of its samples, a list; None where the
        samples hold tensors already.
    """

    def __init__(
        self, samples, dtype, device, *, weighted, collate_fn, options, keep_order, encode=None
    ):
        self.dtype, self.device, self.weighted = dtype, device, weighted
        given = options.get("collate_fn")
        keep_order = bool(given) and (weighted or keep_order)
        collate = _WeightedCollate(given or collate_fn, keep_order, encode)
        options = options | {"collate_fn": collate}
        if device.type in ("cpu", "mps"):  # Only a warning would come of it.
            options.pop("pin_memory", None)
        self.loader = DataLoader(samples, **options)

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        for X, y, weight in self.loader:
            yield (
                as_tensors(as_inputs(X), self.dtype, self.device),  # pinned tuples are lists
                y.to(self.device, non_blocking=True),
                weight.to(self.device, non_blocking=True) if self.weighted else None,
            )


def row_batches(rows, targets, weights, index, *, device, options, keep_order=False):
    """Batches of those rows that an index names, through a ``DataLoader``.

    Parameters
    ----------
    rows : Rows
    targets : torch.Tensor of shape (n_rows, ...)
    weights : torch.Tensor of shape (n_rows,) or None
    index : torch.Tensor of shape (n_used,), int64
    device : torch.device
    options : dict
        Arguments of ``DataLoader``.
    keep_order : bool, default=False
        As in `LoaderBatches`.

    Returns
    -------
    batches : LoaderBatches
    """
    return LoaderBatches(
        _RowSamples(rows, targets, weights, index),
        rows.dtype,
        device,
        weighted=weights is not None,
        collate_fn=pad_sequences if is_ragged(rows.values) else default_collate,
        options=options,
        keep_order=keep_order,
    )


def stream_batches(stream, encode, targets, weights, *, dtype, device, options, keep_order=False):
    """Batches of a stream's samples, in its own order.

    Parameters
    ----------
    stream : Stream
    encode : callable
        Makes what the loss takes, a tensor, of the targets of a batch's samples, a list.
    targets : torch.Tensor of shape (n_samples, ...), or None
        Targets beside the stream, in its order; None where its samples hold them.
    weights : torch.Tensor of shape (n_samples,) or None
        Weights in its order.
    dtype : torch.dtype
    device : torch.device
    options : dict
        Arguments of ``DataLoader``.
    keep_order : bool, default=False
        Whether what comes is compared with the stream's order: predicted or scored.

    Returns
    -------
    batches : LoaderBatches

    Raises
    ------
    ValueError
        For several workers and targets or weights beside the stream, or where its order counts:
        each worker sees a part.
    """
    beside = targets is not None or weights is not None
    if (beside or keep_order) and options.get("num_workers"):
        wanted = "y and sample_weight have" if beside else "its predictions are returned in"
        raise ValueError(
            f"num_workers={options['num_workers']} reads an IterableDataset in another order than "
            f"{wanted}. Leave out num_workers, or, to train, let the samples hold their targets."
        )
    options = {name: value for name, value in options.items() if name != "shuffle" or value}
    return LoaderBatches(
        _StreamSamples(stream, targets, weights),
        dtype,
        device,
        weighted=weights is not None,
        collate_fn=default_collate,
        options=options,
        keep_order=keep_order,
        encode=encode if targets is None else None,
    )


def example_of(X, collate_fn=None):
    """Up to two rows of X as the module would get them, but for their dtype.

    Parameters
    ----------
    X : array, dict of arrays, sequences of several lengths, SliceableDataset or Stream
    collate_fn : callable, default=None
        What stacks the samples of a dataset; None stacks tensors of one shape.

    Returns
    -------
    example : array, torch.Tensor, or a dict or tuple of them

    Raises
    ------
    ValueError
        If the samples of a dataset don't stack to tensors.
    """
    if is_ragged(X):
        return pad_sequences([*X[:2]])
    if isinstance(X, SliceableDataset):
        samples = [(X[row], torch.tensor(0)) for row in range(min(len(X), 2))]
    elif isinstance(X, Stream):
        samples = [(inputs, torch.tensor(0)) for inputs, _ in islice(X, 2)]
    else:
        return X[:2]
    inputs = as_inputs(_collated(samples, collate_fn or default_collate)[0])
    for part in tree_leaves(inputs):
        if not hasattr(part, "dtype"):
            raise ValueError(
                f"The dataset's inputs are collated to {type(part).__name__}; expected a tensor, "
                "or a dict or tuple of them. Let the dataset return tensors, arrays or numbers."
            )
    return inputs


def _collated(samples, collate_fn):
    """A pair of inputs and targets, from a list of such pairs."""
    try:
        batch = collate_fn(samples)
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
    return batch


class _RowSamples(Dataset):
    def __init__(self, rows, targets, weights, index):
        self.rows, self.targets, self.index = rows, targets, index
        self.weights = torch.ones(len(targets)) if weights is None else weights

    def __len__(self):
        return len(self.index)

    def __getitem__(self, position):
        if position >= len(self):
            raise IndexError(
                f"The sampler asks for row {position}, but only {len(self)} rows are trained on. "
                "Make the sampler for as many: those held out and those of weight zero don't count."
            )
        row = int(self.index[position])
        return self.rows.sample(row), self.targets[row], self.weights[row]


class _StreamSamples(IterableDataset):
    def __init__(self, stream, targets, weights):
        self.stream, self.targets, self.weights = stream, targets, weights

    def __iter__(self):
        beside = self.weights if self.targets is None else self.targets
        one, count = torch.ones(()), 0
        for inputs, target in self.stream:
            if beside is not None and count == len(beside):
                raise self._another_length("more")
            target = target if self.targets is None else self.targets[count]
            yield inputs, target, one if self.weights is None else self.weights[count]
            count += 1
        if beside is not None and count < len(beside):
            raise self._another_length("fewer")

    def _another_length(self, comparison):
        name, values = ("y", self.targets)
        if values is None:
            name, values = "sample_weight", self.weights
        return ValueError(
            f"The IterableDataset gives {comparison} samples than the {len(values)} of {name}. "
            f"Give {name} as many rows."
        )


@dataclass
class _WeightedCollate:
    """Collates pairs as a plain training loop's collate function does, and weights beside them."""

    collate_fn: Callable
    keep_order: bool
    encode: Callable | None = None

    def __call__(self, samples):
        inputs, targets, weights = zip(*samples, strict=True)
        if self.encode is not None:  # A batch at a time: many times as fast as one by one.
            targets = self.encode([*targets])
        X, y = _collated([*zip(inputs, targets, strict=True)], self.collate_fn)
        if self.keep_order:
            given = torch.stack([*targets]).flatten()
            if not torch.equal(torch.as_tensor(y, dtype=given.dtype).flatten(), given):
                raise ValueError(
                    f"collate_fn {self.collate_fn!r} returned other targets than those of its "
                    "samples, or in another order. What is predicted, scored or weighted has to "
                    "keep it: leave the samples in their order in collate_fn."
                )
        return as_inputs(X), y, torch.stack(weights)
