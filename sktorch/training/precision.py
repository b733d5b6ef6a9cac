"""Choose the floats that products are computed in."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch

from sktorch.training.interrupts import exclusively

PRECISIONS = ("float32", "tf32", "bfloat16", "float16")


@dataclass(frozen=True)
class Precision:
    """Contexts and loss scaling with which a model computes in a floating dtype."""

    autocast: Callable[[], AbstractContextManager]  # around the forward pass and the loss
    scaler: torch.amp.GradScaler  # so that gradients in float16 do not vanish; else does nothing
    backward: Callable[[], AbstractContextManager] = nullcontext  # around the backward pass

    @classmethod
    def named(cls, name: str, device_type: str) -> "Precision":
        """Return the precision of a name of `PRECISIONS` on a device of a type such as "cuda".

        "float32" computes in the module's own dtype. "tf32" lets a GPU round the factors of float32
        products to 10 bits. "bfloat16" and "float16" cast products to 16 bits, and keep parameters
        and sums in the module's dtype.
        """
        scaler = torch.amp.GradScaler(device_type, enabled=name == "float16")
        return cls(autocast(name, device_type), scaler, _tf32 if name == "tf32" else nullcontext)


def autocast(name: str, device_type: str) -> Callable[[], AbstractContextManager]:
    """Return the context of a precision's forward pass."""
    if name == "tf32":
        return _tf32
    dtype = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(name)
    return nullcontext if dtype is None else partial(torch.autocast, device_type, dtype=dtype)


# The setting is the process's: the last thread to leave restores what the first one found.
_lock = threading.RLock()
_threads: set[int] = set()
_found: list[str] = []


@contextmanager
def _tf32() -> Iterator[None]:
    before = computes_in_tf32()
    try:
        try:
            compute_in_tf32(True)
            yield
        finally:
            compute_in_tf32(before)
    except BaseException:  # perhaps an interrupt that broke that off
        compute_in_tf32(before)
        raise


def computes_in_tf32() -> bool:
    """Say whether the calling thread computes in tf32."""
    return threading.get_ident() in _threads


def compute_in_tf32(wanted: bool) -> None:
    """Let the calling thread compute in tf32, or no longer."""
    exclusively(_lock, _enter_tf32 if wanted else _leave_tf32)


def _enter_tf32() -> None:
    if not _threads:
        _found[:] = [torch.get_float32_matmul_precision()]
    _threads.add(threading.get_ident())
    torch.set_float32_matmul_precision("high")


def _leave_tf32() -> None:
    _threads.discard(threading.get_ident())
    if _found and not _threads:
        torch.set_float32_matmul_precision(_found[0])
        _found.clear()
