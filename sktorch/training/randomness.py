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


class RandomStream:
    """A stream of torch random numbers that stands in for torch's default generators.

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
    """

    def __init__(self, seed, device):
        self.device = device
        self._states = [
            torch.Generator("cpu").manual_seed(seed).get_state(),
            *(
                torch.Generator(device).manual_seed(seed).get_state()
                for _ in _device_modules(device)
            ),
        ]

    def __enter__(self):
        _swap.acquire()
        self._outer = _get_states(self.device)
        _set_states(self.device, self._states)
        return self

    def __exit__(self, *exception):
        self._states = _get_states(self.device)
        _set_states(self.device, self._outer)
        _swap.release()


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


@contextmanager
def numpy_and_python_seeded(seed):
    """Seed numpy's and Python's global generators inside, restore them afterwards.

    For code of others (a module's ``__init__``) that draws from them.
    """
    with _swap:
        numpy_state, python_state = np.random.get_state(), random.getstate()
        np.random.seed(seed)
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)
            random.setstate(python_state)
