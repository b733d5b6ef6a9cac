"""Where to train."""

from contextlib import nullcontext

import torch


def resolve_device(device):
    """The torch device of a ``device`` parameter.

    Raises
    ------
    ValueError
        If it is unknown or not there.
    """
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


def current_device(device):
    """A context in which a CUDA device is the current one: streams and graphs begin there."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
