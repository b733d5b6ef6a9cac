"""Optimizers by the names of torch's own classes."""

from typing import Any

import torch

from sktorch._lookup import find

OPTIMIZERS = {
    name.lower(): optimizer
    for name, optimizer in vars(torch.optim).items()
    if isinstance(optimizer, type)
    and issubclass(optimizer, torch.optim.Optimizer)
    and optimizer is not torch.optim.Optimizer
}


def optimizer_class(optimizer: Any) -> Any:
    """Return the class of torch.optim that a string names, or what is given if it is no string."""
    return find("optimizer", optimizer, OPTIMIZERS)
