"""
Image classification
====================

A small convolutional network with batch norm and dropout, written as a plain ``nn.Module``, on the
handwritten digits that come with scikit-learn.
"""

# %%
# Images
# ------
# Torch wants images as N×C×H×W: here 1,797 images with one channel of 8×8 pixels.
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

digits = load_digits()
X = digits.images[:, np.newaxis].astype("float32") / 16  # pixels from 0 to 1
y = digits.target
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=0.25, stratify=y, random_state=0
)
print(f"Training images: {X_train.shape}, test images: {X_test.shape}")

# %%
# The network
# -----------
# ``n_outputs`` is filled in from the data. ``channels`` and ``dropout`` are parameters like any
# other: ``TorchClassifier(ConvNet, module__channels=32)``. The last layer returns logits.
from torch import nn


class ConvNet(nn.Module):
    """Two blocks of convolution, batch norm and pooling, then a linear layer."""

    def __init__(self, n_outputs, channels=16, dropout=0.3):
        super().__init__()
        self.blocks = nn.Sequential(
            self.block(1, channels),
            self.block(channels, 2 * channels),
        )
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(2 * channels * 2 * 2, n_outputs),
        )

    @staticmethod
    def block(n_in, n_out):
        return nn.Sequential(
            nn.Conv2d(n_in, n_out, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(),
            nn.MaxPool2d(2),  # half the height, half the width
        )

    def forward(self, images):
        return self.head(self.blocks(images))


# %%
# Training
# --------
# A tenth of the training images is held out. Training stops when the accuracy on them has not
# improved for ten epochs, and the weights of the best epoch are kept.
from sktorch import TorchClassifier

classifier = TorchClassifier(ConvNet, lr=3e-3, early_stopping=True, random_state=0)
classifier.fit(X_train, y_train)
print(f"Stopped after {classifier.n_epochs_} epochs")
print(f"Best accuracy on the held-out images: {max(classifier.validation_scores_):.3f}")

# %%
# The curves show when the held-out images have no more to gain.
import matplotlib.pyplot as plt

from sktorch.inspection import LearningCurveDisplay

LearningCurveDisplay.from_estimator(classifier)
plt.show()

# %%
# Per class
# ---------
from sklearn.metrics import classification_report

predicted = classifier.predict(X_test)
print(classification_report(y_test, predicted, digits=3))

# %%
# Mistakes, and what they were taken for, before images that were told right.
order = np.argsort(predicted == y_test, kind="stable")[:20]
figure, axes = plt.subplots(2, 10, figsize=(10, 2.8), layout="constrained")
for ax, row in zip(axes.flat, order, strict=True):
    ax.imshow(X_test[row, 0], cmap="gray_r")
    color = "black" if predicted[row] == y_test[row] else "tab:red"
    ax.set_title(predicted[row], color=color)
    ax.axis("off")
plt.show()
