"""Optimizers and losses by name; the names are those of torch's own classes."""

import re
from difflib import get_close_matches

import torch
from torch import nn

from sktorch.losses.quantile import QuantileLoss


def optimizer_class(kind):
    """The optimizer that a name stands for.

    Parameters
    ----------
    kind : str or callable
        Name of a class of ``torch.optim``; case and underscores do not matter: "sgd", "adamw",
        "rmsprop", "lbfgs", "sparse_adam". What is no string comes back as it is.

    Returns
    -------
    optimizer : type, or ``kind``

    Raises
    ------
    ValueError
        If no optimizer has that name.

    Examples
    --------
    >>> from sktorch.training.lookup import optimizer_class
    >>> optimizer_class("sgd")
    <class 'torch.optim.sgd.SGD'>
    """
    return find("optimizer", kind, OPTIMIZERS)


def criterion_class(kind):
    """The loss that a name stands for.

    Parameters
    ----------
    kind : str or callable
        Name of a loss class of ``torch.nn`` in snake case, without "Loss"; case and underscores do
        not matter: "cross_entropy", "bce_with_logits", "mse", "huber", "gaussian_nll". "quantile"
        is `sktorch.losses.quantile.QuantileLoss`. What is no string comes back as it is.

    Returns
    -------
    criterion : type, or ``kind``

    Raises
    ------
    ValueError
        If no loss has that name.

    Examples
    --------
    >>> from sktorch.training.lookup import criterion_class
    >>> criterion_class("smooth_l1")
    <class 'torch.nn.modules.loss.SmoothL1Loss'>
    """
    return find("criterion", kind, CRITERIA)


def find(parameter, kind, table):
    """The entry of a table that a name stands for; what is no string comes back as it is.

    Parameters
    ----------
    parameter : str
        Whose value the name is, for the message.
    kind : str or object
    table : dict
        By name. A given name may differ in case and underscores, and may end in "loss".

    Returns
    -------
    entry : object

    Raises
    ------
    ValueError
        If the name is unknown; the message holds the nearest and all known names.
    """
    if not isinstance(kind, str):
        return kind
    by_letters = {_letters(name): name for name in table}
    if (letters := _letters(kind)) in by_letters:
        return table[by_letters[letters]]
    nearest = get_close_matches(letters, by_letters, n=1, cutoff=0.5)
    hint = f" Did you mean {by_letters[nearest[0]]!r}?" if nearest else ""
    raise ValueError(
        f"{parameter}={kind!r} is not known.{hint} Known names are {', '.join(sorted(table))}."
    )


def _letters(name):
    return name.lower().replace("_", "").removesuffix("loss")


def _snake_case(name):
    """``BCEWithLogits`` is ``bce_with_logits``, ``SmoothL1`` is ``smooth_l1``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


OPTIMIZERS = {
    name.lower(): kind
    for name, kind in vars(torch.optim).items()
    if isinstance(kind, type)
    and issubclass(kind, torch.optim.Optimizer)
    and kind is not torch.optim.Optimizer
}
CRITERIA = {
    _snake_case(name.removesuffix("Loss")): kind
    for name, kind in vars(nn).items()
    if isinstance(kind, type) and issubclass(kind, nn.Module) and name.endswith("Loss")
} | {"quantile": QuantileLoss}
