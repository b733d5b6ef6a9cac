"""Subnormal floats are zero inside, and what they were before outside."""

import threading

import pytest
import torch

from sktorch.training.subnormals import subnormals_flushed

pytestmark = pytest.mark.skipif(
    not torch.set_flush_denormal(False), reason="this processor has no such mode"
)


def half_of_the_smallest(dtype=torch.float32):
    return (torch.full((), torch.finfo(dtype).tiny, dtype=dtype) / 2).item()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_flushed_inside_only(dtype):
    assert half_of_the_smallest(dtype) > 0
    with subnormals_flushed():
        assert half_of_the_smallest(dtype) == 0
    assert half_of_the_smallest(dtype) > 0


def test_restored_after_an_error():
    with pytest.raises(KeyError), subnormals_flushed():
        raise KeyError
    assert half_of_the_smallest() > 0


def test_a_mode_that_was_on_stays_on():
    torch.set_flush_denormal(True)
    try:
        with subnormals_flushed():
            pass
        assert half_of_the_smallest() == 0
    finally:
        torch.set_flush_denormal(False)


def test_other_threads_keep_theirs():
    seen = []
    with subnormals_flushed():
        # One that was started before would do as well; a mode is inherited at the start.
        worker = threading.Thread(target=lambda: seen.append(set_and_look()))
        worker.start()
        worker.join()
        assert half_of_the_smallest() == 0
    assert seen[0] > 0


def set_and_look():
    torch.set_flush_denormal(False)
    return half_of_the_smallest()
