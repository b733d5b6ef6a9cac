"""Anything that holds rows, as dense tensors of one dtype on one device."""

import numpy as np
import torch
from scipy import sparse

from sktorch.data.structure import each, leaves

# numpy has no bfloat16: what it lacks is cast to float32 first, and to its own dtype by torch.
_NUMPY_DTYPES = {torch.float64: np.float64, torch.float16: np.float16, torch.int64: np.int64}


class Rows:
    """Rows of an array, a sparse matrix or a tensor; ``rows[index]`` is a dense tensor.

    Rows of a dict of them are dicts of dense tensors.

    A dense array or tensor in memory is converted and moved once, as a whole. A memory map or a
    sparse matrix stays where it is; only the rows asked for are read and made dense.

    Parameters
    ----------
    values : ndarray, memory map, scipy sparse array or torch.Tensor, of shape (n_rows, ...)
        Or a dict of them.
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
        return leaves(self.values)[0].shape[0]

    def __getitem__(self, index):
        rows = each(lambda values: _take(values, index), self.values)
        return rows if self.is_whole else as_tensors(rows, self.dtype, self.device)


def _take(values, index):
    if isinstance(values, torch.Tensor) and isinstance(index, torch.Tensor):
        return values.index_select(0, index.to(values.device))
    return values[index.cpu().numpy() if isinstance(index, torch.Tensor) else index]


def is_lazy(values):
    """Whether values are sparse or a view of a memory map: never made dense as a whole."""
    if isinstance(values, dict):
        return any(map(is_lazy, values.values()))
    if sparse.issparse(values):
        return True
    while isinstance(values, np.ndarray):
        if isinstance(values, np.memmap):
            return True
        values = values.base
    return False


def as_tensors(values, dtype, device, *, copy=False):
    """As `as_tensor`, for each entry of a dict, whose integers stay integers (int64)."""
    if not isinstance(values, dict):
        return as_tensor(values, dtype, device, copy=copy)
    return {
        name: as_tensor(x, torch.int64 if is_integer(x) else dtype, device, copy=copy)
        for name, x in values.items()
    }


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
        return values.detach().to(device, dtype, copy=copy)
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
