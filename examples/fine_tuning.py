"""
Fine-tuning
===========

A network that has seen thousands of photographs of some clothes learns others from two of each:
its layers are kept, its head is new.
"""

# %%
# Data
# ----
# Fashion-MNIST, as in ``fashion_mnist.py``. Five kinds of clothes have many images; of the other
# five there are two images each.
import argparse
import gzip
from pathlib import Path

import numpy as np
from datasets import fetch_fashion_mnist

parser = argparse.ArgumentParser()
parser.add_argument("--data", type=Path, metavar="FOLDER", help="holds the four IDX files")
folder = parser.parse_args().data or fetch_fashion_mnist()


def read_idx(name):
    """Read a gzipped IDX file of bytes."""
    content = gzip.decompress((folder / name).read_bytes())
    n_dimensions = content[3]
    shape = np.frombuffer(content, ">i4", count=n_dimensions, offset=4)
    return np.frombuffer(content, "uint8", offset=4 + 4 * n_dimensions).reshape(shape)


def read(part, n_rows):
    """Read images of shape (n, 1, 28, 28), from 0 to 1 and then shifted, and their labels."""
    images = read_idx(f"{part}-images-idx3-ubyte.gz")[:n_rows, np.newaxis]
    labels = read_idx(f"{part}-labels-idx1-ubyte.gz")[:n_rows]
    return (images / np.float32(255) - np.float32(0.29)) / np.float32(0.35), labels


X_train, y_train = read("train", 8000)
X_test, y_test = read("t10k", 3000)
new = [0, 2, 5, 6, 7]  # T-shirt, pullover, sandal, shirt, sneaker
is_old, is_new_test = ~np.isin(y_train, new), np.isin(y_test, new)
print(f"Images of five kinds to train on: {is_old.sum()}; of the five others: 10")

# %%
# Training, and what is kept
# --------------------------
# The module has its layers under one name and its head under another. Only the layers' weights are
# saved.
import tempfile

import torch
from torch import nn

from sktorch import TorchClassifier


class Net(nn.Module):
    """Three convolutions, and a linear head."""

    def __init__(self, n_outputs):
        super().__init__()
        widths = [(1, 16), (16, 32), (32, 32)]
        blocks = [
            [nn.Conv2d(*width, kernel_size=3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
            for width in widths
        ]
        self.features = nn.Sequential(*(layer for block in blocks for layer in block))
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(32 * 9, n_outputs))

    def forward(self, X):
        return self.head(self.features(X))


old = TorchClassifier(
    Net, lr=3e-3, lr_schedule="one_cycle", max_epochs=6, batch_size=64, random_state=0
)
old.fit(X_train[is_old], y_train[is_old])
print(f"Trained on old kinds: {old.score(X_test[~is_new_test], y_test[~is_new_test]):.3f}")
saved = Path(tempfile.mkdtemp(), "features.pt")
torch.save(old.module_.features.state_dict(), saved)

# %%
# A new head
# ----------
# A function that returns a module is a module, too, and ``n_outputs`` is filled in from the new
# labels. ``weights_only`` lets the file hold tensors and no code.


def frozen(n_outputs):
    """Trained layers that stay as they are, and a new head."""
    net = trainable(n_outputs)
    net.features.requires_grad_(False)
    return net


def trainable(n_outputs):
    """Trained layers that are trained further, and a new head."""
    net = Net(n_outputs)
    net.features.load_state_dict(torch.load(saved, weights_only=True))
    return net


# %%
# Patterns of names give groups of parameters their own settings: here the trained layers move ten
# times slower than the head. One more line would tell the first convolution from the others.
recipe = {"max_epochs": 40, "n_iter_no_change": 40}
ways = {
    "From scratch": TorchClassifier(Net, lr=1e-2, **recipe),
    "Trained layers, slow": TorchClassifier(
        trainable,
        lr=3e-3,
        optimizer__param_groups=[("features.*", {"lr": 3e-4})],
        **recipe,
    ),
    "Trained layers, frozen": TorchClassifier(frozen, lr=3e-3, **recipe),
}

# %%
# Two images of a kind
# --------------------
# Which two matters, so each way is trained on five draws, and judged on all test images of the new
# kinds. The more images there are, the less trained layers help: with five of a kind, they are no
# better than a training from scratch.
accuracies = {name: [] for name in ways}
for draw in range(5):
    random = np.random.default_rng(draw)
    rows = [random.choice(np.flatnonzero(y_train == kind), 2, replace=False) for kind in new]
    rows = np.concatenate(rows)
    for name, net in ways.items():
        net.set_params(random_state=draw).fit(X_train[rows], y_train[rows])
        accuracies[name].append(net.score(X_test[is_new_test], y_test[is_new_test]))

print("New kinds, test accuracy    worst     mean")
for name, values in accuracies.items():
    print(f"{name:24}{min(values):9.3f}{np.mean(values):9.3f}")

# %%
# Each dot is a draw of two images of a kind, each bar the mean.
import matplotlib.pyplot as plt

figure, ax = plt.subplots(figsize=(7, 2.6), layout="constrained")
for place, values in enumerate(accuracies.values()):
    ax.plot(values, [place] * len(values), "o", alpha=0.6)
    ax.plot(np.mean(values), place, "|", color="black", markersize=20)
ax.set_yticks(range(len(accuracies)), accuracies)
ax.invert_yaxis()
ax.set(xlabel="test accuracy on new kinds")
plt.show()
