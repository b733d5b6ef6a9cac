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
        self.n_rows, self.multiply_adds = n_rows, 0
        self.sizes: list[int] = []
        self.shapes: dict[str, tuple[int | None, ...]] = {}
        self.costs: dict[str, int] = {}

    def count(self, name: str, layer: nn.Module, _: Any, output: Any) -> None:
        """Note a call of a layer: a hook, once it is given the layer's name."""
        if isinstance(output, tuple):  # a recurrent layer's: the output and its last state
            output = output[0]
        if not isinstance(output, Tensor):
            return
        output = debug_unwrap(output)  # of all members of an ensemble, which vmap hides
        self.sizes.append(output.nbytes)
        self.shapes[name] = self._with_rows(output.shape)
        multiply_adds = _multiply_adds(layer, output)
        # To update a table takes about as long as products would: it counts where time is planned.
        self.multiply_adds += multiply_adds
        is_table = isinstance(layer, nn.Embedding | nn.EmbeddingBag)
        self.costs[name] = self.costs.get(name, 0) + (0 if is_table else multiply_adds)

    def _with_rows(self, shape: torch.Size) -> tuple[int | None, ...]:
        """Return a shape with None for the axis of the rows: the first of their number."""
        sizes: list[int | None] = [*shape]
        if self.n_rows in sizes:
            sizes[sizes.index(self.n_rows)] = None
        return tuple(sizes)


def _multiply_adds(layer: nn.Module, output: Tensor) -> int:
    weights = [weight for weight in layer.parameters(recurse=False) if weight.ndim > 1]
    n_steps = output.numel() // max(output.shape[-1], 1) if output.ndim else 0
    # Attention, and layers that say so, multiply by the weights of a layer that they never call.
    is_attention = isinstance(layer, nn.MultiheadAttention)
    names = ("out_proj",) if is_attention else getattr(layer, "multiplies_by", ())
    of_others = n_steps * sum(getattr(layer, name).weight.numel() for name in names)
    if isinstance(layer, nn.RNNBase | nn.MultiheadAttention):
        # Every weight meets every time step once.
        return of_others + n_steps * sum(weight.numel() for weight in weights)
    return of_others + sum(output.numel() * weight[0].numel() for weight in weights)


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
        (name, shape, meter.costs[name] / n_rows) for name, shape in meter.shapes.items()
    )
    return output, Work(meter.multiply_adds / n_rows, n_bytes / n_rows, layers)


def rows_at_once(work: Work, device: torch.device) -> int:
    """Return how many rows to infer at once, from 64 to 65,536, so that activations fit."""
    if device.type == "cuda":
        n_bytes = int(INFERENCE_GPU_FRACTION * torch.cuda.mem_get_info(device)[0])
    else:
        n_bytes = CPU_BYTES
    return int(min(max(n_bytes // max(work.activation_bytes, 1), 64), 65_536))
