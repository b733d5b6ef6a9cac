"""Every loss in one table: its class, torch's function for it, and a link for the targets it fits.

To add a loss, write it in a file of its own and give it a row in `LOSSES`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any, Literal

import torch.nn.functional as F
from torch import nn

from sktorch._lookup import find
from sktorch.losses.adapters import Criterion, innermost
from sktorch.losses.links import (
    COUNTS,
    GAUSSIAN,
    INDICATOR_PROBABILITIES,
    INDICATOR_SIGNS,
    INDICATORS,
    LOG_PROBABILITIES,
    LOGITS,
    MARGINS,
    NUMBERS,
    PROBABILITIES,
    SIGMOID,
    SIGNS,
    SOFTMAX,
    IndicatorLink,
    LabelLink,
    NumberLink,
)
from sktorch.losses.quantile import QUANTILES, QuantileLoss

Targets = Literal["labels", "indicators", "numbers"]


@dataclass(frozen=True)
class Loss:
    """A loss class, torch's function for it, and its link for each kind of targets it fits."""

    loss_class: type[nn.Module]
    function: Callable | None = None
    labels: LabelLink | None = None
    indicators: IndicatorLink | None = None
    numbers: NumberLink | None = None

    @property
    def name(self) -> str:
        """The class's name in snake case without "Loss": BCEWithLogitsLoss is bce_with_logits."""
        words = re.sub(
            r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])",
            "_",
            self.loss_class.__name__.removesuffix("Loss"),
        )
        return words.lower()


LOSSES = (
    Loss(nn.CrossEntropyLoss, F.cross_entropy, labels=SOFTMAX),
    Loss(nn.NLLLoss, F.nll_loss, labels=LOG_PROBABILITIES),
    Loss(nn.MultiMarginLoss, F.multi_margin_loss, labels=MARGINS),
    Loss(
        nn.BCEWithLogitsLoss,
        F.binary_cross_entropy_with_logits,
        labels=SIGMOID,
        indicators=INDICATORS,
    ),
    Loss(
        nn.BCELoss,
        F.binary_cross_entropy,
        labels=PROBABILITIES,
        indicators=INDICATOR_PROBABILITIES,
    ),
    Loss(nn.SoftMarginLoss, F.soft_margin_loss, labels=SIGNS, indicators=INDICATOR_SIGNS),
    Loss(nn.MultiLabelSoftMarginLoss, F.multilabel_soft_margin_loss, indicators=INDICATORS),
    Loss(nn.MSELoss, F.mse_loss, numbers=NUMBERS),
    Loss(nn.L1Loss, F.l1_loss, numbers=NUMBERS),
    Loss(nn.SmoothL1Loss, F.smooth_l1_loss, numbers=NUMBERS),
    Loss(nn.HuberLoss, F.huber_loss, numbers=NUMBERS),
    Loss(nn.PoissonNLLLoss, numbers=COUNTS),
    Loss(nn.GaussianNLLLoss, numbers=GAUSSIAN),
    Loss(QuantileLoss, numbers=QUANTILES),
)
_BY_CLASS = {loss.loss_class: loss for loss in LOSSES}
_CLASS_BY_FUNCTION = {loss.function: loss.loss_class for loss in LOSSES if loss.function}
# Names of torch's other losses are known, too: the error then says that the targets do not fit.
_OTHERS = [
    Loss(loss_class)
    for name, loss_class in vars(nn).items()
    if name.endswith("Loss") and loss_class not in _BY_CLASS
]
CRITERIA = {loss.name: loss.loss_class for loss in [*LOSSES, *_OTHERS]}


def criterion_class(criterion: Any) -> Any:
    """Return the loss class that a string names, or what is given if it is no string."""
    return find("criterion", criterion, CRITERIA)


def link_of(criterion: Criterion) -> LabelLink:
    """Return the link for one label a row; a loss that is not known takes logits and codes."""
    return _link("labels", criterion) or LOGITS


def indicator_link_of(criterion: Criterion) -> IndicatorLink:
    """Return the link for indicators; a loss that is not known takes logits, zeros and ones."""
    return _link("indicators", criterion) or INDICATORS


def number_link_of(criterion: Criterion) -> NumberLink:
    """Return the link for numbers; a loss that is not known takes predictions and targets."""
    return _link("numbers", criterion) or NUMBERS


def check_criterion(criterion: Criterion, targets: Targets, description: str) -> None:
    """Raise ValueError if the criterion is a loss of torch that does not fit the targets."""
    loss = _class_or_function(criterion)
    if loss.__module__.startswith("torch.nn.") and _link(targets, loss) is None:
        fitting = [known.loss_class.__name__ for known in LOSSES if getattr(known, targets)]
        raise ValueError(
            f"criterion {loss.__name__} does not learn {description}. Choose one of "
            f"{', '.join(fitting)}, or write a function of (output, target)."
        )


def _class_or_function(criterion: Criterion) -> Any:
    """Return a criterion's class: of a function the one that torch has for it, or itself."""
    criterion = innermost(criterion)
    if isinstance(criterion, FunctionType):
        return _CLASS_BY_FUNCTION.get(criterion, criterion)
    return criterion if isinstance(criterion, type) else type(criterion)


def _link(targets: Targets, criterion: Criterion) -> Any:
    """Return the link of the nearest base class that has one for these targets, or None."""
    bases = getattr(_class_or_function(criterion), "__mro__", ())
    links = (getattr(_BY_CLASS.get(base), targets, None) for base in bases)
    return next((link for link in links if link is not None), None)
