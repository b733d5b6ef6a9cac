"""Small steps run on one thread and without subnormals, and both settings come back."""

import os
import subprocess
import sys
import threading

import pytest
import torch

from sktorch.training.cpu import MIN_WORK_FOR_THREADS, subnormals_flushed, threads_for

needs_mode = pytest.mark.skipif(
    not torch.set_flush_denormal(False), reason="this processor has no such mode"
)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("work", "expected"), [(0, 1), (MIN_WORK_FOR_THREADS - 1, 1), (MIN_WORK_FOR_THREADS, 2)]
)
def test_threads_by_work(work, expected, two_threads):
    with threads_for(work):
        assert torch.get_num_threads() == expected
    assert torch.get_num_threads() == 2


def test_the_number_of_threads_is_restored_after_an_error(two_threads):
    with pytest.raises(KeyError), threads_for(0):
        raise KeyError
    assert torch.get_num_threads() == 2


def test_a_setting_of_one_stays(one_thread):
    with threads_for(MIN_WORK_FOR_THREADS):
        assert torch.get_num_threads() == 1


def test_other_threads_keep_their_number(two_threads):
    inside, done, seen = threading.Event(), threading.Event(), []

    def small():
        with threads_for(0):
            seen.append(torch.get_num_threads())
            inside.set()
            done.wait(10)

    thread = threading.Thread(target=small)
    thread.start()
    inside.wait(10)
    here = torch.get_num_threads()
    done.set()
    thread.join()
    assert (seen, here) == ([1], 2)


def test_nested_work_restores_step_by_step(two_threads):
    with threads_for(MIN_WORK_FOR_THREADS):
        with threads_for(0):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 2


def test_a_thread_that_starts_meanwhile_has_the_setting_of_before(two_threads):
    """torch hands the last number set anywhere to every new thread, which then keeps it."""
    seen = []
    with threads_for(0):
        thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert torch.get_num_threads() == 1
    assert seen == [2]


def half_of_the_smallest(dtype=torch.float32):
    return (torch.full((), torch.finfo(dtype).tiny, dtype=dtype) / 2).item()


@needs_mode
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_subnormals_are_flushed_inside_only(dtype):
    assert half_of_the_smallest(dtype) > 0
    with subnormals_flushed():
        assert half_of_the_smallest(dtype) == 0
    assert half_of_the_smallest(dtype) > 0


@needs_mode
def test_a_mode_is_restored_after_an_error():
    with pytest.raises(KeyError), subnormals_flushed():
        raise KeyError
    assert half_of_the_smallest() > 0


@needs_mode
def test_a_mode_that_was_on_stays_on():
    torch.set_flush_denormal(True)
    try:
        with subnormals_flushed():
            pass
        assert half_of_the_smallest() == 0
    finally:
        torch.set_flush_denormal(False)


@needs_mode
def test_other_threads_keep_their_mode():
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


@needs_mode
def test_a_mode_that_was_on_stays_on_after_an_error():
    torch.set_flush_denormal(True)
    try:
        with pytest.raises(KeyError), subnormals_flushed():
            raise KeyError
        assert half_of_the_smallest() == 0
    finally:
        torch.set_flush_denormal(False)


@needs_mode
@pytest.mark.parametrize("flushing", [False, True])
def test_a_thread_at_work_keeps_its_mode(flushing):
    """One thread enters and leaves while another, which began before, goes on."""
    ready, entered, left = threading.Event(), threading.Event(), threading.Event()
    seen = []

    def other():
        torch.set_flush_denormal(flushing)
        ready.set()
        for event in (entered, left):
            event.wait(10)
            seen.append(half_of_the_smallest() == 0)

    thread = threading.Thread(target=other)
    thread.start()
    ready.wait(10)
    with subnormals_flushed():
        entered.set()
        while not seen:
            pass
    left.set()
    thread.join()
    assert seen == [flushing] * 2


def largest_momentum():
    """After a step with the smallest normal gradient and one with none: a half of it."""
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([parameter], lr=0.1, momentum=0.5)
    parameter.grad = torch.full((3,), torch.finfo(torch.float32).tiny)
    optimizer.step()
    parameter.grad = torch.zeros(3)
    optimizer.step()
    return optimizer.state[parameter]["momentum_buffer"].max().item()


@needs_mode
def test_averages_of_an_optimizer_are_flushed():
    assert largest_momentum() > 0
    with subnormals_flushed():
        assert largest_momentum() == 0


@needs_mode
def test_gradients_are_flushed():
    def gradient():
        X = torch.ones(3, requires_grad=True)
        (X * torch.finfo(torch.float32).tiny).mul(0.5).sum().backward()
        return X.grad.max().item()

    assert gradient() > 0
    with subnormals_flushed():
        assert gradient() == 0


FORK = """
import multiprocessing

import numpy as np
import torch
from sktorch import TorchClassifier
from sktorch.modules import MLP

X = np.random.RandomState(0).randn(4000, 50).astype("float32")
y = (X[:, 0] > 0).astype(int)

def score():
    net = TorchClassifier(
        MLP, module__hidden=(1000,), batch_size=2000, max_epochs=1, device="cpu", random_state=0
    )
    return net.fit(X, y).score(X, y)

torch.set_num_threads(2)
score()
with multiprocessing.get_context("fork").Pool(1) as pool:
    pool.apply(score)
    print(pool.apply(torch.get_num_threads), torch.get_num_threads())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no forks")
def test_a_fork_computes_on_one_thread_after_a_fit_on_two():
    arguments = [sys.executable, "-W", "ignore", "-c", FORK]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["1", "2"]
