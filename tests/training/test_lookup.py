"""Names of optimizers and losses are torch's."""

import pytest
import torch
from torch import nn

from sktorch.losses.quantile import QuantileLoss
from sktorch.training.lookup import CRITERIA, OPTIMIZERS, criterion_class, optimizer_class

OPTIMIZER_NAMES = {
    "sgd": torch.optim.SGD,
    "adamw": torch.optim.AdamW,
    "AdamW": torch.optim.AdamW,
    "adam_w": torch.optim.AdamW,
    "lbfgs": torch.optim.LBFGS,
    "L_BFGS": torch.optim.LBFGS,
    "rmsprop": torch.optim.RMSprop,
    "rms_prop": torch.optim.RMSprop,
    "nadam": torch.optim.NAdam,
    "sparse_adam": torch.optim.SparseAdam,
}
CRITERION_NAMES = {
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
UNKNOWN = [
    (optimizer_class, "adm", r"optimizer='adm' is not known\. Did you mean 'adam'\? .*, adamw, "),
    (optimizer_class, "optimizer", "optimizer='optimizer' is not known.* sgd"),
    (optimizer_class, "", "optimizer='' is not known. Known names are adadelta, "),
    (criterion_class, "cross_entropie", "Did you mean 'cross_entropy'"),
    (criterion_class, "nll_loss2d", "criterion='nll_loss2d' is not known"),
    (criterion_class, "xyz", r"criterion='xyz' is not known\. Known names are .*mse, .*quantile"),
]


@pytest.mark.parametrize("name", OPTIMIZER_NAMES)
def test_optimizer(name):
    assert optimizer_class(name) is OPTIMIZER_NAMES[name]


@pytest.mark.parametrize("name", CRITERION_NAMES)
def test_criterion(name):
    assert criterion_class(name) is CRITERION_NAMES[name]


def test_all_that_torch_exports_have_a_name():
    exported = {name for name in torch.optim.__all__ if name[0].isupper()} - {"Optimizer"}
    assert {kind.__name__ for kind in OPTIMIZERS.values()} == exported
    losses = {name for name in dir(nn) if name.endswith("Loss")} | {"QuantileLoss"}
    assert {kind.__name__ for kind in CRITERIA.values()} == losses


@pytest.mark.parametrize("table", [OPTIMIZERS, CRITERIA])
def test_no_two_names_are_one(table):
    assert len({name.replace("_", "") for name in table}) == len(set(table.values())) == len(table)


@pytest.mark.parametrize("kind", [torch.optim.SGD, nn.functional.mse_loss, nn.MSELoss(), None])
def test_what_is_no_name_comes_back(kind):
    assert optimizer_class(kind) is kind
    assert criterion_class(kind) is kind


@pytest.mark.parametrize(("find", "name", "message"), UNKNOWN)
def test_unknown_names(find, name, message):
    with pytest.raises(ValueError, match=message):
        find(name)
