"""Programs that run but can't mean what they say are warned of, once; right ones never."""

import re
import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelBinarizer, StandardScaler
from torch import nn

from sktorch import TorchClassifier, TorchRegressor
from sktorch.modules import ConvNet
from sktorch.preprocessing import make_cleaner

DIGITS = load_digits()
IMAGES = (DIGITS.images[:200] / 16).astype(np.float32)
LABELS = DIGITS.target[:200]
X, y = load_iris(return_X_y=True)
SCALED = StandardScaler().fit_transform(X).astype(np.float32)


def layers(*last):
    def make(n_features, n_outputs):
        return nn.Sequential(nn.Linear(n_features, n_outputs), *last)

    return make


class InForward(nn.Module):
    def __init__(self, n_features, n_outputs):
        super().__init__()
        self.output = nn.Linear(n_features, n_outputs)

    def forward(self, X):
        return torch.softmax(self.output(X), dim=1)


class Gated(InForward):
    """A softmax inside, and logits at the end."""

    def forward(self, X):
        return 3 * self.output(X * torch.softmax(X, dim=1))


def convolution(**parameters):
    return {"module": ConvNet, "module__hidden": 4} | parameters


def own_loss(output, target):
    return -output.gather(1, target[:, None]).log().mean()


def mixed_indicators(n):
    return (np.random.default_rng(0).random((n, 3)) < 0.5).astype(int)


TWO = y[:100]
# Settings, data, and what the warning names: the fault and what to change.
DOUBTFUL = {
    "softmax layer, cross-entropy": ({"module": layers(nn.Softmax(1))}, (SCALED, y), "softmax"),
    "softmax in forward": ({"module": InForward}, (SCALED, y), "softmax"),
    "softmax, two classes": ({"module": layers(nn.Softmax(1))}, (SCALED[:100], TWO), "softmax"),
    "softmax, by name of the loss": (
        {"module": layers(nn.Softmax(1)), "criterion": "cross_entropy"},
        (SCALED, y),
        "softmax",
    ),
    "softmax, function of torch": (
        {"module": layers(nn.Softmax(1)), "criterion": nn.functional.cross_entropy},
        (SCALED, y),
        "softmax",
    ),
    "sigmoid, loss of logits": (
        {
            "module": layers(nn.Sigmoid()),
            "criterion": "bce_with_logits",
        },
        (SCALED[:100], TWO),
        "sigmoid",
    ),
    "pictures without channels": (convolution(), (IMAGES, LABELS), r"N×C×H×W|channel|reshape"),
    "flattened pictures": (
        convolution(),
        (IMAGES.reshape(200, -1), LABELS),
        r"N×C×H×W|channel|reshape",
    ),
    "one-hot labels": ({}, (SCALED, LabelBinarizer().fit_transform(y)), "argmax|one-hot"),
    "one-hot labels of two columns": (
        {},
        (SCALED[:100], np.eye(2, dtype=int)[TWO]),
        "argmax|one-hot",
    ),
}
RIGHT = {
    "logits": ({"module": layers()}, (SCALED, y)),
    "log-softmax, cross-entropy": ({"module": layers(nn.LogSoftmax(1))}, (SCALED, y)),
    "log-softmax, NLL": ({"module": layers(nn.LogSoftmax(1)), "criterion": "nll"}, (SCALED, y)),
    "softmax inside": ({"module": Gated}, (SCALED, y)),
    "softmax, a loss of one's own": (
        {"module": layers(nn.Softmax(1)), "criterion": own_loss},
        (SCALED, y),
    ),
    "sigmoid, loss of probabilities": (
        {"module": layers(nn.Sigmoid()), "criterion": "bce"},
        (SCALED[:100], TWO),
    ),
    "outputs that begin at zero": (
        {"module": layers(), "initializer": {"*": "zeros"}},
        (SCALED, y),
    ),
    "pictures": (convolution(), (IMAGES[:, None], LABELS)),
    "series": (convolution(), (np.random.default_rng(0).random((60, 2, 50)), np.arange(60) % 2)),
    "several labels": ({}, (SCALED, mixed_indicators(150))),
    "iris as it comes": ({}, (X, y)),
    "digits as they come": ({}, (DIGITS.data[:200], LABELS)),
    "scaled": ({}, (SCALED, y)),
    "zeros and ones": ({}, ((SCALED > 0).astype(int), y)),
    "counts": ({}, (np.random.default_rng(0).poisson(3, (150, 4)), y)),
    "inputs of millions": ({}, (SCALED * 1e6 + 1e6, y)),
    "inputs of millionths": ({}, (SCALED * 1e-6, y)),
    "one column of millions": ({}, (SCALED * np.array([1, 1, 1e7, 1], np.float32), y)),
    "one column that is constant": ({}, (SCALED * [1, 1, 1, 0] + [0, 0, 0, 1], y)),
}


def fitted(settings, data, kind=TorchClassifier, n_epochs=2):
    """Fit, and return the messages of what was warned of."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        kind(**{"max_epochs": n_epochs, "random_state": 0} | settings).fit(*data)
    return [str(warning.message) for warning in seen]


@pytest.mark.parametrize(("settings", "data", "words"), DOUBTFUL.values(), ids=DOUBTFUL.keys())
def test_a_doubtful_program_is_warned_of_once(settings, data, words):

    messages = fitted(settings, data)
    assert len(messages) == 1, messages
    assert re.search(words, messages[0], re.IGNORECASE), messages


@pytest.mark.parametrize(("settings", "data"), RIGHT.values(), ids=RIGHT.keys())
def test_a_right_program_is_not_warned_of(settings, data):
    assert fitted(settings, data) == []


@pytest.mark.parametrize("load", [load_diabetes])
def test_numbers_of_the_first_examples_are_not_warned_of(load):
    assert fitted({}, load(return_X_y=True), TorchRegressor) == []


def test_inputs_that_a_pipeline_scales_are_not_warned_of():
    X, y = load_breast_cancer(return_X_y=True)
    for first in (StandardScaler(), make_cleaner()):
        pipeline = make_pipeline(first, TorchClassifier(max_epochs=1))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            pipeline.fit(X * 1e6, y)


def test_a_module_that_scales_its_inputs_is_not_warned_of():
    class Scaling(nn.Sequential):
        def __init__(self, n_features, n_outputs):
            super().__init__(nn.BatchNorm1d(n_features), nn.Linear(n_features, n_outputs))

    assert fitted({"module": Scaling}, (SCALED * 1e6, y)) == []
