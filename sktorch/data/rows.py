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
    """

    def __init__(self, values, dtype, device):
        self.dtype, self.device = dtype, device
        self.values = values if _is_lazy(values) else as_tensor(values, dtype, device)

    def __len__(self):
        return self.values.shape[0]

    def __getitem__(self, index):
        if isinstance(self.values, torch.Tensor):
            return self.values[index]
        if isinstance(index, torch.Tensor):
            index = index.cpu().numpy()
        return as_tensor(self.values[index], self.dtype, self.device)


def _is_lazy(values):
    if sparse.issparse(values):
        return True
    while isinstance(values, np.ndarray):
        if isinstance(values, np.memmap):
            return True
        values = values.base
    return False


def as_tensor(values, dtype, device):
    """A dense tensor with these values.

    Shares memory with ``values`` where dtype and device already fit and it may be written to.

    Parameters
    ----------
    values : ndarray, scipy sparse array or torch.Tensor
    dtype : torch.dtype
    device : torch.device

    Returns
    -------
    tensor : torch.Tensor of the same shape
    """
    if sparse.issparse(values):
        values = values.toarray()
    if not isinstance(values, torch.Tensor):
        values = np.asarray(values, dtype=_NUMPY_DTYPES.get(dtype, np.float32), order="C")
        if not values.flags.writeable:
            values = values.copy()
        values = torch.from_numpy(values)
    return values.detach().to(device, dtype)
