"""Anything that holds rows, as dense tensors of one dtype on one device."""

import numpy as np
import torch
from scipy import sparse

# numpy has no bfloat16: what it lacks is cast to float32 first, and to its own dtype by torch.
_NUMPY_DTYPES = {torch.float64: np.float64, torch.float16: np.float16, torch.int64: np.int64}


class Rows:
    """Rows of an array, a sparse matrix or a tensor; ``rows[index]`` is a dense tensor.

    A dense array or tensor in memory is converted and moved once, as a whole. A memory map or a
    sparse matrix stays where it is; only the rows asked for are read and made dense.

    Parameters
    ----------
    values : ndarray, memory map, scipy sparse array or torch.Tensor, of shape (n_rows, ...)
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
        keep = is_lazy(values) or not whole
        self.values = values if keep else as_tensor(values, dtype, device)
        self.is_whole = not keep

    def __len__(self):
        return self.values.shape[0]

    def __getitem__(self, index):
        if self.is_whole:
            return self.values[index]
        if isinstance(self.values, torch.Tensor):
            index = index.to(self.values.device)
        elif isinstance(index, torch.Tensor):
            index = index.cpu().numpy()
        return as_tensor(self.values[index], self.dtype, self.device)


def is_lazy(values):
    """Whether values are sparse or a view of a memory map: never made dense as a whole."""
    if sparse.issparse(values):
        return True
    while isinstance(values, np.ndarray):
        if isinstance(values, np.memmap):
            return True
        values = values.base
    return False


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
