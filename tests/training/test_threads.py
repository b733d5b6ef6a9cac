"""Small work runs on one thread, and the setting comes back."""

import threading

import pytest
import torch

from sktorch.training.threads import WORTH_THREADS, threads_worth


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("work", "expected"), [(0, 1), (WORTH_THREADS - 1, 1), (WORTH_THREADS, 2)])
def test_threads_by_work(work, expected, two_threads):
    with threads_worth(work):
        assert torch.get_num_threads() == expected
    assert torch.get_num_threads() == 2


def test_restored_after_an_error(two_threads):
    with pytest.raises(KeyError), threads_worth(0):
        raise KeyError
    assert torch.get_num_threads() == 2


def test_a_setting_of_one_stays(one_thread):
    with threads_worth(WORTH_THREADS):
        assert torch.get_num_threads() == 1


def test_the_setting_is_one_of_the_thread(two_threads):
    inside, done, seen = threading.Event(), threading.Event(), []

    def small():
        with threads_worth(0):
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
    with threads_worth(WORTH_THREADS):
        with threads_worth(0):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 2


def test_a_thread_that_starts_meanwhile_has_the_setting_of_before(two_threads):
    """torch hands the last number set anywhere to every new thread, which then keeps it."""
    seen = []
    with threads_worth(0):
        thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert torch.get_num_threads() == 1
    assert seen == [2]
