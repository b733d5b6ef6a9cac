"""
Fashion-MNIST
=============

The classic exercise at full size: a convolutional network tells ten kinds of clothes apart on
60,000 photographs of 28×28 grey pixels, and 10,000 more judge it.
"""

# %%
# Options
# -------
# The defaults take all images, and a minute or two on two idle CPU cores.
import argparse
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--data", type=Path, metavar="FOLDER", help="holds the four IDX files")
parser.add_argument("--epochs", type=int, default=8)
parser.add_argument("--rows", type=int, help="number of training images, all by default")
options = parser.parse_args()

# %%
# Images
# ------
# An IDX file is a few big-endian integers, the last of them the shape, and then the bytes. Without
# ``--data``, the files come out of Debian's package ``dataset-fashion-mnist``.
import gzip

import numpy as np
from datasets import fetch_fashion_mnist


def read_idx(path):
    """Read a gzipped IDX file of bytes."""
    content = gzip.decompress(path.read_bytes())
    n_dimensions = content[3]
    shape = np.frombuffer(content, ">i4", count=n_dimensions, offset=4)
    return np.frombuffer(content, "uint8", offset=4 + 4 * n_dimensions).reshape(shape)


folder = options.data or fetch_fashion_mnist()
names = np.array(
    [
        *("T-shirt", "trousers", "pullover", "dress", "coat"),
        *("sandal", "shirt", "sneaker", "bag", "boot"),
    ]
)
images_train = read_idx(folder / "train-images-idx3-ubyte.gz")[: options.rows]
images_test = read_idx(folder / "t10k-images-idx3-ubyte.gz")
y_train = names[read_idx(folder / "train-labels-idx1-ubyte.gz")][: options.rows]
y_test = names[read_idx(folder / "t10k-labels-idx1-ubyte.gz")]
print(f"Training images: {images_train.shape}, test images: {images_test.shape}")

# %%
# Torch wants N×C×H×W, here with one channel. Bytes become numbers from 0 to 1, then numbers of mean
# 0 and standard deviation 1, both of them measured on the training images alone.
mean, std = (images_train / np.float32(255)).mean(), (images_train / np.float32(255)).std()


def scale(images):
    """Images as a network wants them: float32 of shape (n, 1, 28, 28)."""
    return (images[:, np.newaxis] / np.float32(255) - mean) / std


X_train, X_test = scale(images_train), scale(images_test)

# %%
# The network
# -----------
# Two convolutions, each followed by a pooling that halves height and width, and two linear layers
# with dropout before each. ``n_outputs`` is filled in from the labels. The last layer returns
# logits.
from torch import nn


class ConvNet(nn.Module):
    """Two convolutions and two linear layers."""

    def __init__(self, n_outputs, channels=16, hidden=128, dropout=0.25):
        super().__init__()
        self.conv1 = nn.Conv2d(1, channels, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(channels, 2 * channels, kernel_size=3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(dropout)
        self.linear1 = nn.Linear(2 * channels * 7 * 7, hidden)
        self.linear2 = nn.Linear(hidden, n_outputs)

    def forward(self, X):
        X = self.pool(self.conv1(X).relu())  # N×16×14×14
        X = self.pool(self.conv2(X).relu())  # N×32×7×7
        X = self.dropout(X.flatten(start_dim=1))
        X = self.dropout(self.linear1(X).relu())
        return self.linear2(X)


# %%
# Training and validation
# -----------------------
# A tenth of the images is held out and judged after every epoch; the weights of the best epoch
# are kept. The learning rate rises to ``lr`` and falls to zero again.
from sktorch import TorchClassifier

classifier = TorchClassifier(
    ConvNet,
    lr=3e-3,
    lr_schedule="one_cycle",
    max_epochs=options.epochs,
    early_stopping=True,
    random_state=0,
    verbose=1,
)
classifier.fit(X_train, y_train)
print(f"Best epoch: {classifier.best_epoch_}")

# %%
# The losses of training are those of a net with dropout, so they may be above the others.
import matplotlib.pyplot as plt

from sktorch.inspection import LearningCurveDisplay

LearningCurveDisplay.from_estimator(classifier)
plt.show()

# %%
# Test
# ----
# All sixty thousand images give about 92 % accuracy.
from sklearn.metrics import confusion_matrix

probabilities = classifier.predict_proba(X_test)
predicted = classifier.classes_[probabilities.argmax(axis=1)]
print(f"Test accuracy: {np.mean(predicted == y_test):.4f}")

# %%
# A row for each true class, a column for each predicted one, in the same order: shirts are the
# hard ones.
for name, counts in zip(names, confusion_matrix(y_test, predicted, labels=names), strict=True):
    print(f"{name:>10}" + "".join(f"{count:6}" for count in counts))

# %%
# The worst mistakes are those that the network was surest of.
confidence = probabilities.max(axis=1)
mistakes = np.flatnonzero(predicted != y_test)
worst = mistakes[np.argsort(-confidence[mistakes])][:15]
for row in worst[:5]:
    print(f"Image {row}: {y_test[row]}, taken for {predicted[row]} ({confidence[row]:.4f})")

# %%
# Drawn: how often each was taken for which, and the worst mistakes.
from sklearn.metrics import ConfusionMatrixDisplay

figure = plt.figure(figsize=(15, 7), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=(1.1, 1))
axes = left.subplots()
ConfusionMatrixDisplay.from_predictions(
    y_test, predicted, labels=names, ax=axes, colorbar=False, xticks_rotation="vertical"
)
axes.set_title(f"Test accuracy {np.mean(predicted == y_test):.1%}")
for row, axes in zip(worst, right.subplots(3, 5).flat, strict=False):
    axes.imshow(images_test[row], cmap="gray_r")
    axes.set_title(f"{y_test[row]},\nnot {predicted[row]}", fontsize=10)
    axes.axis("off")
right.suptitle("Worst mistakes: the true name, and what was predicted")
plt.show()
