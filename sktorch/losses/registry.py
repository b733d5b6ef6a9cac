"""All losses in one table: the class, torch's function for it, and links for the targets it fits.

To add a loss, write it in a file of its own and give it a row in `LOSSES`.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from types import FunctionType
from typing import Any, Literal

import torch.nn.functional as F
from torch import nn

from sktorch._lookup import find
from sktorch.losses import links
from sktorch.losses.adapters import Criterion, innermost, loss_arguments
from sktorch.losses.quantile import QUANTILES, QuantileLoss

TargetKind = Literal["labels", "indicators", "numbers"]


@dataclass(frozen=True)
class Loss:
    """A loss class, torch's function for it, and its link for each kind of targets it fits."""

    loss_class: type[nn.Module]
    function: Callable | None = None
    labels: links.LabelLink | None = None
    indicators: links.IndicatorLink | None = None
    numbers: links.NumberLink | None = None

    @property
    def name(self) -> str:
        """The class's name in snake case without "Loss": BCEWithLogitsLoss is bce_with_logits."""
        words = self.loss_class.__name__.removesuffix("Loss")
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", words).lower()


LOSSES = (
    Loss(nn.CrossEntropyLoss, F.cross_entropy, labels=links.SOFTMAX),
    Loss(nn.NLLLoss, F.nll_loss, labels=links.LOG_PROBABILITIES),
    Loss(nn.MultiMarginLoss, F.multi_margin_loss, labels=links.MARGINS),
    Loss(
        nn.BCEWithLogitsLoss,
        F.binary_cross_entropy_with_logits,
        labels=links.SIGMOID,
        indicators=links.INDICATORS,
    ),
    Loss(
        nn.BCELoss,
        F.binary_cross_entropy,
        labels=links.PROBABILITIES,
        indicators=links.INDICATOR_PROBABILITIES,
    ),
    Loss(
        nn.SoftMarginLoss, F.soft_margin_loss, labels=links.SIGNS, indicators=links.INDICATOR_SIGNS
    ),
    Loss(nn.MultiLabelSoftMarginLoss, F.multilabel_soft_margin_loss, indicators=links.INDICATORS),
    Loss(nn.MSELoss, F.mse_loss, numbers=links.NUMBERS),
    Loss(nn.L1Loss, F.l1_loss, numbers=links.NUMBERS),
    Loss(nn.SmoothL1Loss, F.smooth_l1_loss, numbers=links.NUMBERS),
    Loss(nn.HuberLoss, F.huber_loss, numbers=links.NUMBERS),
    Loss(nn.PoissonNLLLoss, numbers=links.COUNTS),
    Loss(nn.GaussianNLLLoss, numbers=links.GAUSSIAN),
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
# Names that scikit-learn, Keras and others have for these losses.
SYNONYMS = {
    "absolute_error": "l1",
    "binary_crossentropy": "bce_with_logits",
    "categorical_crossentropy": "cross_entropy",
    "ce": "cross_entropy",
    "log_loss": "cross_entropy",
    "mae": "l1",
    "mean_absolute_error": "l1",
    "mean_squared_error": "mse",
    "pinball": "quantile",
    "poisson": "poisson_nll",
    "softmax": "cross_entropy",
    "sparse_categorical_crossentropy": "cross_entropy",
    "squared_error": "mse",
}


def criterion_class(criterion: Any) -> Any:
    """Return the loss class that a string names, or what is given if it is no string."""
    return find("criterion", criterion, CRITERIA, SYNONYMS)


def link_of(criterion: Criterion) -> links.LabelLink:
    """Return the link for one label a row; a loss that is not known takes logits and codes."""
    return _link("labels", criterion) or links.LOGITS


def indicator_link_of(criterion: Criterion) -> links.IndicatorLink:
    """Return the link for indicators; a loss that is not known takes logits, zeros and ones."""
    return _link("indicators", criterion) or links.INDICATORS


def number_link_of(criterion: Criterion) -> links.NumberLink:
    """Return the link for numbers; a loss that is not known takes predictions and targets."""
    return _link("numbers", criterion) or links.NUMBERS


def says_predictions(criterion: Criterion) -> bool:
    """Return whether a loss of the user's own has methods that make predictions of outputs."""
    loss = innermost(criterion)
    has_method = hasattr(loss, "predict") or hasattr(loss, "predict_proba")
    return has_method and not is_known(criterion)


def reads_outputs(criterion: Criterion, given: Iterable[str] = ()) -> bool:
    """Return whether a loss says itself what its outputs predict, or trains without targets."""
    return says_predictions(criterion) or not loss_arguments(criterion, given).has_target


def has_probabilities(criterion: Criterion) -> bool:
    """Return whether a loss of labels defines probabilities."""
    if reads_outputs(criterion):
        return hasattr(innermost(criterion), "predict_proba")
    return link_of(criterion).log_probabilities is not None


def check_criterion(criterion: Criterion, kind: TargetKind, targets: str) -> None:
    """Raise ValueError if a loss of torch has no link for these targets; others may fit any."""
    loss = class_of(criterion)
    if loss.__module__.startswith("torch.nn.") and _link(kind, loss) is None:
        fitting = [known.loss_class.__name__ for known in LOSSES if getattr(known, kind)]
        raise ValueError(
            f"criterion {loss.__name__} does not learn {targets}. Choose one of "
            f"{', '.join(fitting)}, or write a function of (output, target)."
        )


def is_known(criterion: Criterion) -> bool:
    """Return whether a loss is one of torch's or of ours."""
    loss = class_of(criterion)
    return loss.__module__.startswith("torch.nn.") or loss in _BY_CLASS


def class_of(criterion: Criterion) -> Any:
    """Return a criterion's class: of a function the one that torch has for it, or itself."""
    criterion = innermost(criterion)
    if isinstance(criterion, FunctionType):
        return _CLASS_BY_FUNCTION.get(criterion, criterion)
    return criterion if isinstance(criterion, type) else type(criterion)


def _link(kind: TargetKind, criterion: Criterion) -> Any:
    """Return the link of a criterion for these targets, or None."""
    loss = class_of(criterion)
    return _link_of_class(kind, loss) if isinstance(loss, type) else None


@lru_cache(maxsize=256)  # A prediction of one row asks several times.
def _link_of_class(kind: TargetKind, loss: type) -> Any:
    """Return the link of the nearest base class that has one for these targets, or None."""
    found = (getattr(_BY_CLASS.get(base), kind, None) for base in loss.__mro__)
    return next((link for link in found if link is not None), None)
