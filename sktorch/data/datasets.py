"""Datasets of torch as X: rows that are made when they are asked for."""

import numpy as np
import torch
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset


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
        The targets; made from all samples, unless the dataset keeps them in an attribute.

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

    def __init__(self, dataset, has_targets=None):
        if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
            raise TypeError(
                f"{type(dataset).__name__} has no length, and can't be indexed. Pass a map-style "
                "Dataset, with __len__ and __getitem__; fit takes an IterableDataset as it is."
            )
        rows = np.arange(len(dataset))
        if isinstance(dataset, SliceableDataset):  # Its samples come without their targets.
            has_targets = dataset.has_targets if has_targets is None else has_targets
            dataset, rows = dataset.dataset, dataset._rows
        self.dataset, self.has_targets, self._rows = dataset, has_targets, rows
        if has_targets is None:
            sample = dataset[0] if len(dataset) else None
            self.has_targets = isinstance(sample, tuple | list) and len(sample) > 1

    @property
    def shape(self):
        """``(n_samples,)``: what tells scikit-learn to index rather than to loop."""
        return (len(self),)

    @property
    def targets(self):
        """The targets of the samples, in their order."""
        if not self.has_targets:
            raise AttributeError(
                f"The samples of {type(self.dataset).__name__} hold no target: expected tuples "
                "(input, target). Pass y beside the dataset."
            )
        return _targets_of(self.dataset, self._rows)

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, key):
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


class Stream:
    """An ``IterableDataset`` as X: samples come in its own order, once a pass.

    Parameters
    ----------
    dataset : torch.utils.data.IterableDataset
    has_targets : bool
        Whether a sample's last part is its target.
    """

    def __init__(self, dataset, has_targets):
        self.dataset, self.has_targets = dataset, has_targets
        self._seen = []

    def __iter__(self):
        self._seen = seen = []
        for sample in self.dataset:
            inputs, target = inputs_and_target(sample, self.has_targets)
            seen.append(target)
            yield inputs, target

    def targets(self):
        """The targets of one more pass, ndarray."""
        return as_array([target for _, target in self])

    @property
    def last_targets(self):
        """The targets of the last pass, which may come in another order each time."""
        return as_array(self._seen)


def inputs_and_target(sample, has_target):
    """Split a dataset's sample.

    Parameters
    ----------
    sample : object, or tuple or list of them
    has_target : bool
        Whether the last part is the target.

    Returns
    -------
    inputs : object, or tuple of several
    target : object
        None where there is none.

    Raises
    ------
    TypeError
        If there should be a target and the sample is no tuple of two or more.
    """
    parts = tuple(sample) if isinstance(sample, tuple | list) else (sample,)
    target = None
    if has_target:
        if len(parts) < 2:
            raise TypeError(
                f"A sample of the dataset is {type(sample).__name__}, expected a tuple (input, "
                "target). Let the dataset return one, or pass y beside the dataset."
            )
        *parts, target = parts
    return (parts[0] if len(parts) == 1 else tuple(parts)), target


def _targets_of(dataset, rows):
    """Targets of some rows, from where the dataset keeps them, else from its samples."""
    rows = np.asarray(rows)
    if isinstance(dataset, SliceableDataset):
        return _targets_of(dataset.dataset, dataset._rows[rows])
    if isinstance(dataset, Subset):
        return _targets_of(dataset.dataset, np.asarray(dataset.indices)[rows])
    if isinstance(dataset, ConcatDataset):
        return _targets_of_parts(dataset, rows)
    if isinstance(dataset, TensorDataset):
        return dataset.tensors[-1].detach().cpu().numpy()[rows]
    kept = getattr(dataset, "targets", None)  # torchvision's datasets have it
    if kept is not None and getattr(dataset, "target_transform", None) is None:
        return as_array(kept)[rows]
    return as_array([inputs_and_target(dataset[int(row)], True)[1] for row in rows])


def _targets_of_parts(dataset, rows):
    """Targets of some rows of a ConcatDataset; of parts without any of them nothing is asked."""
    ends = np.asarray(dataset.cumulative_sizes)
    numbers = np.searchsorted(ends, rows, side="right")
    parts = [
        _targets_of(dataset.datasets[n], rows[numbers == n] - ends[n] + len(dataset.datasets[n]))
        for n in np.unique(numbers)
    ]
    order = np.argsort(numbers, kind="stable")
    return np.concatenate(parts)[np.argsort(order)] if parts else np.empty(0)


def as_array(targets):
    """Targets of single samples as one ndarray."""
    if isinstance(targets, torch.Tensor):
        return targets.detach().cpu().numpy()
    if hasattr(targets, "__array__"):
        return np.asarray(targets)
    return np.asarray(
        [t.detach().cpu().numpy() if isinstance(t, torch.Tensor) else t for t in targets]
    )
