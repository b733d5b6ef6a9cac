"""The devices that the tasks of a search are spread over."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch

from sktorch._device import on_device, resolve_device
from sktorch._private.search_tasks import SearchTask


def check_devices(devices: Any) -> tuple[torch.device, ...] | None:
    """Return devices that this machine has, None for None; raise if there are none, or others."""
    if devices is None:
        return None
    if isinstance(devices, str | torch.device) or not isinstance(devices, Iterable):
        raise TypeError(
            f"devices={devices!r} is no list of devices. Pass a list, such as "
            "['cuda:0', 'cuda:1'], even of one; leave devices out for all CUDA devices."
        )
    devices = [*devices]
    if not devices:
        raise ValueError("devices=[] names no device. Leave devices out for all CUDA devices.")
    try:
        return tuple(map(resolve_device, devices))
    except ValueError as error:
        raise ValueError(f"devices={devices!r} can't be used, as {error}") from error


def all_devices() -> tuple[torch.device, ...]:
    """Return all CUDA devices where there are several; none where there is nothing to choose."""
    n_devices = torch.cuda.device_count()
    return tuple(torch.device("cuda", n) for n in range(n_devices)) if n_devices > 1 else ()


def placed(
    task: Callable[[], Any],
    number: int,
    search: SearchTask | None,
    devices: Sequence[torch.device],
) -> Callable[[], Any]:
    """Return a task on the device of its turn; the folds of a candidate are on the same one."""
    if not devices:
        return task
    turn = number if search is None or search.n_candidates == 1 else search.candidate
    return partial(on_device, devices[turn % len(devices)], task)
