"""Draw random numbers from streams of our own, and leave the process's generators as found."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Self

import numpy as np
import torch

# A generator of the process: how its state is read, and how it is set.
_Generator = tuple[Callable[[], Any], Callable[[Any], Any]]
_NUMPY_AND_PYTHON: list[_Generator] = [
    (np.random.get_state, np.random.set_state),
    (random.getstate, random.setstate),
]
# Whoever swaps a state in holds this lock until the former state is back, so that threads that fit
# side by side neither draw from each other's stream nor restore each other's state.
_swap = threading.RLock()
_here = threading.local()


class RandomStream:
    """A stream of random numbers that stands in for the default generators.

    Inside ``with stream:`` every draw of torch (initialisation, dropout, shuffling) comes from the
    stream, on the CPU and on ``device``; afterwards the default generators are as they were found.
    Entered again, the stream goes on where it stopped. The numbers are those that follow
    ``torch.manual_seed(seed)``.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self.device = device
        # numpy's and Python's generators, for user code that draws from them: swapping them, too,
        # takes a fifth of a millisecond.
        self.swaps_numpy_and_python = False
        places = {"cpu": torch.device("cpu"), device.type: device}.values()
        self._states: list[Any] = [
            torch.Generator(place).manual_seed(seed).get_state() for place in places
        ]
        self._seed = seed
        self._numpy_and_python: list[Any] | None = None

    def __enter__(self) -> Self:
        _swap.acquire()
        _here.n_streams = n_streams_entered() + 1
        self._outer = _swapped(_torch_generators(self.device), self._states)
        if self.swaps_numpy_and_python:
            states = self._numpy_and_python or _numpy_and_python_states(self._seed)
            self._outer_numpy_and_python = _swapped(_NUMPY_AND_PYTHON, states)
        return self

    def __exit__(self, *exception: object) -> None:
        self._states = _swapped(_torch_generators(self.device), self._outer)
        if self.swaps_numpy_and_python:
            self._numpy_and_python = _swapped(_NUMPY_AND_PYTHON, self._outer_numpy_and_python)
        _here.n_streams -= 1
        _swap.release()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the stream for a while, inside ``with stream:``, so that other threads can draw."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()

    def next_seed(self) -> int:
        """Return a number that follows from the stream's state, and leave the stream there."""
        generator = torch.Generator()
        generator.set_state(self._states[0])
        return int(torch.empty((), dtype=torch.int64).random_(generator=generator))


def n_streams_entered() -> int:
    """Return how many streams, one inside the other, the calling thread has entered."""
    return getattr(_here, "n_streams", 0)


@contextmanager
def numpy_and_python_seeded(seed: int) -> Iterator[None]:
    """Seed numpy's and Python's global generators for user code; restore them afterwards."""
    with _swap:
        outer = [get_state() for get_state, _ in _NUMPY_AND_PYTHON]
        np.random.seed(seed)  # A generator of its own takes a tenth of a millisecond to make.
        random.seed(seed)
        try:
            yield
        finally:
            for (_, set_state), state in zip(_NUMPY_AND_PYTHON, outer, strict=True):
                set_state(state)


@contextmanager
def all_seeded(seed: int) -> Iterator[None]:
    """Seed torch's CPU generator, numpy's and Python's for user code; restore them afterwards."""
    with RandomStream(seed, torch.device("cpu")), numpy_and_python_seeded(seed):
        yield


def numpy_and_python_state() -> tuple:
    """Return the state of numpy's and Python's global generators, comparable by ``==``."""
    (_, keys, *rest), of_python = (get_state() for get_state, _ in _NUMPY_AND_PYTHON)
    return keys.tobytes(), rest, of_python


def _torch_generators(device: torch.device) -> list[_Generator]:
    """Return torch's default generators of the CPU and of another device."""
    generators: list[_Generator] = [(torch.get_rng_state, torch.set_rng_state)]
    if device.type != "cpu":
        module = torch.get_device_module(device)
        get_state = partial(module.get_rng_state, device)
        generators.append((get_state, partial(module.set_rng_state, device=device)))
    return generators


def _numpy_and_python_states(seed: int) -> list[Any]:
    return [np.random.RandomState(seed).get_state(), random.Random(seed).getstate()]


def _swapped(generators: list[_Generator], states: list[Any]) -> list[Any]:
    """Set generators to states; return the states that they had."""
    before = [get_state() for get_state, _ in generators]
    for (_, set_state), state in zip(generators, states, strict=True):
        set_state(state)
    return before
