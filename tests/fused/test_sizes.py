"""What models of several sizes have in common."""

import pytest
import torch
from torch import nn

from sktorch.fused.sizes import shapes_of, without_sizes
from tests.fused.epochs import model_of


def structure(module):
    return model_of(module, torch.optim.SGD(module.parameters())).structure(training=True)


def mlp(width, dropout=0.0):
    layers = nn.Linear(4, width), nn.BatchNorm1d(width), nn.Dropout(dropout)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width, 3))


class Powered(nn.Linear):
    """Has a number that is no size."""

    def __init__(self, width, exponent):
        super().__init__(4, width)
        self.exponent = exponent


def test_shapes_are_those_of_parameters_and_buffers():
    shapes = dict(shapes_of(structure(mlp(5))))
    assert shapes["module.0.weight"] == (5, 4)
    assert shapes["module.1.running_mean"] == (5,)


@pytest.mark.parametrize(
    ("first", "second", "are_alike"),
    [
        (mlp(5), mlp(6), True),
        (mlp(5), mlp(6, dropout=0.1), False),
        (nn.Linear(4, 5), nn.Linear(4, 6, bias=False), False),
        (nn.Linear(4, 5), nn.Linear(4, 6).double(), False),
        (nn.Conv1d(4, 8, 3), nn.Conv1d(4, 9, 3), True),
        (nn.Conv1d(4, 8, 3, stride=2), nn.Conv1d(4, 9, 3), False),
        (Powered(5, 7), Powered(6, 7), True),
        (Powered(5, 7), Powered(6, 8), False),
    ],
    ids=range(8),
)
def test_models_are_alike_but_for_sizes(first, second, are_alike):
    structures = structure(first), structure(second)
    assert structures[0] != structures[1]
    assert (without_sizes(structures[0]) == without_sizes(structures[1])) == are_alike
