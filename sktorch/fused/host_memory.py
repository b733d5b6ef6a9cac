"""Measure how much memory is free, and whether one more model and its data have room."""

import ctypes
import gc
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import torch

# The fraction of the memory that tasks may take until their models train. Optimizers, the best
# weights so far, stacks and scoring come on top and can't be measured in advance: at worst they are
# as large again as the model and its data.
TASK_FRACTION = 0.5
# To collect garbage and give memory back takes about a quarter of a second.
MUCH_UNUSED = 128 * 2**20


class MemoryLimit:
    """A limit to tasks: half of the memory that was free at first stays for training and scoring.

    ``free_memory`` is called as the function `free_memory` is.
    """

    def __init__(self, free_memory: Callable[..., dict[str, int]]) -> None:
        self._free_memory = free_memory
        self._before = free_memory(with_unused=True)

    def has_room(self, n_running: int) -> bool:
        """Say whether one more task has room, if it takes what each running one took on average."""
        if not n_running:
            return True
        try:
            return self._is_enough(self._free_memory(), n_running) or self._is_enough(
                self._free_memory(with_unused=True), n_running
            )
        except RuntimeError:  # The device has failed: the task itself will meet that error.
            return True

    def _is_enough(self, free: dict[str, int], n_running: int) -> bool:
        # A place that came into use after the first task began counts from now on.
        before = {where: self._before.setdefault(where, n_bytes) for where, n_bytes in free.items()}
        # One task more than n takes (n + 1) / n as much.
        return all(
            (before[where] - n_bytes) * (n_running + 1) <= TASK_FRACTION * before[where] * n_running
            for where, n_bytes in free.items()
        )


def free_memory(with_unused: bool = False) -> dict[str, int]:
    """Return the bytes that this process can still have, by place: "host", "cuda:0", ….

    The host is left out where the system does not tell, as systems other than Linux, and CUDA
    devices that are not in use. ``with_unused`` adds what this process' allocators hold for later;
    on a CPU it takes milliseconds to ask.
    """
    free = {}
    on_host = free_on_host()
    if on_host is not None:
        free["host"] = on_host + (_unused_of_malloc() if with_unused else 0)
    for number in range(torch.cuda.device_count() if torch.cuda.is_initialized() else 0):
        reserved = torch.cuda.memory_reserved(number)
        if reserved:  # To ask an unused device would make a context on it, of 400 MB or more.
            unused = reserved - torch.cuda.memory_allocated(number) if with_unused else 0
            free[f"cuda:{number}"] = torch.cuda.mem_get_info(number)[0] + unused
    return free


def free_on_host(root: Path = Path("/")) -> int | None:
    """Return the bytes free in the system or, if less, in this process' control groups (version 2).

    None if the system does not tell. ``root`` is where the kernel's files begin.
    """
    available = _number(root / "proc/meminfo", "MemAvailable")
    if available is None:
        return None
    return min([available * 1024, *_free_in_groups(root)])


def _free_in_groups(root: Path) -> Iterator[int]:
    """Yield the bytes left up to the limit of the control group, and of each group around it."""
    own = re.search(r"^0::/(.*)$", _text(root / "proc/self/cgroup"), re.M)
    if own is None:
        return
    top = root / "sys/fs/cgroup"
    group = top / own[1]
    for folder in (group, *group.parents):
        if not folder.is_relative_to(top):
            return
        limit, used = _text(folder / "memory.max").strip(), _text(folder / "memory.current")
        if limit.isdecimal() and used:
            cached = _number(folder / "memory.stat", "inactive_file") or 0  # given up on demand
            yield max(int(limit) - int(used) + cached, 0)


def _number(path: Path, name: str) -> int | None:
    """Return the number on the line that begins with a name, None if there is no such line."""
    found = re.search(rf"^{name}:?\s+(\d+)", _text(path), re.M)
    return int(found[1]) if found else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


class _Mallinfo(ctypes.Structure):
    """``struct mallinfo2`` of the GNU C library; see `man 3 mallinfo2`."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
            "fordblks", "keepcost",
        )
    ]  # fmt: skip


def give_back_memory() -> None:
    """Give memory that malloc holds for later back to the system, if it is much."""
    if _unused_of_malloc() < MUCH_UNUSED:
        return
    gc.collect()
    with suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _unused_of_malloc() -> int:
    """Return the bytes that the C library's malloc holds for later, 0 if it does not tell."""
    try:
        mallinfo = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError, TypeError):  # another C library, or an old one
        return 0
    mallinfo.restype = _Mallinfo
    return mallinfo().fordblks
