"""A ``DataLoader`` as X: refused with what to pass instead."""

from typing import Any

from torch.utils.data import DataLoader, default_collate

from sktorch.data.datasets import Samples
from sktorch.data.source import Settings

# Settings of a DataLoader and their defaults, besides its batch_size.
_DEFAULTS = {
    "num_workers": 0,
    "collate_fn": default_collate,
    "drop_last": False,
    "pin_memory": False,
    "timeout": 0,
    "worker_init_fn": None,
    "persistent_workers": False,
}


class Loaded(Samples):
    """Batches that somebody else makes: rows can't be held out of them, indexed or put in order."""

    def __init__(self, X: DataLoader, settings: Settings) -> None:
        raise TypeError(
            f"X is a DataLoader; expected the dataset that it reads. Pass its dataset, a "
            f"{type(X.dataset).__name__}, as X, and its settings as parameters of the estimator: "
            f"{', '.join(_parameters(X))}. Rows are shuffled in training, and never in prediction."
        )

    @staticmethod
    def accepts(X: Any, settings: Settings) -> bool:
        """Accept a DataLoader, to say what to do about it."""
        return isinstance(X, DataLoader)


def _parameters(loader: DataLoader) -> list[str]:
    """Return the settings of a loader as parameters of an estimator."""
    given = {name: getattr(loader, name) for name in _DEFAULTS}
    changed = [name for name, default in _DEFAULTS.items() if given[name] != default]
    return [
        f"batch_size={loader.batch_size}" if loader.batch_size else "iterator_train__batch_sampler",
        *(f"iterator_train__{name}={given[name]!r}" for name in changed),
    ]
