"""Random numbers that are ours alone: seeded, and swapped in only while they are drawn."""

import random
import threading
from contextlib import contextmanager

import numpy as np
import torch

# torch's, numpy's and Python's default generators belong to the process. Whoever swaps a state in
# holds this lock until the former state is back, so that threads that fit side by side neither
# draw from each other's stream nor restore each other's state.
_swap = threading.RLock()
_here = threading.local()


class RandomStream:
    """A stream of random numbers that stands in for the default generators.

    Inside ``with stream:`` every draw of torch (initialisation, dropout, shuffling) comes from
    the stream; afterwards the default generators are as they were found, and the stream goes on
    where it stopped when it is entered again. The numbers are those that follow
    ``torch.manual_seed(seed)``.

    Parameters
    ----------
    seed : int
        From 0 to ``2**32 - 1``.
    device : torch.device
        Its generator is swapped as well as the CPU's.

    Attributes
    ----------
    swaps_others : bool
        Whether numpy's and Python's global generators are swapped, too, for code of others that
        draws from them. That takes a fifth of a millisecond, so it is off by default.
    """

    def __init__(self, seed, device):
        self.device, self.swaps_others = device, False
        self._states = [
            torch.Generator("cpu").manual_seed(seed).get_state(),
            *(
                torch.Generator(device).manual_seed(seed).get_state()
                for _ in _device_modules(device)
            ),
        ]
        self._seed, self._others = seed, None

    def __enter__(self):
        _swap.acquire()
        _here.depth = depth() + 1
        self._outer = _get_states(self.device)
        _set_states(self.device, self._states)
        if self.swaps_others:
            self._outer_others = _get_others()
            _set_others(self._others or _others_after(self._seed))
        return self

    def __exit__(self, *exception):
        self._states = _get_states(self.device)
        _set_states(self.device, self._outer)
        if self.swaps_others:
            self._others = _get_others()
            _set_others(self._outer_others)
        _here.depth -= 1
        _swap.release()

    @contextmanager
    def paused(self):
        """Inside ``with stream:``, leave it for a while, so that other threads can draw."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()

    def next_seed(self):
        """A number that follows from the stream, which stays where it is."""
        generator = torch.Generator()
        generator.set_state(self._states[0])
        return int(torch.empty((), dtype=torch.int64).random_(generator=generator))


def depth():
    """How many streams, one inside the other, the calling thread has entered."""
    return getattr(_here, "depth", 0)


def _device_modules(device):
    return [] if device.type == "cpu" else [torch.get_device_module(device)]


def _get_states(device):
    return [
        torch.get_rng_state(),
        *(m.get_rng_state(device) for m in _device_modules(device)),
    ]


def _set_states(device, states):
    torch.set_rng_state(states[0])
    for module, state in zip(_device_modules(device), states[1:], strict=True):
        module.set_rng_state(state, device)


def _others_after(seed):
    return np.random.RandomState(seed).get_state(), random.Random(seed).getstate()


def _get_others():
    return np.random.get_state(), random.getstate()


def state_of_others():
    """Where numpy's and Python's global generators are, to be compared."""
    (_, keys, *rest), of_python = _get_others()
    return keys.tobytes(), rest, of_python


def _set_others(states):
    np.random.set_state(states[0])
    random.setstate(states[1])


@contextmanager
def numpy_and_python_seeded(seed):
    """Seed numpy's and Python's global generators inside, restore them afterwards.

    For code of others (a splitter without ``random_state``) that draws from them.
    """
    with _swap:
        before = _get_others()
        np.random.seed(seed)
        random.seed(seed)
        try:
            yield
        finally:
            _set_others(before)


@contextmanager
def all_seeded(seed):
    """Seed torch's generator of the CPU, numpy's and Python's inside, restore them afterwards.

    For samples of a dataset that draw, when they are looked at before anything is trained.
    """
    with RandomStream(seed, torch.device("cpu")), numpy_and_python_seeded(seed):
        yield
