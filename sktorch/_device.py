"""The device to train on."""

import multiprocessing
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Any

import torch

# The device of the task that the calling thread runs.
_of_task: ContextVar[torch.device | None] = ContextVar("device_of_task", default=None)
# Functions that return a device for fits outside of tasks, or None.
_defaults: list[Callable[[], torch.device | None]] = []
# Names of the processes in which joblib's backends "loky" and "multiprocessing" run their tasks.
_WORKER = re.compile(r"(?:LokyProcess|PoolWorker)-(?:\d+:)*(\d+)$")


def training_device(device: str | torch.device) -> torch.device:
    """Return the torch device that a fit with this ``device`` parameter trains on.

    Where it names no GPU by its number, that is the device of the task that the fit belongs to,
    or the default for fits outside of tasks. In joblib's worker processes it is a GPU by the
    worker's number, so that they take turns.
    """
    known = filter(None, (_of_task.get(), *(default() for default in _defaults)))
    given = next(known, None)
    if given is not None and isinstance(device, str) and device == "auto":
        return given
    resolved = resolve_device(device)
    if resolved.type != "cuda" or resolved.index is not None:
        return resolved
    if given is not None and given.type == "cuda":
        return given
    worker = worker_number(multiprocessing.current_process().name)
    return resolved if worker is None else _gpu_of(worker, torch.cuda.device_count())


def on_device(device: torch.device, function: Callable[[], Any]) -> Any:
    """Call a function whose fits train on a device, unless they name another."""
    token = _of_task.set(device)
    try:
        return function()
    finally:
        _of_task.reset(token)


def add_default(default: Callable[[], torch.device | None]) -> None:
    """Ask a function for the device of fits outside of tasks; it returns None if it has none."""
    _defaults.append(default)


def worker_number(process_name: str) -> int | None:
    """Return the number of a worker process of joblib, counted from 1; None for other processes."""
    found = _WORKER.search(process_name)
    return None if found is None else int(found[1])


def _gpu_of(worker: int, n_devices: int) -> torch.device:
    return torch.device("cuda", (worker - 1) % n_devices) if n_devices > 1 else torch.device("cuda")


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
