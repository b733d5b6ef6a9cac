"""The settings of torch that a training or a prediction changes for a while."""

from functools import partial

import torch

from sktorch.training.cpu import flushes_subnormals
from sktorch.training.interrupts import Setting
from sktorch.training.precision import compute_in_tf32, computes_in_tf32


def _depth_of_autocast() -> int:
    """Return how many autocasts, one inside the other, the calling thread is in."""
    try:
        return torch.autocast_increment_nesting() - 1
    finally:
        torch.autocast_decrement_nesting()


def _leave_autocast(depth: int) -> None:
    """Leave all autocasts but the outer ones; forget what the inner ones cast."""
    while _depth_of_autocast() > depth:
        torch.autocast_decrement_nesting()
    torch.clear_autocast_cache()


_AUTOCAST = [
    Setting(partial(read, device_type), partial(write, device_type))
    for device_type in ("cpu", "cuda")
    for read, write in (
        (torch.is_autocast_enabled, torch.set_autocast_enabled),
        (torch.get_autocast_dtype, torch.set_autocast_dtype),
    )
]
OF_INFERENCE = [
    Setting(torch.get_num_threads, torch.set_num_threads),
    Setting(torch.is_grad_enabled, torch.set_grad_enabled),
]
OF_PRECISION = [  # of others than "float32"
    Setting(computes_in_tf32, compute_in_tf32),
    Setting(_depth_of_autocast, _leave_autocast),
    *_AUTOCAST,
]
OF_TRAINING = [
    *OF_INFERENCE,
    *OF_PRECISION,
    Setting(flushes_subnormals, torch.set_flush_denormal),
]
