"""Map-style datasets of torch as X: rows that are made when they are asked for."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.utils.data import (
    ConcatDataset,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
    default_collate,
)

from sktorch.data.dtypes import Dtypes
from sktorch.data.loaders import check_keeps_rows, collated_inputs, with_own_seed
from sktorch.data.rows import Rows, RowSource, row_batches
from sktorch.data.source import Settings, Shape, n_inputs, no_samples, shape_of_samples
from sktorch.data.structure import Inputs
from sktorch.data.tensors import as_array


class SliceableDataset(Dataset):
    """A map-style ``Dataset`` that indexes like an array, as scikit-learn's splitters do.

    It holds the inputs of the samples; an integer gives one, a slice, a mask or an array of
    integers gives another `SliceableDataset`. No sample is made before it is trained on.

    Parameters
    ----------
    dataset : torch.utils.data.Dataset
        Map-style: with ``__len__`` and ``__getitem__``. A sample is ``(input, target)``; with
        several inputs, which go to ``forward`` in this order, ``(input, input, ..., target)``.
        An input may be a dict, whose entries go to ``forward`` by name.
    has_targets : bool, default=None
        Whether a sample's last part is its target. None: where a sample is a tuple of two or more.

    Attributes
    ----------
    shape : tuple of int
        ``(n_samples,)``.
    targets : ndarray of shape (n_samples, ...)
        The last parts of the samples, all of which are made for them; only a plain
        ``TensorDataset``, and a ``Subset`` or ``ConcatDataset`` of such, are not.

    Raises
    ------
    TypeError
        For a dataset without length, such as an ``IterableDataset``.

    Examples
    --------
    >>> import torch
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import cross_val_score
    >>> from torch.utils.data import TensorDataset
    >>> from sktorch import TorchClassifier
    >>> from sktorch.data import SliceableDataset
    >>> X, y = load_iris(return_X_y=True)
    >>> flowers = SliceableDataset(TensorDataset(torch.tensor(X), torch.tensor(y)))
    >>> flowers[:100].shape
    (100,)
    >>> cross_val_score(TorchClassifier(max_epochs=1), flowers, flowers.targets, cv=2).shape
    (2,)
    """

    def __init__(self, dataset: Any, has_targets: bool | None = None) -> None:
        if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
            raise TypeError(
                f"{type(dataset).__name__} has no length, and can't be indexed. Pass a map-style "
                "Dataset, with __len__ and __getitem__; fit takes an IterableDataset as it is."
            )
        rows = np.arange(len(dataset))
        if isinstance(dataset, SliceableDataset):  # Its samples come without their targets.
            has_targets = dataset.has_targets if has_targets is None else has_targets
            dataset, rows = dataset.dataset, dataset._rows
        if has_targets is None:
            sample = dataset[0] if len(dataset) else None
            has_targets = isinstance(sample, tuple | list) and len(sample) > 1
        self.dataset: Any = dataset
        self.has_targets: bool = has_targets
        self._rows: np.ndarray = rows

    @property
    def shape(self) -> tuple[int]:
        """``(n_samples,)``: what tells scikit-learn to index rather than to loop."""
        return (len(self),)

    @property
    def targets(self) -> np.ndarray:
        """The targets of the samples, in their order."""
        if not self.has_targets:
            raise AttributeError(
                f"The samples of {type(self.dataset).__name__} hold no target: expected tuples "
                "(input, target). Pass y beside the dataset."
            )
        return _targets_of(self.dataset, self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, tuple) and key[1:] == (Ellipsis,):  # scikit-learn's X[rows, ...]
            key = key[0]
        if isinstance(key, torch.Tensor):
            key = key.cpu().numpy()
        if isinstance(key, list):
            key = np.asarray(key) if key else np.arange(0)  # numpy would make floats of none
        rows = self._rows[key]
        if np.ndim(rows) == 0:
            return inputs_and_target(self.dataset[int(rows)], self.has_targets)[0]
        part = object.__new__(type(self))
        part.dataset, part.has_targets, part._rows = self.dataset, self.has_targets, rows
        return part


class Samples(RowSource):
    """A map-style dataset, whose samples only a ``DataLoader`` makes."""

    cut_batches = None
    runs_user_code = True

    def __init__(self, X: Dataset, settings: Settings) -> None:
        super().__init__(X, settings)
        self.values = X if isinstance(X, SliceableDataset) else _sliceable(X, settings)
        if not len(self.values):
            raise no_samples(settings)

    @staticmethod
    def accepts(X: Any, settings: Settings) -> bool:
        """Accept datasets; an IterableDataset is a stream."""
        return isinstance(X, Dataset) and not isinstance(X, IterableDataset)

    @property
    def holds_targets(self) -> bool:
        """Whether the last part of a sample is its target."""
        return self.values.has_targets

    @cached_property
    def _first(self) -> list[Any]:
        return [self.values[row] for row in range(min(len(self.values), 2))]

    @cached_property
    def example(self) -> Any:
        """Up to two samples as they are collated."""
        settings = self.settings
        return collated_inputs(
            self._first, settings.collate_fn or default_collate, settings.arguments
        )

    @property
    def shape(self) -> Shape:
        """The shape of a sample."""
        return shape_of_samples(self.example, self._first[0])

    @property
    def targets(self) -> np.ndarray:
        """The targets that the samples hold, in their order."""
        return self.values.targets

    def sample(self, position: int, dtypes: Dtypes, device: torch.device) -> Any:
        """Return the inputs of one sample: they are collated together."""
        return self.values[position]

    def inputs(
        self, dtypes: Dtypes, device: torch.device, *, n_rows: int, options: dict[str, Any]
    ) -> Iterator[Inputs]:
        """Yield the inputs of all samples in their order, in batches of a ``DataLoader``."""
        check_keeps_rows(options)
        # Positions in place of targets: they show whether a collate function changes the order.
        positions = torch.arange(self.n_rows)
        batches = row_batches(
            Rows(self, dtypes, device),
            positions,
            None,
            positions,
            device=device,
            options=with_own_seed(options),
            keep_order=True,
        )
        for X, _, _ in batches:
            yield X


def _sliceable(dataset: Dataset, settings: Settings) -> SliceableDataset:
    """Return a dataset that indexes; tell from its first sample whether it holds targets."""
    has_targets = settings.has_targets
    if has_targets is None:
        samples = SliceableDataset(dataset, has_targets=False)
        has_targets = len(samples) > 0 and holds_target(samples[0], settings)
    return SliceableDataset(dataset, has_targets)


def holds_target(sample: Any, settings: Settings) -> bool:
    """Say whether a sample has more parts than the fitted module takes inputs."""
    n_parts = len(sample) if isinstance(sample, tuple | list) else 1
    return n_parts > n_inputs(settings.fitted_shape)


def inputs_and_target(sample: Any, has_target: bool) -> tuple[Any, Any]:
    """Return a sample's inputs, a tuple if there are several, and its target or None."""
    parts = [*sample] if isinstance(sample, tuple | list) else [sample]
    target = None
    if has_target:
        if len(parts) < 2:
            raise TypeError(
                f"A sample of the dataset is {type(sample).__name__}, expected a tuple (input, "
                "target). Let the dataset return one, or pass y beside the dataset."
            )
        *parts, target = parts
    return (parts[0] if len(parts) == 1 else tuple(parts)), target


def _targets_of(dataset: Any, rows: Any) -> np.ndarray:
    """Return the targets that the samples of some rows hold.

    Only torch's own classes are looked through: a subclass, or an attribute such as torchvision's
    ``targets``, need not agree with the samples.
    """
    rows, kind = np.asarray(rows), type(dataset)
    if kind is Subset:
        return _targets_of(dataset.dataset, np.asarray(dataset.indices)[rows])
    if kind is ConcatDataset:
        return _targets_of_parts(dataset, rows)
    if kind is TensorDataset and len(dataset.tensors) > 1:
        return dataset.tensors[-1].detach().cpu().numpy()[rows]
    return as_array([inputs_and_target(dataset[int(row)], True)[1] for row in rows])


def _targets_of_parts(dataset: ConcatDataset, rows: np.ndarray) -> np.ndarray:
    """Return the targets of some rows of a ConcatDataset; parts without any are left alone."""
    ends = np.asarray(dataset.cumulative_sizes)
    numbers = np.searchsorted(ends, rows, side="right")
    parts = [
        _targets_of(dataset.datasets[n], rows[numbers == n] - ends[n] + len(dataset.datasets[n]))
        for n in np.unique(numbers)
    ]
    order = np.argsort(numbers, kind="stable")
    return np.concatenate(parts)[np.argsort(order)] if parts else np.empty(0)
