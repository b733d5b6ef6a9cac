"""The device to train on."""

from contextlib import AbstractContextManager, nullcontext

import torch


def resolve_device(device: str | torch.device) -> torch.device:
    """Return the torch device of a ``device`` parameter; raise if the machine lacks it."""
    if isinstance(device, str) and device == "auto":
        cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    try:
        resolved = torch.device(device)
        torch.get_device_module(resolved)
        torch.empty(0, device=resolved)
    except (RuntimeError, TypeError, AssertionError) as error:
        cause = str(error).splitlines()[0].removesuffix(".")
        raise ValueError(
            f"device={device!r} can't be used: {cause}. "
            "Expected 'auto', 'cpu', or a device that this machine has, such as 'cuda', 'cuda:1' "
            "or 'mps'. Change device; 'auto' takes what there is."
        ) from error
    return resolved


def current_device(device: torch.device) -> AbstractContextManager:
    """Return a context in which a CUDA device is current, so that streams and graphs use it."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
