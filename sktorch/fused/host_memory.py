"""How much memory is free, and whether it is enough for one more model and its data."""

import ctypes
import re
from pathlib import Path

import torch

# The share of the memory that tasks may take until their models train. Optimizers, the best weights
# so far, stacks and scoring come on top, and can't be measured before they are there: at worst they
# are as large again as the model and its data.
TASK_FRACTION = 0.5


def free_memory(with_unused=False):
    """Bytes that this process can still have.

    Parameters
    ----------
    with_unused : bool, default=False
        Add what this process' allocators hold without using it. Freed memory stays with them until
        it is used again. It takes milliseconds to ask on a CPU.

    Returns
    -------
    free : dict of str to int
        By place: "host", unless the system does not tell, as others than Linux, and each CUDA
        device in use, such as "cuda:0".
    """
    free = {}
    on_host = free_on_host()
    if on_host is not None:
        free["host"] = on_host + (_unused_of_malloc() if with_unused else 0)
    for number in range(torch.cuda.device_count() if torch.cuda.is_initialized() else 0):
        reserved = torch.cuda.memory_reserved(number)
        if reserved:  # Asking a device that is not in use makes a context on it, of 400 MB or more.
            unused = reserved - torch.cuda.memory_allocated(number) if with_unused else 0
            free[f"cuda:{number}"] = torch.cuda.mem_get_info(number)[0] + unused
    return free


def enough_for_another(before, n_running, measure):
    """Whether one more task leaves half of the memory to training and scoring.

    It is taken to need as much as each of those that run took on average.

    Parameters
    ----------
    before : dict of str to int
        Free memory by place, with unused memory, before the first task began; places used later
        are added.
    n_running : int
        Number of tasks that have begun and not ended, at least 1.
    measure : callable
        Tells free memory by place, as `free_memory` does.
    """

    def enough(free):
        taken = {
            where: before.setdefault(where, n_bytes) - n_bytes for where, n_bytes in free.items()
        }
        # A task more than n takes (n + 1) / n as much.
        return all(
            n_bytes * (n_running + 1) <= TASK_FRACTION * before[where] * n_running
            for where, n_bytes in taken.items()
        )

    return enough(measure()) or enough(measure(with_unused=True))


def free_on_host(root=Path("/")):
    """Bytes free in the system or, if less, in the control groups (version 2) of this process.

    Parameters
    ----------
    root : Path, default=Path("/")
        Where the file system of the kernel's figures begins.

    Returns
    -------
    int or None
        None where the system does not tell.
    """
    available = _number(root / "proc/meminfo", "MemAvailable")
    if available is None:
        return None
    return min([available * 1024, *_free_in_groups(root)])


def _free_in_groups(root):
    """Bytes up to each limit: that of the own control group, and those of the groups it is in."""
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
            cached = _number(folder / "memory.stat", "inactive_file") or 0  # goes when needed
            yield max(int(limit) - int(used) + cached, 0)


def _number(path, name):
    """The number on the line that begins with a name; None where there is none."""
    found = re.search(rf"^{name}:?\s+(\d+)", _text(path), re.M)
    return found and int(found[1])


def _text(path):
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


def _unused_of_malloc():
    """Bytes that the C library's malloc holds for later; 0 where it does not tell."""
    try:
        mallinfo = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError, TypeError):  # another C library, or an old one
        return 0
    mallinfo.restype = _Mallinfo
    return mallinfo().fordblks
