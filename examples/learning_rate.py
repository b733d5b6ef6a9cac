"""
A learning rate to begin with
=============================

Thirty-two learning rates are tried side by side for a few epochs, from the same initial weights.
Data: the handwritten digits that come with scikit-learn.
"""

# %%
# The sweep
# ---------
# Two optimizers, whose rates mean different things.
from time import perf_counter

from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score

from sktorch import TorchClassifier
from sktorch.model_selection import learning_rate_sweep

X, y = load_digits(return_X_y=True)
X = X.astype("float32")
nets = {name: TorchClassifier(optimizer=name, random_state=0) for name in ("adamw", "sgd")}
sweeps = {}
for name, net in nets.items():
    start = perf_counter()
    sweeps[name] = learning_rate_sweep(net, X, y, random_state=0)
    print(f"{name}, {perf_counter() - start:.1f} s\n{sweeps[name]}\n")

# %%
# The curves
# ----------
# Pale lines are earlier epochs. Too low a rate has not moved yet, too high a one goes astray.
import matplotlib.pyplot as plt

from sktorch.inspection import LearningRateDisplay

figure, axes = plt.subplots(ncols=2, figsize=(10, 4), layout="constrained")
for ax, (name, sweep) in zip(axes, sweeps.items(), strict=True):
    LearningRateDisplay.from_sweep(sweep, ax=ax)
    ax.set_title(name)
plt.show()

# %%
# Trained in full
# ---------------
for name, net in nets.items():
    for lr in (1e-3, sweeps[name].suggestion):
        accuracy = cross_val_score(net.set_params(lr=lr), X, y).mean()
        print(f"{name}, lr={lr:.2g}: accuracy {accuracy:.3f}")
