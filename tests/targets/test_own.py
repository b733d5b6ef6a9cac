"""The codec of a loss that reads outputs itself."""

import numpy as np
import pytest
import torch
from torch import nn

from sktorch.losses.registry import has_probabilities, reads_outputs
from sktorch.targets.columns import LabelColumns
from sktorch.targets.entries import EntryLabels
from sktorch.targets.indicators import Indicators
from sktorch.targets.labels import Labels
from sktorch.targets.numbers import Numbers
from sktorch.targets.own import OwnLoss


class Reading(nn.Module):
    def forward(self, output, target):
        return output.sum()

    def predict_proba(self, output):
        return output


class Predicting(Reading):
    predict_proba = None

    def predict(self, output):
        return output


NUMBERS = np.arange(6.0)
TARGETS = {
    "numbers": (Numbers.of(NUMBERS, None), NUMBERS, torch.float32),
    "columns of numbers": (Numbers((3,)), NUMBERS.reshape(2, 3), torch.float32),
    "pictures": (Numbers((1, 3)), NUMBERS.reshape(2, 1, 3), torch.float32),
    "labels": (Labels.of(np.array(["b", "a"])), np.array(["a", "b", "a"]), torch.int64),
    "indicators": (Indicators(2), np.array([[0, 1], [1, 1]]), torch.float32),
    "columns": (
        LabelColumns.of(np.array([["a", "b"], ["c", "d"]])),
        np.array([["c", "b"]]),
        torch.int64,
    ),
    "steps": (EntryLabels.of(np.array([[[1, 5]]])), np.array([[[5, 1]]]), torch.int64),
}


@pytest.mark.parametrize(("targets", "y", "dtype"), TARGETS.values(), ids=TARGETS.keys())
def test_a_target_has_the_shape_of_y_whatever_the_output(targets, y, dtype):
    codec = OwnLoss(targets)
    encoded = codec.encode(y)
    for output in (torch.zeros(len(y)), (torch.zeros(len(y), 7), torch.zeros(len(y)).long())):
        target = codec.target(Reading(), encoded, output)
        assert target.shape == y.shape
        assert target.dtype is dtype
    np.testing.assert_array_equal(codec.decode(encoded), y)


def test_the_likeliest_classes_are_predicted():
    p = torch.tensor([[0.2, 0.8], [0.9, 0.7]])
    labels = OwnLoss(Labels.of(np.array(["no", "yes"])))
    assert labels.predicted(Reading(), p).tolist() == [1, 0]
    assert OwnLoss(Indicators(2)).predicted(Reading(), p).tolist() == [[0, 1], [1, 1]]
    assert labels.decision(Reading(), p).tolist() == pytest.approx([np.log(4), np.log(7 / 9)])
    torch.testing.assert_close(OwnLoss(Indicators(2)).decision(Reading(), p), p.logit())


@pytest.mark.parametrize(
    ("loss", "reads"),
    [
        (Reading, True),
        (Predicting(), True),
        (nn.CrossEntropyLoss, False),
        (nn.AdaptiveLogSoftmaxWithLoss, False),  # It has a method `predict`, of another meaning.
        (lambda output, target: output, False),
        (lambda output: output, True),
    ],
)
def test_which_losses_read_outputs(loss, reads):
    assert reads_outputs(loss) is reads


def test_probabilities_are_those_of_the_loss():
    assert has_probabilities(Reading())
    assert has_probabilities(nn.CrossEntropyLoss)
    assert not has_probabilities(nn.MultiMarginLoss)
