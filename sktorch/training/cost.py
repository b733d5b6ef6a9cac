"""What a module's forward pass costs: arithmetic and memory."""

from dataclasses import dataclass

import torch
from torch import nn

from sktorch.data.structure import call_module, tree_leaves

CPU_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Work:
    """The cost of one row.

    Attributes
    ----------
    multiply_adds : float
        About how many multiply-adds the layers' weights take part in.
    activation_bytes : float
        Size of the input and of all layers' outputs together.
    """

    multiply_adds: float
    activation_bytes: float


def measure_work(module, X):
    """Call a module and count what it did.

    Parameters
    ----------
    module : torch.nn.Module
    X : torch.Tensor of shape (n_rows, ...), or a dict of them

    Returns
    -------
    output : object
        What the module returned.
    work : Work
    """
    tensors = tree_leaves(X)
    multiply_adds, sizes = [], [tensor.nbytes for tensor in tensors]

    def count(layer, _, output):
        if isinstance(output, tuple):  # a recurrent layer's: the output and its last state
            output = output[0]
        if isinstance(output, torch.Tensor):
            sizes.append(output.nbytes)
            weights = [weight for weight in layer.parameters(recurse=False) if weight.ndim > 1]
            if isinstance(layer, nn.RNNBase):  # Every weight meets every time step once.
                n_steps = output.numel() // output.shape[-1]
                multiply_adds.extend(n_steps * weight.numel() for weight in weights)
            else:
                multiply_adds.extend(output.numel() * weight[0].numel() for weight in weights)

    hooks = [layer.register_forward_hook(count) for layer in module.modules()]
    try:
        output = call_module(module, X)
    finally:
        for hook in hooks:
            hook.remove()
    n_rows = len(tensors[0])
    return output, Work(sum(multiply_adds) / n_rows, sum(sizes) / n_rows)


def rows_at_once(work, device):
    """How many rows to infer at once: as many as a share of the memory holds.

    On a CPU the share is one that stays in the caches, which is faster than one large batch.

    Parameters
    ----------
    work : Work
    device : torch.device

    Returns
    -------
    n_rows : int
        From 64 to 65,536.
    """
    free = torch.cuda.mem_get_info(device)[0] // 4 if device.type == "cuda" else CPU_BYTES
    return int(min(max(free // max(work.activation_bytes, 1), 64), 65_536))
