"""
Measuring in turn
=================

Contestants run one after the other, in another order each time, so that a machine that is busy
for a while is so for all of them. A ratio is the median of the ratios within a turn.
"""

import gc
from operator import truediv
from statistics import median

import torch


def time_in_turn(functions, repeats, device, clock):
    """Call functions in turn, in another order each time.

    Parameters
    ----------
    functions : dict of str to callable
        The first is the reference.
    repeats : int
        Turns that count; one more goes before them.

    Returns
    -------
    timings : dict of str to dict
        ``seconds`` of every turn, their ``median``, and the median ``ratio`` to the reference.
    returned : dict of str to object
        What each function returned last.
    """
    names = list(functions)
    seconds, returned = {name: [] for name in names}, {}
    for turn in range(repeats + 1):
        for name in in_turn(names, turn):
            gc.collect()
            synchronize(device)
            start = clock()
            returned[name] = functions[name]()
            synchronize(device)
            seconds[name].append(clock() - start)
    counted = {name: values[1:] for name, values in seconds.items()}
    timings = {
        name: {
            "seconds": values,
            "median": median(values),
            "ratio": median(map(truediv, values, counted[names[0]])),
        }
        for name, values in counted.items()
    }
    return timings, returned


def in_turn(names, turn):
    """Return names in the order of a turn: each of them begins one."""
    first = turn % len(names)
    return names[first:] + names[:first]


def synchronize(device):
    """Wait for the GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
