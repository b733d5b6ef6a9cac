"""As many CPU threads as the work of a step is worth."""

from contextlib import contextmanager

import torch

# Below this many multiply-adds in a forward pass, a second thread saves little on idle cores and
# costs a multiple on busy ones: the threads of every small operation wait for each other.
WORTH_THREADS = 50_000_000


def multiply_adds(module, X):
    """About how many multiply-adds ``module(X)`` takes, from the layers' weights and outputs.

    Parameters
    ----------
    module : torch.nn.Module
    X : torch.Tensor

    Returns
    -------
    output : object
        What the module returned.
    count : int
    """
    counts = []

    def count(layer, _, output):
        if isinstance(output, tuple):
            output = output[0]
        if isinstance(output, torch.Tensor):
            weights = layer.parameters(recurse=False)
            counts.extend(
                output.numel() * weight[0].numel() for weight in weights if weight.ndim > 1
            )

    hooks = [layer.register_forward_hook(count) for layer in module.modules()]
    try:
        return module(X), sum(counts)
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def threads_worth(n_multiply_adds):
    """Run small work on one thread; restore the setting afterwards.

    The setting is one of the calling thread: threads that fit side by side don't disturb each
    other.

    Parameters
    ----------
    n_multiply_adds : int
        Of one step.
    """
    before = torch.get_num_threads()
    if n_multiply_adds >= WORTH_THREADS or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
