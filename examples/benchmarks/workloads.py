"""
Workloads of the benchmarks
===========================

The trainings that every contestant does: a module, its data and settings.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from sklearn.datasets import load_digits, load_iris, make_classification
from torch import nn

# %%
# Modules
# -------


def mlp(*widths):
    """Linear layers with ReLU between them."""
    layers = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def mlp_with(layer, *widths):
    """Linear layers, and a layer of its width and ReLU between them."""
    *hidden, n_outputs = widths
    layers = []
    for n_inputs, width in pairwise(hidden):
        layers += [nn.Linear(n_inputs, width), layer(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(hidden[-1], n_outputs))


def dropout(width):
    """Dropout, which draws random numbers in every step."""
    return nn.Dropout(0.2)


def cnn(shape, *channels, layer=nn.Identity):
    """Blocks of convolution, a layer of its channels, ReLU and pooling, then a linear layer."""
    n_channels, size, _ = shape
    layers = []
    for n_inputs, n_outputs in pairwise((n_channels, *channels)):
        convolution = nn.Conv2d(n_inputs, n_outputs, kernel_size=3, padding=1)
        layers += [convolution, layer(n_outputs), nn.ReLU(), nn.MaxPool2d(2)]
        size //= 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * size**2, 10))


class Recurrent(nn.Module):
    """A recurrent layer, and a linear one of its last step."""

    def __init__(self, layer, n_features, width, n_outputs):
        super().__init__()
        self.layer = layer(n_features, width, batch_first=True)
        self.head = nn.Linear(width, n_outputs)

    def forward(self, X):
        output, _ = self.layer(X)
        return self.head(output[:, -1])


class Transformer(nn.Module):
    """A transformer's layer, and a linear one of the mean over the steps."""

    def __init__(self, width, n_outputs):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0, batch_first=True)
        self.head = nn.Linear(width, n_outputs)

    def forward(self, X):
        return self.head(self.layer(X).mean(1))


# %%
# Data
# ----


def iris():
    """150 rows of 4 measurements."""
    X, y = load_iris(return_X_y=True)
    return X.astype("float32"), y


def digits(n_rows=None):
    """Handwritten digits, 64 pixels from 0 to 1."""
    X, y = load_digits(return_X_y=True)
    return (X[:n_rows] / 16).astype("float32"), y[:n_rows]


def pictures(n_rows=None, n_channels=1, side=8):
    """The digits as pictures; a larger side repeats pixels and crops, channels are all alike."""
    X, y = digits(n_rows)
    times = math.ceil(side / 8)
    X = X.reshape(-1, 8, 8).repeat(times, axis=1).repeat(times, axis=2)
    crop = (8 * times - side) // 2
    X = X[:, None, crop : crop + side, crop : crop + side]
    return np.ascontiguousarray(X.repeat(n_channels, axis=1)), y


def generated(n_rows, *shape, n_classes=3):
    """Clusters of points, half of the features informative."""
    n_features = math.prod(shape)
    X, y = make_classification(
        n_rows, n_features, n_informative=n_features // 2, n_classes=n_classes, random_state=0
    )
    return X.astype("float32").reshape(n_rows, *shape), y


# %%
# Workloads
# ---------


@dataclass(frozen=True)
class Workload:
    """A training that every contestant does; some tenths of a second to two seconds each.

    If it is ``cold``, each training records its steps anew.
    """

    about: str
    data: Callable
    module: Callable
    batch_size: int
    epochs: int
    lr: float = 1e-3
    n_predict: int = 200_000
    cold: bool = False

    @property
    def hidden(self):
        """Hidden layers for an ``MLPClassifier``; None where the module is no MLP."""
        return self.module.args[1:-1] if self.module.func is mlp else None


WORKLOADS = {
    "iris": Workload(
        "iris (real), 150×4, MLP 4-16-3, batch 32",
        iris, partial(mlp, 4, 16, 3), batch_size=32, epochs=100,
    ),
    "digits": Workload(
        "digits (real), 1,797×64, MLP 64-100-10, batch 128",
        digits, partial(mlp, 64, 100, 10), batch_size=128, epochs=50,
    ),
    "tabular": Workload(
        "generated, 20,000×50, MLP 50-100-3, batch 128",
        partial(generated, 20_000, 50), partial(mlp, 50, 100, 3), batch_size=128, epochs=5,
    ),
    "large": Workload(
        "generated, 1,000,000×20, MLP 20-100-2, batch 1,024",
        partial(generated, 1_000_000, 20, n_classes=2), partial(mlp, 20, 100, 2),
        batch_size=1024, epochs=1,
    ),
    "wide": Workload(
        "generated, 20,000×100, MLP 100-512-3, batch 256",
        partial(generated, 20_000, 100), partial(mlp, 100, 512, 3), batch_size=256, epochs=5,
    ),
    "batch_norm": Workload(
        "generated, 4,000×30, MLP 30-128-128-3 with batch norm, batch 128",
        partial(generated, 4_000, 30), partial(mlp_with, nn.BatchNorm1d, 30, 128, 128, 3),
        batch_size=128, epochs=20,
    ),
    "dropout": Workload(
        "generated, 4,000×30, MLP 30-128-128-3 with dropout, batch 128",
        partial(generated, 4_000, 30), partial(mlp_with, dropout, 30, 128, 128, 3),
        batch_size=128, epochs=20,
    ),
    "gru": Workload(
        "generated, 640×20×12, GRU 32, batch 32",
        partial(generated, 640, 20, 12), partial(Recurrent, nn.GRU, 12, 32, 3),
        batch_size=32, epochs=10, n_predict=5_000,
    ),
    "lstm": Workload(
        "generated, 640×20×12, LSTM 32, batch 32",
        partial(generated, 640, 20, 12), partial(Recurrent, nn.LSTM, 12, 32, 3),
        batch_size=32, epochs=20, n_predict=5_000,
    ),
    "transformer": Workload(
        "generated, 640×16×32, transformer layer 32, batch 32",
        partial(generated, 640, 16, 32), partial(Transformer, 32, 3),
        batch_size=32, epochs=10, n_predict=5_000,
    ),
    "cnn": Workload(
        "digits (real), 1,797×1×8×8, CNN 16-32, batch 64",
        pictures, partial(cnn, (1, 8, 8), 16, 32), batch_size=64, epochs=6, n_predict=20_000,
    ),
    "wide_cnn": Workload(
        "digits (real, enlarged), 320×1×28×28, CNN 32-64, batch 64",
        partial(pictures, 320, 1, 28), partial(cnn, (1, 28, 28), 32, 64),
        batch_size=64, epochs=2, n_predict=2_000,
    ),
    "cnn_batch_norm": Workload(
        "digits (real, enlarged), 320×3×32×32, CNN 16-32 with batch norm, batch 64",
        partial(pictures, 320, 3, 32), partial(cnn, (3, 32, 32), 16, 32, layer=nn.BatchNorm2d),
        batch_size=64, epochs=4, n_predict=2_000,
    ),
    "cold": Workload(
        "generated, 1,000×50, MLP 50-100-3, batch 128, ten epochs from a cold start",
        partial(generated, 1_000, 50), partial(mlp, 50, 100, 3),
        batch_size=128, epochs=10, cold=True,
    ),
}  # fmt: skip
