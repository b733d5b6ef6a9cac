"""Batch norm of a batch whose rows are spread over processes."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sktorch.training.processes import SeveralProcesses

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


@contextmanager
def joint_batch_norms(
    module: nn.Module, processes: SeveralProcesses, *, has_rows: bool
) -> Iterator[None]:
    """Let batch norms that look at their batch have the statistics of the whole of it.

    `nn.SyncBatchNorm` is this for GPUs alone. Without rows of its own, a process computes one that
    does not count.
    """
    with ExitStack() as undo:
        for layer in module.modules():
            if isinstance(layer, BatchNorm) and (layer.training or layer.running_mean is None):
                layer.forward = partial(_forward, layer, processes, has_rows)  # type: ignore[method-assign]
                undo.callback(delattr, layer, "forward")
        yield


def _forward(layer: Any, processes: SeveralProcesses, has_rows: bool, X: Tensor) -> Tensor:
    """Return what `nn.BatchNorm1d` and its like return for the rows of this process."""
    low_precision = X.dtype in (torch.float16, torch.bfloat16)
    values = X.float() if low_precision else X
    counted = values if has_rows else values[:0]
    n_values, mean, variance = _statistics(counted, processes)
    _update(layer, n_values, mean.detach(), variance.detach())
    shape = (1, -1, *[1] * (X.ndim - 2))
    scale = (variance + layer.eps).rsqrt()
    if layer.affine:
        scale = scale * layer.weight
    centred = (values - mean.view(shape)) * scale.view(shape)
    output = centred + layer.bias.view(shape) if layer.affine else centred
    return output.to(X.dtype)


def _statistics(X: Tensor, processes: SeveralProcesses) -> tuple[float, Tensor, Tensor]:
    """Return the number of values of each channel in all processes, their mean and variance."""
    own = X.transpose(0, 1).flatten(1)
    n_own = own.shape[1]
    mean = own.sum(1) / max(n_own, 1)
    squares = (own - mean[:, None]).square().sum(1)
    counts = torch.full_like(mean[:1], n_own)
    parts = _OfAll.apply(torch.cat([counts, mean, squares]), processes)
    n_values = parts[:, :1].detach()
    means, sums = parts[:, 1:].chunk(2, dim=1)
    total = n_values.sum()
    mean = (n_values * means).sum(0) / total
    # The squares around the mean of all are not those around the mean of each.
    variance = (sums + n_values * (means - mean).square()).sum(0) / total
    return float(total), mean, variance


def _update(layer: Any, n_values: float, mean: Tensor, variance: Tensor) -> None:
    """Update running statistics as `nn.BatchNorm1d` does."""
    if not layer.track_running_stats:
        return
    layer.num_batches_tracked += 1
    momentum = layer.momentum
    if momentum is None:
        momentum = 1 / float(layer.num_batches_tracked)
    unbiased = variance * (n_values / max(n_values - 1, 1))
    layer.running_mean.lerp_(mean.to(layer.running_mean.dtype), momentum)
    layer.running_var.lerp_(unbiased.to(layer.running_var.dtype), momentum)


class _OfAll(torch.autograd.Function):
    """The values of all processes, each of which gets the gradients of all for its own."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, processes: SeveralProcesses) -> Tensor:
        """Return the values of all processes, a row for each."""
        ctx.processes = processes
        return processes.gathered(own[None], processes.size)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of the own values."""
        return ctx.processes.summed(gradient.contiguous())[ctx.processes.rank], None
