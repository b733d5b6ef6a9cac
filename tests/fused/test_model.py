"""What is found out about a model holds until somebody changes it."""

import pytest
import torch
from torch import nn

from sktorch.fused import model as model_module
from sktorch.training.fingerprint import fingerprint
from sktorch.training.loop import set_mode
from tests.fused.epochs import model_of


def make_model(module=None):
    module = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.1)) if module is None else module
    return model_of(module, torch.optim.SGD(module.parameters(), 0.1))


def test_a_fingerprint_is_taken_once_in_each_mode(monkeypatch):
    taken, model = [], make_model()
    monkeypatch.setattr(
        model_module, "fingerprint", lambda value: taken.append(1) or fingerprint(value)
    )
    for _ in range(3):
        for training in (True, False):
            model.set_mode(training)
            model.structure(training)
    assert len(taken) == 2


def drop_more(net):
    net.module_[1].p = 0.5


def freeze(net):
    net.module_[0].requires_grad_(False)


def smooth(net):
    net.criterion_.label_smoothing = 0.1


def replace_the_module(net):
    net.module_ = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.2))


def replace_the_optimizer(net):
    net.optimizer_ = torch.optim.Adam(net.module_.parameters())


def add_a_group(net):
    net.optimizer_.add_param_group({"params": [nn.Parameter(torch.zeros(1))]})


@pytest.mark.parametrize(
    "change", [drop_more, freeze, smooth, replace_the_module, replace_the_optimizer, add_a_group]
)
def test_a_change_between_epochs_is_seen(change):
    model = make_model()
    before = model.structure(True)
    assert model.structure(True) == before
    change(model.net)
    assert model.structure(True) != before


class FrozenNorm(nn.Sequential):
    """Its norm stays as it is, as many do who fine-tune."""

    def __init__(self):
        super().__init__(nn.Linear(3, 2), nn.BatchNorm1d(2))

    def train(self, mode=True):
        super().train(mode)
        self[1].eval()
        return self


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("make", [FrozenNorm, lambda: nn.Sequential(nn.Linear(3, 2), nn.Dropout())])
def test_the_mode_is_that_of_the_modules_own_method(make, training):
    one, other = make(), make()
    set_mode(one, training=training)
    other.train(training)
    assert [m.training for m in one.modules()] == [m.training for m in other.modules()]
