"""Names of optimizers are torch's."""

import pytest
import torch

from sktorch.training.optimizer_names import OPTIMIZERS, optimizer_class

NAMES = {
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


@pytest.mark.parametrize("name", NAMES)
def test_optimizer(name):
    assert optimizer_class(name) is NAMES[name]


def test_all_optimizers_that_torch_exports_have_a_name():
    exported = {name for name in torch.optim.__all__ if name[0].isupper()} - {"Optimizer"}
    assert {optimizer.__name__ for optimizer in OPTIMIZERS.values()} == exported


def test_names_differ_by_more_than_underscores():
    n_names = len({name.replace("_", "") for name in OPTIMIZERS})
    assert n_names == len(set(OPTIMIZERS.values())) == len(OPTIMIZERS)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, lambda parameters: None, None])
def test_values_that_are_no_names_come_back(optimizer):
    assert optimizer_class(optimizer) is optimizer


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("adm", r"optimizer='adm' is not known\. Did you mean 'adam'\? .*, adamw, "),
        ("optimizer", "optimizer='optimizer' is not known.* sgd"),
        ("", "optimizer='' is not known. Known names are adadelta, "),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(ValueError, match=message):
        optimizer_class(name)
