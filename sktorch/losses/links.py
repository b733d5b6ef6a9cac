"""What a loss expects of its target, and what the output it trains means.

A link is the one place that knows, for a family of losses, how encoded targets become what it
compares with, and how the module's output becomes predictions: `Link` for one label a row,
`IndicatorLink` for several labels a row, `NumberLink` for numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import FunctionType

import torch
import torch.nn.functional as F
from torch import nn

from sktorch.losses.adapters import GaussianLoss, innermost
from sktorch.losses.quantile import QuantileLoss


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
    F.multilabel_soft_margin_loss: nn.MultiLabelSoftMarginLoss,
    F.mse_loss: nn.MSELoss,
    F.l1_loss: nn.L1Loss,
    F.smooth_l1_loss: nn.SmoothL1Loss,
    F.huber_loss: nn.HuberLoss,
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
    return _entry(LINKS, criterion, LOGITS)


def check_criterion(criterion, links, targets):
    """Raise if a loss of torch is not one that can be trained on such targets.

    Parameters
    ----------
    criterion : nn.Module, class, or function of ``(output, target)``
    links : dict
        The losses that can.
    targets : str
        What the targets are, for the message.

    Raises
    ------
    ValueError
        For a class or function of torch's own that has no link. Others are taken at their word.
    """
    kind = _class_or_function(criterion)
    if kind.__module__.startswith("torch.nn.") and _entry(links, kind, None) is None:
        known = ", ".join(loss.__name__ for loss, link in links.items() if link is not None)
        raise ValueError(
            f"criterion {kind.__name__} does not learn {targets}. Choose one of {known}, or write "
            "a function of (output, target)."
        )


def _class_or_function(criterion):
    """A criterion's class; functions go by the class that torch has for them, or as they are."""
    criterion = innermost(criterion)
    if isinstance(criterion, FunctionType):
        return _FUNCTIONS.get(criterion, criterion)
    return criterion if isinstance(criterion, type) else type(criterion)


def _entry(links, criterion, default):
    """The entry of a criterion's nearest base class."""
    bases = getattr(_class_or_function(criterion), "__mro__", ())
    return next((links[base] for base in bases if base in links), default)


@dataclass(frozen=True)
class IndicatorLink:
    """How a family of losses ties indicators, one column a label, to a module's output.

    Attributes
    ----------
    encode : callable
        ``indicators -> target``; both of shape (n_rows, n_labels) and of the output's dtype.
    logits : callable
        ``output -> logits`` of the same shape; above zero where the label is likelier than not.
    """

    encode: Callable
    logits: Callable


def _as_it_is(values):
    return values


INDICATORS = IndicatorLink(_as_it_is, _as_it_is)
INDICATOR_LINKS = {
    nn.BCEWithLogitsLoss: INDICATORS,
    nn.BCELoss: IndicatorLink(_as_it_is, torch.logit),
    nn.SoftMarginLoss: IndicatorLink(lambda indicators: 2 * indicators - 1, _as_it_is),
    nn.MultiLabelSoftMarginLoss: INDICATORS,
}


def indicator_link_of(criterion):
    """The link of a criterion for indicators.

    Parameters
    ----------
    criterion : nn.Module, class, or function of ``(output, target)``
        One that is not known is taken to compare logits with zeros and ones.

    Returns
    -------
    link : IndicatorLink
    """
    return _entry(INDICATOR_LINKS, criterion, INDICATORS)


@dataclass(frozen=True)
class NumberLink:
    """How a family of losses ties numbers to a module's output.

    Attributes
    ----------
    width : callable
        ``(criterion, n_targets) -> int``, the number of output columns.
    predict : callable
        ``(criterion, output) -> predictions`` of shape (n_rows, n_columns).
    counts : bool
        Whether the targets are counts, zero or more, which can't be scaled.
    standard_deviation : callable or None
        ``output -> standard deviations``, where the loss learns them.
    adapt : callable or None
        ``criterion -> nn.Module`` of ``(output, target)``, for a loss that takes more than two.
    """

    width: Callable = lambda criterion, n_targets: n_targets
    predict: Callable = lambda criterion, output: output
    counts: bool = False
    standard_deviation: Callable | None = None
    adapt: Callable | None = None


def _counts(criterion, output):
    return output.exp() if criterion.log_input else output


def _n_quantiles(criterion, n_targets):
    return n_targets if criterion.levels.ndim == 0 else n_targets * len(criterion.levels)


NUMBERS = NumberLink()
NUMBER_LINKS = {
    nn.MSELoss: NUMBERS,
    nn.L1Loss: NUMBERS,
    nn.SmoothL1Loss: NUMBERS,
    nn.HuberLoss: NUMBERS,
    nn.PoissonNLLLoss: NumberLink(predict=_counts, counts=True),
    nn.GaussianNLLLoss: NumberLink(
        width=lambda criterion, n_targets: 2 * n_targets,
        predict=lambda criterion, output: GaussianLoss.mean_and_variance(output)[0],
        standard_deviation=lambda output: GaussianLoss.mean_and_variance(output)[1].sqrt(),
        adapt=GaussianLoss,
    ),
    QuantileLoss: NumberLink(width=_n_quantiles),
}


def number_link_of(criterion):
    """The link of a criterion for numbers.

    Parameters
    ----------
    criterion : nn.Module, class, or function of ``(output, target)``
        One that is not known is taken to compare predictions with targets.

    Returns
    -------
    link : NumberLink
    """
    return _entry(NUMBER_LINKS, criterion, NUMBERS)
