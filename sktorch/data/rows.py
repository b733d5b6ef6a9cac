"""Anything that holds rows, as dense tensors of one dtype on one device."""

import numpy as np
import torch
from scipy import sparse
from torch.utils.data import default_collate

from sktorch.data.datasets import SliceableDataset
from sktorch.data.padding import pad_sequences
from sktorch.data.structure import tree_leaves, tree_map

# numpy has no bfloat16: what it lacks is cast to float32 first, and to its own dtype by torch.
_NUMPY_DTYPES = {torch.float64: np.float64, torch.float16: np.float16, torch.int64: np.int64}


class Rows:
    """Rows of an array, a sparse matrix, a tensor, ...; ``rows[index]`` is a dense tensor.

    Rows of a dict of them are dicts of dense tensors. Those of sequences of several lengths are
    ``(padded, lengths)``, those of a dataset what its samples stack to.

    A dense array or tensor in memory is converted and moved once, as a whole. Anything else
    (a memory map, a sparse matrix, sequences, a dataset) stays where it is; only the rows asked
    for are read and made dense.

    Parameters
    ----------
    values : ndarray, memory map, scipy sparse array or torch.Tensor, of shape (n_rows, ...)
        Or a dict of them, an ndarray of objects that are sequences, or a `SliceableDataset`.
    dtype : torch.dtype
    device : torch.device
    whole : bool, default=True
        Whether to convert what can be converted as a whole; else each batch is on its own.

    Attributes
    ----------
    is_whole : bool
        Whether all rows are one tensor on the device.
    """

    def __init__(self, values, dtype, device, *, whole=True):
        self.dtype, self.device = dtype, device
        self.is_whole = whole and not is_lazy(values)
        self.values = as_tensors(values, dtype, device) if self.is_whole else values

    def __len__(self):
        return tree_leaves(self.values)[0].shape[0]

    def __getitem__(self, index):
        rows = tree_map(lambda values: _take(values, index), self.values)
        return rows if self.is_whole else as_tensors(rows, self.dtype, self.device)

    def sample(self, position):
        """What one row adds to a batch: its input without the dimension of the rows."""
        if is_ragged(self.values) or isinstance(self.values, SliceableDataset):
            return self.values[position]
        return tree_map(lambda x: x[0], self[torch.tensor([position])])


def _take(values, index):
    if isinstance(values, torch.Tensor) and isinstance(index, torch.Tensor):
        return values.index_select(0, index.to(values.device))
    return values[index.cpu().numpy() if isinstance(index, torch.Tensor) else index]


def is_lazy(values):
    """Whether values are never made dense as a whole."""
    if isinstance(values, dict):
        return any(map(is_lazy, values.values()))
    if sparse.issparse(values) or isinstance(values, SliceableDataset) or is_ragged(values):
        return True
    while isinstance(values, np.ndarray):
        if isinstance(values, np.memmap):
            return True
        values = values.base
    return False


def is_ragged(values):
    """Whether values are sequences of several lengths, an ndarray of objects."""
    return isinstance(values, np.ndarray) and values.dtype == object


def as_tensors(values, dtype, device, *, copy=False):
    """Rows as the tensors that a module takes.

    Parameters
    ----------
    values, dtype, device, copy
        As in `as_tensor`; further a dict or tuple of such values, whose integers stay integers
        (int64), sequences of several lengths, or a `SliceableDataset`.

    Returns
    -------
    tensors : torch.Tensor, or a dict or tuple of them
    """
    if isinstance(values, SliceableDataset):
        values = as_inputs(default_collate([values[i] for i in range(len(values))]))
    elif is_ragged(values):
        values = pad_sequences([*values])
    if not isinstance(values, dict | tuple):
        return as_tensor(values, dtype, device, copy=copy)
    return tree_map(
        lambda x: as_tensor(x, torch.int64 if is_integer(x) else dtype, device, copy=copy), values
    )


def as_inputs(collated):
    """What a collate function made of the inputs: it returns lists where a module takes tuples."""
    return tuple(collated) if isinstance(collated, list) else collated


def is_integer(values):
    """Whether an array or tensor holds integers; booleans are none."""
    if isinstance(values, torch.Tensor):
        return not (values.is_floating_point() or values.dtype is torch.bool)
    return values.dtype.kind in "iu"


def as_tensor(values, dtype, device, *, copy=False):
    """A dense tensor with these values.

    Parameters
    ----------
    values : ndarray, scipy sparse array or torch.Tensor
    dtype : torch.dtype
    device : torch.device
    copy : bool, default=False
        Whether to copy always. Without, memory is shared with ``values`` where dtype and device
        fit and it may be written to.

    Returns
    -------
    tensor : torch.Tensor of the same shape
    """
    if isinstance(values, torch.Tensor):
        # Nothing waits for a copy out of the host's memory; one into it has to be there when read.
        ahead = values.device.type == "cpu"
        return values.detach().to(device, dtype, copy=copy, non_blocking=ahead)
    if sparse.issparse(values):
        values = values.toarray()
    with np.errstate(over="ignore"):  # What float32 can't hold shows as a loss that is not finite.
        values = np.array(
            values,
            dtype=_NUMPY_DTYPES.get(dtype, np.float32),
            order="C",
            copy=copy or not values.flags.writeable or None,
        )
    return torch.from_numpy(values).to(device, dtype)
