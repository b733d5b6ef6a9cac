"""Every optimizer and every loss that torch has lowers the loss, or is named with the reason."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import StandardScaler
from torch import nn

from sktorch import TorchClassifier, TorchRegressor
from sktorch.losses import QuantileLoss

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


# Settings without which an optimizer does not train this model.
SETTINGS = {
    "Adadelta": {"lr": 1.0},
    "Adafactor": {"lr": 0.1},  # Its step is scaled down by the norm of the parameters.
    "Adagrad": {"lr": 0.05},
    "ASGD": {"lr": 0.5},
    "LBFGS": {"lr": 0.1, "batch_size": N_ROWS},  # It expects the same loss function in every step.
    "Muon": {"module": without_biases, "lr": 0.02},  # It takes matrices only.
    "Rprop": {"batch_size": N_ROWS},  # It compares signs of gradients from step to step.
    "SGD": {"lr": 0.5},
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
# Losses of numbers.
REGRESSION = [
    "GaussianNLLLoss",
    "HuberLoss",
    "L1Loss",
    "MSELoss",
    "PoissonNLLLoss",
    "QuantileLoss",
    "SmoothL1Loss",
]
# Losses of several labels a row, as indicators, with the module that they need.
MULTILABEL = {
    "BCELoss": CLASSIFICATION["BCELoss"],
    "BCEWithLogitsLoss": None,
    "MultiLabelSoftMarginLoss": None,
    "SoftMarginLoss": None,
}
EXCLUDED = {
    "AdaptiveLogSoftmaxWithLoss": "returns outputs beside the loss, and holds the last layer",
    "CosineEmbeddingLoss": "takes pairs of inputs",
    "CTCLoss": "takes sequences, with their lengths",
    "HingeEmbeddingLoss": "takes distances within pairs of inputs, and falls without bound else",
    "KLDivLoss": "takes distributions for targets, not labels",
    "LinearCrossEntropyLoss": "holds the last layer, whose outputs a prediction would need",
    "MarginRankingLoss": "takes pairs of inputs",
    "MultiLabelMarginLoss": "ranks labels, and sets no bound between those that apply and others",
    "NLLLoss2d": "is the old name of NLLLoss",
    "TripletMarginLoss": "takes triplets of inputs",
    "TripletMarginWithDistanceLoss": "takes triplets of inputs",
}


# An older torch has fewer.
EXCLUDED = {name: reason for name, reason in EXCLUDED.items() if name in LOSSES}


def test_every_loss_is_listed_once():
    placed = [*CLASSIFICATION, *REGRESSION, *EXCLUDED]
    assert len(placed) == len(set(placed))
    assert set(LOSSES) <= {*placed, *MULTILABEL}
    assert not set(MULTILABEL) & {*REGRESSION, *EXCLUDED}
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


@pytest.mark.parametrize("name", REGRESSION)
@pytest.mark.parametrize("n_targets", [1, 2])
def test_a_loss_of_numbers_falls(name, n_targets):
    X, y = load_diabetes(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    if n_targets > 1:
        y = np.column_stack([y, 400 - y])
    criterion = QuantileLoss if name == "QuantileLoss" else getattr(nn, name)
    regressor = TorchRegressor(criterion=criterion, lr=0.01, **QUICK | {"max_epochs": 30})
    regressor.fit(X, y)
    first, *_, last = regressor.loss_curve_
    assert last < 0.9 * first
    assert regressor.predict(X).shape == y.shape
    assert regressor.score(X, y) > 0.3


@pytest.mark.parametrize("name", MULTILABEL)
def test_a_loss_of_several_labels_falls(digits_images, name):
    images, labels = digits_images
    X = images.reshape(len(images), -1)[:N_ROWS]
    Y = np.column_stack([labels % 2 == 0, labels % 3 == 0, labels > 4])[:N_ROWS].astype(int)
    classifier = TorchClassifier(MULTILABEL[name], criterion=getattr(nn, name), lr=0.02, **QUICK)
    classifier.fit(X, Y)
    first, *_, last = classifier.loss_curve_
    assert last < 0.7 * first
    assert classifier.predict(X).shape == Y.shape
    assert (classifier.predict(X) == Y).mean() > 0.8


# Targets of each kind, and the losses that fit them; the others are refused.
TARGETS = {
    "labels": (TorchClassifier, np.arange(N_ROWS) % 3),
    "indicators": (TorchClassifier, np.eye(3, dtype=int)[np.arange(N_ROWS) % 3]),
    "numbers": (TorchRegressor, np.arange(N_ROWS) / N_ROWS),
}
FITTING = {
    "labels": {*CLASSIFICATION, "NLLLoss2d"},
    "indicators": {*MULTILABEL},
    "numbers": {*REGRESSION},
}


@pytest.mark.parametrize(
    ("targets", "name"),
    [(targets, name) for targets in TARGETS for name in LOSSES if name not in FITTING[targets]],
)
def test_other_losses_are_refused_before_training(digits_images, name, targets):
    images, _ = digits_images
    kind, y = TARGETS[targets]
    estimator = kind(criterion=getattr(nn, name), **QUICK)
    with pytest.raises(ValueError, match=rf"criterion {name} does not learn .*Choose one of"):
        estimator.fit(images[:N_ROWS], y)
    assert not hasattr(estimator, "net_")


def test_the_old_name_of_a_loss_warns():
    with pytest.raises(FutureWarning, match=r"NLLLoss2d.*deprecated"):
        TorchClassifier(criterion=nn.NLLLoss2d, **QUICK).fit(np.zeros((4, 2)), [0, 1, 0, 1])
