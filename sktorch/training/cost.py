"""Measure what a module's forward pass costs: arithmetic and memory."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import debug_unwrap

from sktorch.data.structure import call_module, tree_leaves

# A batch whose activations stay in a CPU's caches is faster than a larger one.
CPU_BYTES = 4 * 2**20
INFERENCE_GPU_FRACTION = 0.25


@dataclass(frozen=True)
class Work:
    """The cost of one row in the forward pass."""

    multiply_adds: float  # about how many the layers' weights take part in
    activation_bytes: float  # size of the input and all layers' outputs together


def measure_work(module: nn.Module, X: Any) -> tuple[Any, Work]:
    """Call a module; return its output and what one row cost."""
    tensors = tree_leaves(X)
    sizes = [tensor.nbytes for tensor in tensors]
    multiply_adds: list[int] = []

    def count(layer: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, tuple):  # a recurrent layer's: the output and its last state
            output = output[0]
        if isinstance(output, Tensor):
            output = debug_unwrap(output)  # of all members of an ensemble, which vmap hides
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


def rows_at_once(work: Work, device: torch.device) -> int:
    """Return how many rows to infer at once, from 64 to 65,536, so that activations fit."""
    if device.type == "cuda":
        n_bytes = int(INFERENCE_GPU_FRACTION * torch.cuda.mem_get_info(device)[0])
    else:
        n_bytes = CPU_BYTES
    return int(min(max(n_bytes // max(work.activation_bytes, 1), 64), 65_536))
