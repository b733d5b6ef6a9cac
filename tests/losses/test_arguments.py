"""The arguments of a loss: a target or none, and what it names beside."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sktorch.losses.adapters import FunctionLoss, LossFunction, loss_arguments
from sktorch.losses.arguments import arguments_of


class Named(nn.Module):
    def forward(self, output, target, X, module=None):
        return output.sum()


class Alone(nn.Module):
    def forward(self, output, *, reduction="mean"):
        return output.sum()


ARGUMENTS = {
    "torch's class": (nn.CrossEntropyLoss, True, ()),
    "torch's module": (nn.AdaptiveLogSoftmaxWithLoss(4, 4, [2]), True, ()),
    "torch's function": (F.mse_loss, True, ()),
    "a class": (Named, True, ("X", "module")),
    "a module": (Named(), True, ("X", "module")),
    "any names": (lambda o, t: o, True, ()),
    "any number": (lambda *tensors: tensors, True, ()),
    "any keywords": (lambda o, **settings: o, False, ()),
    "inputs": (lambda output, X: output, False, ("X",)),
    "inputs and a target": (lambda output, X, target: output, True, ("X",)),
    "no target": (Alone, False, ()),
    "an output that is named X": (lambda X, target: X, True, ()),
    "a partial": (partial(lambda output, target, factor: output, factor=2), True, ()),
    "a partial without a target": (partial(lambda output, *, factor: output, factor=2), False, ()),
    "without a signature": (torch.dist, True, ()),
}


@pytest.mark.parametrize(("loss", "has_target", "names"), ARGUMENTS.values(), ids=ARGUMENTS.keys())
def test_the_arguments_of_a_loss(loss, has_target, names):
    assert arguments_of(loss) == (has_target, names)


def test_a_parameter_of_the_loss_is_no_target():
    def loss(output, factor, X):
        return factor * output.sum() + 0 * X.sum()

    assert loss_arguments(loss) == (True, ("X",))
    assert loss_arguments(loss, ["factor"]) == (False, ("X",))
    made, output = FunctionLoss(loss, factor=torch.tensor(2.0)), torch.ones(3)
    assert loss_arguments(made) == (False, ("X",))
    assert LossFunction(made)(output, torch.zeros(3), None, X=output, module=None) == 6
