"""Every loss has a name, and a link for the targets that it fits."""

from functools import partial

import pytest
import torch.nn.functional as F
from torch import nn

from sktorch.losses.adapters import FunctionLoss, GaussianLoss
from sktorch.losses.links import (
    GAUSSIAN,
    INDICATORS,
    LOG_PROBABILITIES,
    LOGITS,
    NUMBERS,
    PROBABILITIES,
    SIGMOID,
    SIGNS,
    SOFTMAX,
)
from sktorch.losses.quantile import QUANTILES, QuantileLoss
from sktorch.losses.registry import (
    CRITERIA,
    LOSSES,
    check_criterion,
    criterion_class,
    indicator_link_of,
    link_of,
    number_link_of,
)

NAMES = {
    "cross_entropy": nn.CrossEntropyLoss,
    "CrossEntropy": nn.CrossEntropyLoss,
    "CrossEntropyLoss": nn.CrossEntropyLoss,
    "cross_entropy_loss": nn.CrossEntropyLoss,
    "bce": nn.BCELoss,
    "bce_with_logits": nn.BCEWithLogitsLoss,
    "mse": nn.MSELoss,
    "l1": nn.L1Loss,
    "smooth_l1": nn.SmoothL1Loss,
    "huber": nn.HuberLoss,
    "poisson_nll": nn.PoissonNLLLoss,
    "gaussian_nll": nn.GaussianNLLLoss,
    "nll": nn.NLLLoss,
    "multi_margin": nn.MultiMarginLoss,
    "multi_label_soft_margin": nn.MultiLabelSoftMarginLoss,
    "multilabel_soft_margin": nn.MultiLabelSoftMarginLoss,
    "soft_margin": nn.SoftMarginLoss,
    "kl_div": nn.KLDivLoss,
    "ctc": nn.CTCLoss,
    "adaptive_log_softmax_with_loss": nn.AdaptiveLogSoftmaxWithLoss,
    "quantile": QuantileLoss,
}


@pytest.mark.parametrize("name", NAMES)
def test_criterion(name):
    assert criterion_class(name) is NAMES[name]


def test_all_losses_that_torch_exports_have_a_name():
    losses = {name for name in dir(nn) if name.endswith("Loss")} | {"QuantileLoss"}
    assert {loss.__name__ for loss in CRITERIA.values()} == losses


def test_names_differ_by_more_than_underscores():
    n_names = len({name.replace("_", "") for name in CRITERIA})
    assert n_names == len(set(CRITERIA.values())) == len(CRITERIA)


@pytest.mark.parametrize("criterion", [F.mse_loss, nn.MSELoss(), nn.MSELoss, None])
def test_values_that_are_no_names_come_back(criterion):
    assert criterion_class(criterion) is criterion


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cross_entropie", "Did you mean 'cross_entropy'"),
        ("nll_loss2d", "criterion='nll_loss2d' is not known"),
        ("xyz", r"criterion='xyz' is not known\. Known names are .*mse, .*quantile"),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(ValueError, match=message):
        criterion_class(name)


class OwnLoss(nn.Module):
    """A loss that the table does not have."""


class OwnCrossEntropy(nn.CrossEntropyLoss):
    """A subclass of one that it has."""


@pytest.mark.parametrize(
    ("link", "criterion", "expected"),
    [
        (link_of, nn.CrossEntropyLoss, SOFTMAX),
        (link_of, nn.CrossEntropyLoss(), SOFTMAX),
        (link_of, partial(nn.NLLLoss, ignore_index=1), LOG_PROBABILITIES),
        (link_of, F.nll_loss, LOG_PROBABILITIES),
        (link_of, partial(partial(F.soft_margin_loss)), SIGNS),
        (link_of, FunctionLoss(partial(F.binary_cross_entropy)), PROBABILITIES),
        (link_of, OwnCrossEntropy, SOFTMAX),
        (link_of, type("Mine", (nn.BCEWithLogitsLoss,), {}), SIGMOID),
        (link_of, OwnLoss, LOGITS),
        (link_of, OwnLoss(), LOGITS),
        (link_of, len, LOGITS),
        (indicator_link_of, F.multilabel_soft_margin_loss, INDICATORS),
        (indicator_link_of, OwnLoss, INDICATORS),
        (number_link_of, GaussianLoss(nn.GaussianNLLLoss()), GAUSSIAN),
        (number_link_of, partial(QuantileLoss, [0.1, 0.9]), QUANTILES),
        (number_link_of, OwnLoss(), NUMBERS),
    ],
)
def test_the_link_is_that_of_the_nearest_known_class(link, criterion, expected):
    assert link(criterion) is expected


@pytest.mark.parametrize("targets", ["labels", "indicators", "numbers"])
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_a_loss_fits_the_targets_of_its_links(loss, targets):
    for criterion in filter(None, (loss.loss_class, loss.function)):
        if getattr(loss, targets) is not None:
            check_criterion(criterion, targets, "these")
        elif loss.loss_class is not QuantileLoss:  # Only losses of torch are refused.
            message = f"criterion {loss.loss_class.__name__} does not learn these. Choose one of"
            with pytest.raises(ValueError, match=message):
                check_criterion(criterion, targets, "these")


@pytest.mark.parametrize("criterion", [OwnLoss, OwnLoss(), len, lambda output, target: output])
def test_losses_of_ones_own_fit_any_targets(criterion):
    check_criterion(criterion, "numbers", "numbers")
