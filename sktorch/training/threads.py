"""As many CPU threads as the work of a step is worth."""

import threading
from contextlib import contextmanager

import torch

# Below this many multiply-adds in a forward pass, a second thread saves little on idle cores and
# costs a multiple on busy ones: the threads of every small operation wait for each other.
WORTH_THREADS = 50_000_000


@contextmanager
def threads_worth(n_multiply_adds, most=None):
    """Run small work on one thread; restore the setting afterwards.

    The setting is one of the calling thread: threads that fit side by side don't disturb each
    other.

    Parameters
    ----------
    n_multiply_adds : int
        Of one step.
    most : int, default=None
        Number of threads for work that is not small; None takes the setting that there is.
    """
    before = torch.get_num_threads()
    n_threads = 1 if n_multiply_adds < WORTH_THREADS else most or before
    if n_threads == before:
        yield
        return
    torch.set_num_threads(n_threads)
    set_for_new_threads(before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def set_for_new_threads(n_threads):
    """Let threads that begin have this number of threads; those that there are keep theirs.

    A thread that begins gets the number that was last set anywhere.
    """
    thread = threading.Thread(target=torch.set_num_threads, args=(n_threads,))
    thread.start()
    thread.join()
