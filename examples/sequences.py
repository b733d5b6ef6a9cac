"""
Sequences of differing lengths
==============================

Nine men say "ae", and an LSTM tells which of them spoke: JapaneseVowels, 640 recordings of 12
numbers (LPC cepstrum coefficients) at each of 7 to 29 steps.
"""

# %%
# Data
# ----
# ``python examples/datasets.py japanese_vowels`` fetches the two files; ``--data FOLDER`` takes
# them from elsewhere. After its header, a .ts file has a line for each recording: colons separate
# the channels and, last, the label, commas the values of a channel.
import argparse
from pathlib import Path

import numpy as np
from datasets import fetch_japanese_vowels

parser = argparse.ArgumentParser()
parser.add_argument("--data", type=Path, metavar="FOLDER", help="holds the two .ts files")
folder = parser.parse_args().data or fetch_japanese_vowels()


def read_ts(path):
    """Read sequences of shape (n_steps, n_channels), and their labels."""
    lines = path.read_text().partition("@data\n")[2].splitlines()
    rows = [line.split(":") for line in lines]
    X = [np.array([channel.split(",") for channel in row[:-1]], "float32").T for row in rows]
    return X, np.array([row[-1] for row in rows])


X_train, y_train = read_ts(folder / "JapaneseVowels_TRAIN.ts")
X_test, y_test = read_ts(folder / "JapaneseVowels_TEST.ts")
print(f"Sequences: {len(X_train)} train, {len(X_test)} test")
print("Shapes of the first three:", *(sequence.shape for sequence in X_train[:3]))

# %%
# Three recordings of each of three speakers, the first of twelve channels.
import matplotlib.pyplot as plt

figure, axes = plt.subplots(1, 3, figsize=(10, 3), sharey=True, layout="constrained")
for ax, speaker in zip(axes, np.unique(y_train), strict=False):
    for row in np.flatnonzero(y_train == speaker)[:3]:
        ax.plot(X_train[row][:, 0], marker=".")
    ax.set(title=f"speaker {speaker}", xlabel="step")
axes[0].set_ylabel("first coefficient")
plt.show()

# %%
# A recurrent network
# -------------------
# X is a list of arrays. A batch of them is padded to the longest, and the module's ``forward`` gets
# ``(padded, lengths)``, so that what stands in the padding changes nothing.
from sktorch import TorchClassifier
from sktorch.modules import RecurrentNet

lstm = TorchClassifier(
    RecurrentNet,
    module__cell="lstm",
    module__bidirectional=True,
    module__normalization="batch",
    module__dropout=0.3,
    lr=1e-2,
    lr_schedule="one_cycle",
    max_epochs=40,
    batch_size=32,
    random_state=0,
)

# %%
# A simple baseline
# -----------------
# Mean and standard deviation of each channel, and a linear model.
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler


def summarise(sequences):
    """Mean and standard deviation of each channel: shape (n_sequences, 2 × n_channels)."""
    return np.array([np.r_[one.mean(axis=0), one.std(axis=0)] for one in sequences])


linear = make_pipeline(
    FunctionTransformer(summarise), StandardScaler(), LogisticRegression(max_iter=1000)
)

# %%
# Cross-validation, and the test
# ------------------------------
# Five fits of each on the training recordings, then one more that the test recordings judge. The
# net, which sees the order of the steps, is right about three more recordings in a hundred.
from sklearn.model_selection import cross_val_score

print("Accuracy              cross-validation    test")
for name, model in {"LSTM": lstm, "LogisticRegression": linear}.items():
    scores = cross_val_score(model, X_train, y_train, cv=5)
    test = model.fit(X_train, y_train).score(X_test, y_test)
    print(f"{name:22}{scores.mean():8.3f} ± {scores.std():.3f}{test:8.3f}")

# %%
# The learning rate of ``one_cycle`` rises and falls again; the loss follows.
from sktorch.inspection import LearningCurveDisplay

LearningCurveDisplay.from_estimator(lstm)
plt.show()
