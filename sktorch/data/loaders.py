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
    """

    def __init__(self, samples, dtype, device, *, weighted, collate_fn, options):
        self.dtype, self.device, self.weighted = dtype, device, weighted
        collate_fn = options.get("collate_fn") or collate_fn
        options = options | {"collate_fn": _WeightedCollate(collate_fn)}
        self.loader = DataLoader(samples, **options)

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        for X, y, weight in self.loader:
            yield (
                as_tensors(X, self.dtype, self.device),
                y.to(self.device, non_blocking=True),
                weight.to(self.device, non_blocking=True) if self.weighted else None,
            )


def row_batches(rows, targets, weights, index, *, device, options):
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
    )


def stream_batches(stream, encode, targets, weights, *, dtype, device, options):
    """Batches of a stream's samples, in its own order.

    Parameters
    ----------
    stream : Stream
    encode : callable
        ``target -> torch.Tensor``, what the loss takes for the target of one sample.
    targets : torch.Tensor of shape (n_samples, ...), or None
        Targets beside the stream, in its order; None where its samples hold them.
    weights : torch.Tensor of shape (n_samples,) or None
        Weights in its order.
    dtype : torch.dtype
    device : torch.device
    options : dict
        Arguments of ``DataLoader``.

    Returns
    -------
    batches : LoaderBatches

    Raises
    ------
    ValueError
        For several workers and targets or weights beside the stream: each worker sees a part.
    """
    beside = targets is not None or weights is not None
    if beside and options.get("num_workers"):
        raise ValueError(
            f"num_workers={options['num_workers']} reads an IterableDataset in another order than "
            "y and sample_weight have. Leave out num_workers, or let the samples hold their "
            "targets."
        )
    options = {name: value for name, value in options.items() if name != "shuffle" or value}
    return LoaderBatches(
        _StreamSamples(stream, encode, targets, weights),
        dtype,
        device,
        weighted=weights is not None,
        collate_fn=default_collate,
        options=options,
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
        If the samples of a dataset don't stack.
    """
    if is_ragged(X):
        return pad_sequences([*X[:2]])
    if isinstance(X, SliceableDataset):
        samples = [(X[row], 0) for row in range(min(len(X), 2))]
    elif isinstance(X, Stream):
        samples = [(inputs, 0) for inputs, _ in islice(X, 2)]
    else:
        return X[:2]
    try:
        inputs, _ = (collate_fn or default_collate)(samples)
    except (TypeError, RuntimeError) as error:
        raise ValueError(
            f"The samples of the dataset don't stack to a batch: {error}. Let the dataset return "
            "tensors of one shape, or pass iterator_train__collate_fn and "
            "iterator_valid__collate_fn (sktorch.data.pad_sequences pads sequences)."
        ) from error
    return as_inputs(inputs)


class _RowSamples(Dataset):
    def __init__(self, rows, targets, weights, index):
        self.rows, self.targets, self.index = rows, targets, index
        self.weights = torch.ones(len(targets)) if weights is None else weights

    def __len__(self):
        return len(self.index)

    def __getitem__(self, position):
        row = int(self.index[position])
        return self.rows.sample(row), self.targets[row], self.weights[row]


class _StreamSamples(IterableDataset):
    def __init__(self, stream, encode, targets, weights):
        self.stream, self.encode, self.targets, self.weights = stream, encode, targets, weights

    def __iter__(self):
        one = torch.ones(())
        for position, (inputs, target) in enumerate(self.stream):
            self._check(position)
            encoded = self.encode(target) if self.targets is None else self.targets[position]
            yield inputs, encoded, one if self.weights is None else self.weights[position]

    def _check(self, position):
        for name, values in {"y": self.targets, "sample_weight": self.weights}.items():
            if values is not None and position >= len(values):
                raise ValueError(
                    f"The IterableDataset gives more samples than the {len(values)} of {name}. "
                    f"Give {name} as many rows."
                )


@dataclass
class _WeightedCollate:
    """Collates pairs as a plain training loop's collate function does, and weights beside them."""

    collate_fn: Callable

    def __call__(self, samples):
        pairs = [(X, y) for X, y, _ in samples]
        batch = self.collate_fn(pairs)
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise TypeError(
                f"collate_fn {self.collate_fn!r} returned {type(batch).__name__}, expected a pair: "
                "the inputs and the targets of the batch. Change collate_fn."
            )
        weights = torch.stack([weight for _, _, weight in samples])
        return as_inputs(batch[0]), batch[1], weights
