"""Every optimizer and every loss that torch has lowers the loss, or is named with the reason."""

import pytest
import torch
from sklearn.datasets import load_diabetes
from torch import nn

from sktorch import TorchClassifier
from sktorch.training.loop import train_epoch
from sktorch.training.losses import LossFunction
from sktorch.training.quantile import QuantileLoss
from sktorch.training.step import make_step

QUICK = {"max_epochs": 10, "batch_size": 64, "random_state": 0, "device": "cpu"}
N_ROWS = 400

OPTIMIZERS = sorted(
    name
    for name, kind in vars(torch.optim).items()
    if isinstance(kind, type)
    and issubclass(kind, torch.optim.Optimizer)
    and kind is not torch.optim.Optimizer  # the base class
)
LOSSES = sorted(name for name in dir(nn) if "Loss" in name)


def without_biases(n_features, n_outputs, dtype):
    layer = nn.Linear(n_features, 32, bias=False, dtype=dtype)
    return nn.Sequential(layer, nn.ReLU(), nn.Linear(32, n_outputs, bias=False, dtype=dtype))


class GreyValues(nn.Module):
    """Scores of an image from a table of pixels and their grey values, of sparse gradients."""

    def __init__(self, n_features, n_outputs):
        super().__init__()
        self.first_rows = 17 * torch.arange(n_features)
        self.table = nn.EmbeddingBag(17 * n_features, n_outputs, mode="mean", sparse=True)

    def forward(self, X):
        return self.table(X.long() + self.first_rows)


# What an optimizer needs beside its learning rate.
SETTINGS = {
    "Adadelta": {"lr": 1.0},
    "Adafactor": {"lr": 0.1},  # Its step is scaled down by the norm of the parameters.
    "Adagrad": {"lr": 0.05},
    "ASGD": {"lr": 0.1},
    "LBFGS": {"lr": 0.1, "batch_size": N_ROWS},  # It takes the loss for one that stays the same.
    "Muon": {"module": without_biases, "lr": 0.02},  # It takes matrices only.
    "Rprop": {"batch_size": N_ROWS},  # It compares signs of gradients from step to step.
    "SGD": {"lr": 0.1},
    "SparseAdam": {"module": GreyValues, "lr": 0.5},  # It takes sparse gradients only.
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_lowers_the_loss(digits_images, name):
    images, labels = digits_images
    X = images.reshape(len(images), -1)[:N_ROWS]
    if name == "SparseAdam":
        X = (16 * X).astype("int64")
    settings = QUICK | {"lr": 0.01} | SETTINGS.get(name, {})
    classifier = TorchClassifier(optimizer=getattr(torch.optim, name), **settings)
    classifier.fit(X, labels[:N_ROWS])
    first, *_, last = classifier.loss_curve_
    assert last < 0.7 * first
    assert classifier.score(X, labels[:N_ROWS]) > 0.8


def ending_in(layer):
    def make_module(n_features, n_outputs, dtype):
        return nn.Sequential(nn.Linear(n_features, n_outputs, dtype=dtype), layer)

    return make_module


# Losses of class labels, with the module that they need.
CLASSIFICATION = {
    "BCELoss": ending_in(nn.Sigmoid()),
    "BCEWithLogitsLoss": None,
    "CrossEntropyLoss": None,
    "MultiMarginLoss": None,
    "NLLLoss": ending_in(nn.LogSoftmax(dim=1)),
    "SoftMarginLoss": None,
}
# Losses of numbers: how a module's output becomes their arguments.
REGRESSION = {
    "GaussianNLLLoss": lambda output: (output[:, 0], nn.functional.softplus(output[:, 1])),
    "HuberLoss": lambda output: (output[:, 0],),
    "L1Loss": lambda output: (output[:, 0],),
    "MSELoss": lambda output: (output[:, 0],),
    "PoissonNLLLoss": lambda output: (output[:, 0],),
    "QuantileLoss": lambda output: (output[:, 0],),
    "SmoothL1Loss": lambda output: (output[:, 0],),
}
# Losses of several labels a row: how indicators become their target.
MULTILABEL = {
    "MultiLabelMarginLoss": lambda indicators: _positions(indicators),
    "MultiLabelSoftMarginLoss": lambda indicators: indicators,
}
EXCLUDED = {
    "AdaptiveLogSoftmaxWithLoss": "returns outputs beside the loss, and holds the last layer",
    "CosineEmbeddingLoss": "takes pairs of inputs",
    "CTCLoss": "takes sequences, with their lengths",
    "HingeEmbeddingLoss": "takes distances within pairs of inputs, and falls without bound else",
    "KLDivLoss": "takes distributions for targets, not labels",
    "LinearCrossEntropyLoss": "holds the last layer, whose outputs a prediction would need",
    "MarginRankingLoss": "takes pairs of inputs",
    "NLLLoss2d": "is the old name of NLLLoss",
    "TripletMarginLoss": "takes triplets of inputs",
    "TripletMarginWithDistanceLoss": "takes triplets of inputs",
}


def _positions(indicators):
    """Positions of each row's labels, then -1, as MultiLabelMarginLoss wants them."""
    positions = torch.arange(indicators.shape[1]).expand_as(indicators)
    ordered = positions.masked_fill(indicators == 0, indicators.shape[1]).sort(dim=1).values
    return ordered.masked_fill(ordered == indicators.shape[1], -1)


def test_every_loss_has_one_place():
    tables = [CLASSIFICATION, REGRESSION, MULTILABEL, EXCLUDED]
    placed = [name for table in tables for name in table]
    assert len(placed) == len(set(placed))
    assert set(LOSSES) <= set(placed)  # An older torch has fewer.
    assert len(LOSSES) >= 20
    assert len(OPTIMIZERS) >= 14


@pytest.mark.parametrize("name", CLASSIFICATION)
@pytest.mark.parametrize("n_classes", [2, 10])
def test_a_loss_of_labels_falls(digits_images, name, n_classes):
    images, labels = digits_images
    X, y = images.reshape(len(images), -1)[:N_ROWS], labels[:N_ROWS] % n_classes
    classifier = TorchClassifier(
        CLASSIFICATION[name], criterion=getattr(nn, name), lr=0.02, **QUICK
    )
    classifier.fit(X, y)
    first, *_, last = classifier.loss_curve_
    assert last < 0.7 * first
    assert classifier.score(X, y) > 0.8


def train(criterion, X, y, n_outputs):
    """Mean loss of each epoch of a linear module."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Linear(X.shape[1], n_outputs)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
    step = make_step(module, LossFunction(criterion), optimizer)
    batches = [*zip(X.split(64), y.split(64), [None] * len(X.split(64)), strict=True)]
    return [sum(train_epoch(module, step, batches)[0]) for _ in range(10)]


@pytest.mark.parametrize("name", REGRESSION)
def test_a_loss_of_numbers_falls(name):
    loss = (QuantileLoss if name == "QuantileLoss" else getattr(nn, name))()
    X, y = (torch.as_tensor(a, dtype=torch.float32) for a in load_diabetes(return_X_y=True))
    X = (X - X.mean(0)) / X.std(0)
    y = y / y.mean() if name == "PoissonNLLLoss" else (y - y.mean()) / y.std()

    def criterion(output, target):
        location, *variance = REGRESSION[name](output)
        return loss(location, target, *variance)

    first, *_, last = train(criterion, X, y, n_outputs=2)
    assert last < 0.95 * first


@pytest.mark.parametrize("name", MULTILABEL)
def test_a_loss_of_several_labels_falls(digits_images, name):
    images, labels = digits_images
    y = torch.as_tensor(labels)
    indicators = torch.stack([y % 2 == 0, y % 3 == 0, y > 4], dim=1).float()
    X = torch.as_tensor(images).flatten(1)
    first, *_, last = train(getattr(nn, name)(), X, MULTILABEL[name](indicators), n_outputs=3)
    assert last < 0.7 * first
