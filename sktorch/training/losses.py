"""What a loss expects of its target, and what the output it trains means.

A `Link` is the one place that knows, for a family of classification losses, how class codes
become its target and how the module's output becomes scores and probabilities.
"""

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class Link:
    """How a family of losses ties class codes to a module's output.

    Attributes
    ----------
    widths : callable
        ``n_classes -> tuple of int``, the output widths that fit, the usual one first.
    encode : callable
        ``(codes, n_classes, output) -> target``: codes are int64 of shape (n_rows,), ``output``
        is an output of the module whose trailing shape and dtype the target may have to share.
    scores : callable
        ``output -> scores`` of shape (n_rows, n_classes), or (n_rows,) where one number above
        zero means the second of two classes.
    log_probabilities : callable or None
        ``output -> log p`` of shape (n_rows, n_classes); None where the loss defines none.
    """

    widths: Callable
    encode: Callable
    scores: Callable
    log_probabilities: Callable | None


def _one_per_class(n_classes):
    return (n_classes,)


def _one_per_class_or_for_two(n_classes):
    return (n_classes, 1) if n_classes == 2 else (n_classes,)


def _one_for_two_classes(n_classes):
    return (n_classes,) if n_classes > 2 else (1, 2) if n_classes == 2 else (1,)


def _codes(codes, n_classes, output):
    return codes


def _zero_one(codes, n_classes, output):
    """Zero and one in the output's shape: one column for two classes, else one per class."""
    if _is_single(output):
        return codes.to(output.dtype).reshape(-1, *output.shape[1:])
    return F.one_hot(codes, n_classes).to(output.dtype)


def _signs(codes, n_classes, output):
    return 2 * _zero_one(codes, n_classes, output) - 1


def _is_single(output):
    return output.ndim == 1 or output.shape[1] == 1


def _as_scores(output):
    return output.reshape(-1) if _is_single(output) else output


def _sigmoid_log_probabilities(logits):
    """One logit: the second class against the first. Several: one against the rest, normalised."""
    if _is_single(logits):
        logits = logits.reshape(-1, 1)
        return torch.cat([F.logsigmoid(-logits), F.logsigmoid(logits)], dim=1)
    log_p = F.logsigmoid(logits)
    return log_p - log_p.logsumexp(dim=1, keepdim=True)


def _multiclass(log_probabilities):
    return Link(_one_per_class, _codes, _as_scores, log_probabilities)


def _binary(encode, to_logits=lambda output: output):
    return Link(
        _one_for_two_classes,
        encode,
        lambda output: _as_scores(to_logits(output)),
        lambda output: _sigmoid_log_probabilities(to_logits(output)),
    )


def _logits_log_probabilities(logits):
    if _is_single(logits):
        return _sigmoid_log_probabilities(logits)
    return logits.log_softmax(dim=1)


# A loss that is not known is taken at the contract's word: its module returns logits.
LOGITS = Link(_one_per_class_or_for_two, _codes, _as_scores, _logits_log_probabilities)
LINKS = {
    nn.CrossEntropyLoss: _multiclass(partial(F.log_softmax, dim=1)),
    nn.NLLLoss: _multiclass(lambda log_p: log_p),
    nn.MultiMarginLoss: _multiclass(None),
    nn.BCEWithLogitsLoss: _binary(_zero_one),
    nn.BCELoss: _binary(_zero_one, torch.logit),
    nn.SoftMarginLoss: _binary(_signs),
}
_FUNCTIONS = {
    F.cross_entropy: nn.CrossEntropyLoss,
    F.nll_loss: nn.NLLLoss,
    F.multi_margin_loss: nn.MultiMarginLoss,
    F.binary_cross_entropy_with_logits: nn.BCEWithLogitsLoss,
    F.binary_cross_entropy: nn.BCELoss,
    F.soft_margin_loss: nn.SoftMarginLoss,
}


def link_of(criterion):
    """The link of a criterion: that of its nearest known class, else `LOGITS`.

    Parameters
    ----------
    criterion : nn.Module, class, or function of ``(output, target)``

    Returns
    -------
    link : Link
    """
    criterion = innermost(criterion)
    if callable(criterion) and criterion in _FUNCTIONS:
        return LINKS[_FUNCTIONS[criterion]]
    kind = criterion if isinstance(criterion, type) else type(criterion)
    return next((LINKS[base] for base in kind.__mro__ if base in LINKS), LOGITS)


def innermost(criterion):
    """The criterion without what wraps it: `FunctionLoss` and ``functools.partial``."""
    while isinstance(criterion, FunctionLoss | partial):
        criterion = criterion.function if isinstance(criterion, FunctionLoss) else criterion.func
    return criterion


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
