"""Measure what a module's forward pass costs: arithmetic and memory."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import debug_unwrap

from sktorch.data.structure import call_module, tree_leaves

# A batch whose activations stay in a CPU's caches is faster than a larger one.
CPU_BYTES = 4 * 2**20
INFERENCE_GPU_FRACTION = 0.25


# A layer's name, the shape of its output with None for the rows, and the multiply-adds of a row.
LayerWork = tuple[str, tuple[int | None, ...], float]


@dataclass(frozen=True)
class Work:
    """The cost of one row in the forward pass."""

    multiply_adds: float  # about how many the layers' weights take part in
    activation_bytes: float  # size of the input and all layers' outputs together
    layers: tuple[LayerWork, ...] = ()  # that were called, each before those that hold it


class _Meter:
    """The outputs of a module's layers, and what they cost, as the layers are called."""

    def __init__(self, n_rows: int) -> None:
        self.n_rows = n_rows
        self.sizes: list[int] = []
        self.shapes: dict[str, tuple[int | None, ...]] = {}
        self.multiply_adds: dict[str, int] = {}
        self._called: set[nn.Module] = set()

    def count(self, name: str, layer: nn.Module, _: Any, output: Any) -> None:
        """Note a call of a layer: a hook, once it is given the layer's name."""
        self._called.add(layer)
        if isinstance(output, tuple):  # a recurrent layer's: the output and its last state
            output = output[0]
        if not isinstance(output, Tensor):
            return
        output = debug_unwrap(output)  # of all members of an ensemble, which vmap hides
        self.sizes.append(output.nbytes)
        self.shapes[name] = self._with_rows(output.shape)
        before = self.multiply_adds.get(name, 0)
        self.multiply_adds[name] = before + self._multiply_adds(layer, output)

    def _multiply_adds(self, layer: nn.Module, output: Tensor) -> int:
        if isinstance(layer, nn.Embedding | nn.EmbeddingBag) or not output.ndim:
            return 0
        own = [weight for weight in layer.parameters(recurse=False) if weight.ndim > 1]
        n_steps = output.numel() // max(output.shape[-1], 1)
        # A layer may use the weights of others itself, as attention those of its projection.
        idle = [child for child in layer.children() if child not in self._called]
        others = n_steps * sum(c.weight.numel() for c in idle if isinstance(c, nn.Linear))
        if isinstance(layer, nn.RNNBase | nn.MultiheadAttention):
            # Every weight meets every time step once.
            return others + n_steps * sum(weight.numel() for weight in own)
        return others + sum(output.numel() * weight[0].numel() for weight in own)

    def _with_rows(self, shape: torch.Size) -> tuple[int | None, ...]:
        """Return a shape with None for the axis of the rows: the first of their number."""
        sizes: list[int | None] = [*shape]
        if self.n_rows in sizes:
            sizes[sizes.index(self.n_rows)] = None
        return tuple(sizes)


def measure_work(module: nn.Module, X: Any) -> tuple[Any, Work]:
    """Call a module; return its output and what one row cost."""
    tensors = tree_leaves(X)
    n_rows = len(tensors[0])
    meter = _Meter(n_rows)
    hooks = [
        layer.register_forward_hook(partial(meter.count, name))
        for name, layer in module.named_modules()
    ]
    try:
        output = call_module(module, X)
    finally:
        for hook in hooks:
            hook.remove()
    n_bytes = sum(meter.sizes) + sum(tensor.nbytes for tensor in tensors)
    layers = tuple(
        (name, shape, meter.multiply_adds[name] / n_rows) for name, shape in meter.shapes.items()
    )
    return output, Work(sum(meter.multiply_adds.values()) / n_rows, n_bytes / n_rows, layers)


def rows_at_once(work: Work, device: torch.device) -> int:
    """Return how many rows to infer at once, from 64 to 65,536, so that activations fit."""
    if device.type == "cuda":
        n_bytes = int(INFERENCE_GPU_FRACTION * torch.cuda.mem_get_info(device)[0])
    else:
        n_bytes = CPU_BYTES
    return int(min(max(n_bytes // max(work.activation_bytes, 1), 64), 65_536))
