"""Numbers too small for a float's normal range, which slow a CPU down many times."""

from contextlib import contextmanager

import torch


@contextmanager
def subnormals_flushed():
    """Let the calling thread take subnormal floats for zero; restore its mode afterwards.

    Late in a long training Adam's averages and vanishing gradients decay into that range. What is
    lost is below 1.2e-38 in float32, below 2.3e-308 in float64. The mode is one of the thread:
    others keep theirs. Where a processor has no such mode, nothing happens.
    """
    before = _flushes()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def _flushes():
    # torch tells the mode to nobody: half of the smallest normal number shows it.
    smallest = torch.full((), torch.finfo(torch.float32).tiny, dtype=torch.float32)
    return (smallest / 2).item() == 0
