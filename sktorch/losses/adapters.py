"""Losses as modules of ``(output, target)``, and the mean loss of a batch."""

import copy
import inspect
from functools import cached_property, partial

import torch
import torch.nn.functional as F
from torch import nn


def innermost(criterion):
    """The criterion without what wraps it: a loss of ours and ``functools.partial``."""
    inside = {AdaptedLoss: "criterion", FunctionLoss: "function", partial: "func"}
    while kind := next((kind for kind in inside if isinstance(criterion, kind)), None):
        criterion = getattr(criterion, inside[kind])
    return criterion


class AdaptedLoss(nn.Module):
    """A loss around another that takes its output or target in parts.

    Parameters
    ----------
    criterion : nn.Module
    """

    def __init__(self, criterion):
        super().__init__()
        self.criterion = criterion

    def around(self, criterion):
        """The same around another criterion."""
        return type(self)(criterion)


class GaussianLoss(AdaptedLoss):
    """``nn.GaussianNLLLoss`` of one output: columns of means, then as many of raw variances."""

    @staticmethod
    def mean_and_variance(output):
        """Means, and variances made positive by softplus, each with half of the columns."""
        mean, raw_variance = output.chunk(2, dim=-1)
        return mean, F.softplus(raw_variance)

    def forward(self, output, target):
        """The loss of an output of shape (n_rows, 2 * n_targets)."""
        mean, variance = self.mean_and_variance(output)
        return self.criterion(mean, target, variance)


class ColumnsLoss(AdaptedLoss):
    """The mean of a criterion's losses for several columns of labels.

    Parameters
    ----------
    criterion : nn.Module
        Of ``(output, target)`` for one column.
    encode : callable
        ``(codes, n_classes, output) -> target`` for one column.
    n_classes : sequence of int
        Of each column.
    widths : sequence of int
        Number of columns of the output for each column of labels.
    """

    def __init__(self, criterion, encode, n_classes, widths):
        super().__init__(criterion)
        self.encode, self.n_classes, self.widths = encode, n_classes, widths

    def around(self, criterion):
        """The same around another criterion."""
        return type(self)(criterion, self.encode, self.n_classes, self.widths)

    def forward(self, output, target):
        """The loss of an output of shape (n_rows, sum of widths), codes (n_rows, n_columns)."""
        parts = zip(output.split(self.widths, dim=1), target.T, self.n_classes, strict=True)
        losses = [self.criterion(part, self.encode(codes, n, part)) for part, codes, n in parts]
        return torch.stack(
            [loss.flatten(1).mean(1) if loss.ndim > 1 else loss for loss in losses]
        ).mean(0)


class FunctionLoss(nn.Module):
    """A loss module made of a function of ``(output, target)``.

    Parameters
    ----------
    function : callable
    **arguments : dict
        Further arguments of the function. Tensors among them are buffers: they move along.
    """

    def __init__(self, function, **arguments):
        super().__init__()
        self.function = function
        tensors = {name: value for name, value in arguments.items() if torch.is_tensor(value)}
        self.arguments = {name: arguments[name] for name in arguments.keys() - tensors.keys()}
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor.clone())

    def extra_repr(self):
        """The function's name."""
        return getattr(innermost(self), "__name__", repr(innermost(self)))

    def forward(self, output, target):
        """The function's loss."""
        return self.function(output, target, **self.arguments, **dict(self.named_buffers()))


def per_row(criterion):
    """The same criterion with one loss per row instead of their mean.

    Shares parameters and buffers with ``criterion``. One that cannot be told (it has no
    ``reduction``) is returned as it is; `LossFunction` says so if it then returns one number.
    """
    if isinstance(criterion, AdaptedLoss):
        return criterion.around(per_row(criterion.criterion))
    criterion = copy.copy(criterion)
    if hasattr(criterion, "reduction"):
        criterion.reduction = "none"
    elif isinstance(criterion, FunctionLoss) and _takes_reduction(criterion.function):
        criterion.arguments = criterion.arguments | {"reduction": "none"}
    return criterion


def _takes_reduction(function):
    return "reduction" in inspect.signature(function).parameters


class LossFunction:
    """The mean loss of a batch, ``(output, y, weight) -> loss``.

    Without weights it is the criterion's own. With weights it is ``mean(weight * loss)`` over the
    rows: with weights of mean one over the training data, the expected gradient of a batch is the
    gradient of the weighted risk.

    Parameters
    ----------
    criterion : torch.nn.Module
    """

    def __init__(self, criterion):
        self.criterion = criterion

    @cached_property
    def per_row(self):
        """The criterion with one loss per row."""
        return per_row(self.criterion)

    def __call__(self, output, y, weight):
        """The loss of a batch, a scalar tensor."""
        if weight is None:
            return self.criterion(output, y)
        losses = self.per_row(output, y)
        if losses.ndim == 0 or len(losses) != len(y):
            raise ValueError(
                f"sample_weight or class_weight was given, but criterion "
                f"{innermost(self.criterion)!r} returned a loss of shape {tuple(losses.shape)} for "
                f"{len(y)} rows. Give the criterion a `reduction` parameter that accepts 'none', "
                "or let it return one loss per row."
            )
        return (losses.reshape(len(y), -1).mean(1) * weight).mean()
