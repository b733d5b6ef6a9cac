"""Set a CPU up for small steps: as few threads as the work is worth, no subnormal floats."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

# Below this many multiply-adds in a forward pass, a second thread saves little on idle cores and
# costs a multiple on busy ones: the threads of every small operation wait for each other.
MIN_WORK_FOR_THREADS = 50_000_000

_SMALLEST = torch.full((), torch.finfo(torch.float32).tiny, dtype=torch.float32, device="cpu")


@contextmanager
def threads_for(n_multiply_adds: float, n_threads: int | None = None) -> Iterator[None]:
    """Run a small step on one thread, a large one on ``n_threads``; restore the number afterwards.

    By default a large step keeps the number that is set. It is a setting of the calling thread:
    threads that fit side by side do not disturb each other.
    """
    before = torch.get_num_threads()
    if before > 1:
        let_forks_compute()
    n_threads = 1 if n_multiply_adds < MIN_WORK_FOR_THREADS else n_threads or before
    if n_threads == before:
        yield
        return
    try:
        try:
            torch.set_num_threads(n_threads)
            set_number_for_new_threads(before)
            yield
        finally:
            torch.set_num_threads(before)
    except BaseException:  # perhaps an interrupt that broke that off
        torch.set_num_threads(before)
        raise


@cache
def let_forks_compute() -> None:
    """Let processes that are forked from this one compute on one thread.

    A fork has none of its parent's threads. torch would share its work with those that it had, and
    wait forever. Workers of a ``DataLoader`` compute on one thread, too.
    """
    if hasattr(os, "register_at_fork"):  # Windows has no forks.
        os.register_at_fork(after_in_child=_compute_on_one_thread)


def _compute_on_one_thread() -> None:
    torch.set_num_threads(1)


def set_number_for_new_threads(n_threads: int) -> None:
    """Set ``torch.get_num_threads()`` of threads that start later; running threads keep theirs.

    A new thread gets the number that was last set by any thread.
    """
    thread = threading.Thread(target=torch.set_num_threads, args=(n_threads,))
    thread.start()
    thread.join()


@contextmanager
def subnormals_flushed() -> Iterator[None]:
    """Let the calling thread treat subnormal floats as zero; restore its mode afterwards.

    They slow a CPU down many times. Late in a long training Adam's averages and vanishing gradients
    decay into that range, below 1.2e-38 in float32 and 2.3e-308 in float64. A processor without
    such a mode stays as it is.
    """
    before = flushes_subnormals()
    try:
        try:
            torch.set_flush_denormal(True)
            yield
        finally:
            torch.set_flush_denormal(before)
    except BaseException:  # perhaps an interrupt that broke that off
        torch.set_flush_denormal(before)
        raise


def flushes_subnormals() -> bool:
    """Say whether the calling thread treats subnormal floats as zero."""
    # torch can set the mode but not read it: half of the smallest normal number shows it.
    return (_SMALLEST / 2).item() == 0
