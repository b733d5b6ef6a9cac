"""Free memory is what the system tells, and tasks leave half of it."""

import sys
from pathlib import Path

import numpy as np
import pytest

from sktorch.fused.host_memory import MemoryLimit, free_memory, free_on_host, give_back_memory

GB = 2**30


@pytest.fixture
def root(tmp_path):
    """Files as those of the kernel: 8 GiB available, in a group within another."""
    files = {
        "proc/meminfo": f"MemTotal: 999 kB\nMemFree: 1 kB\nMemAvailable:   {8 * GB // 1024} kB\n",
        "proc/self/cgroup": "0::/outer/inner\n",
        "sys/fs/cgroup/outer/memory.max": "max\n",
        "sys/fs/cgroup/outer/memory.current": f"{5 * GB}\n",
        "sys/fs/cgroup/outer/inner/memory.max": "max\n",
        "sys/fs/cgroup/outer/inner/memory.current": f"{3 * GB}\n",
        "sys/fs/cgroup/outer/inner/memory.stat": f"anon 5\ninactive_file {GB}\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, 8 * GB),
        ({"sys/fs/cgroup/outer/inner/memory.max": f"{6 * GB}\n"}, 4 * GB),  # 1 GiB is a cache
        ({"sys/fs/cgroup/outer/memory.max": f"{6 * GB}\n"}, GB),
        ({"sys/fs/cgroup/outer/memory.max": f"{4 * GB}\n"}, 0),
        ({"sys/fs/cgroup/outer/memory.max": f"{64 * GB}\n"}, 8 * GB),
        ({"proc/self/cgroup": "4:memory:/outer/inner\n"}, 8 * GB),  # version 1
        ({"proc/self/cgroup": "0::/elsewhere\n"}, 8 * GB),
        ({"proc/meminfo": "MemFree: 1 kB\n"}, None),
    ],
)
def test_free_on_host(root, changed, expected):
    for name, text in changed.items():
        (root / name).write_text(text)
    assert free_on_host(root) == expected


def test_no_limit_is_known_where_the_system_does_not_tell(tmp_path):
    assert free_on_host(tmp_path) is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux tells")
def falls_by_what_is_taken():
    before = free_memory()["host"]
    # Linux does not count as free some 200 MB that were given back just before, and gives them out.
    taken = np.ones(2**30, dtype="uint8")
    return free_memory()["host"] < before - taken.nbytes / 2


def counts_unused_memory():
    many = [np.ones(2**14, dtype="uint8") for _ in range(2**12)]  # too small to go back at once
    del many[::2]
    return free_memory(with_unused=True)["host"] > free_memory()["host"]


@pytest.mark.parametrize("holds", [falls_by_what_is_taken, counts_unused_memory])
def test_free_memory(holds):
    assert any(holds() for _ in range(5)), "other processes may end just then, but not each time"


@pytest.mark.parametrize(
    ("before", "free", "n_running", "enough"),
    [
        ({}, {}, 1, True),  # nothing is known
        ({"host": 100}, {"host": 100}, 1, True),
        ({"host": 100}, {"host": 75}, 1, True),
        ({"host": 100}, {"host": 74}, 1, False),
        ({"host": 100}, {"host": 60}, 4, True),  # four took 10 each
        ({"host": 100}, {"host": 59}, 4, False),
        ({"host": 100}, {"host": 120}, 4, True),  # another process has ended
        ({"host": 100, "cuda:0": 10}, {"host": 90, "cuda:0": 7}, 1, False),
        ({"host": 100}, {"host": 90, "cuda:0": 1}, 1, True),  # has just come into use
    ],
)
def test_half_is_left(before, free, n_running, enough):
    looks = iter([before, free, free])
    limit = MemoryLimit(lambda with_unused=False: next(looks))
    assert limit.has_room(n_running) == enough
    assert limit.has_room(0), "one always runs"


def test_what_allocators_hold_unused_counts_as_free():
    looks = []

    def measure(with_unused=False):
        looks.append(with_unused)
        return {"host": (100, 20, 80)[len(looks) - 1]}

    assert MemoryLimit(measure).has_room(1)
    assert looks == [True, False, True]


def test_a_place_counts_from_its_first_use_on():
    looks = iter([{"host": 100}, {"host": 90, "cuda:0": 10}, *[{"host": 90, "cuda:0": 7}] * 2])
    limit = MemoryLimit(lambda with_unused=False: next(looks))
    assert limit.has_room(1)
    assert not limit.has_room(1)


def test_a_device_that_has_failed_holds_no_task_back():
    looks = iter([{"host": 100}])

    def failing(with_unused=False):
        for free in looks:
            return free
        raise RuntimeError("the device has failed")

    assert MemoryLimit(failing).has_room(1)


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux how much memory it has given")
def test_memory_is_given_back():
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    blocks = [bytes(100_000) for _ in range(4000)]  # too small for a place of their own
    pins = blocks[::50]
    before = resident()
    blocks = None
    give_back_memory()
    assert before - resident() > 200e6
    assert len(pins) == 80
