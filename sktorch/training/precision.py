"""The floats that products are computed in."""

import threading
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch

PRECISIONS = ("float32", "tf32", "bfloat16", "float16")


@dataclass(frozen=True)
class Precision:
    """How the forward pass is cast and the loss scaled.

    Attributes
    ----------
    autocast : callable
        Makes the context that the forward pass and the loss are computed in.
    scaler : torch.amp.GradScaler
        Scales the loss so that gradients in float16 don't vanish; does nothing otherwise.
    backward : callable
        Makes the context of the backward pass.
    """

    autocast: Callable
    scaler: torch.amp.GradScaler
    backward: Callable = nullcontext

    @classmethod
    def named(cls, name, device_type):
        """The precision of a name of `PRECISIONS`, on a device of a type such as "cuda".

        "float32" computes in the module's own dtype; "tf32" lets a GPU round the factors of its
        products of float32 to 10 bits; "bfloat16" and "float16" cast products to 16 bits, and
        keep parameters and sums in the module's dtype.
        """
        half = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(name)
        if name == "tf32":
            autocast = _tf32
        elif half is not None:
            autocast = partial(torch.autocast, device_type, dtype=half)
        else:
            autocast = nullcontext
        scaler = torch.amp.GradScaler(device_type, enabled=half is torch.float16)
        return cls(autocast, scaler, _tf32 if name == "tf32" else nullcontext)


# The setting is the process's: the last thread to leave restores what the first one found.
_lock, _found = threading.Lock(), []


@contextmanager
def _tf32():
    with _lock:
        _found.append(torch.get_float32_matmul_precision())
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        with _lock:
            first = _found[0]
            _found.pop()
            if not _found:
                torch.set_float32_matmul_precision(first)
