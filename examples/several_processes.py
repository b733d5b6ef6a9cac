"""
One fit in several processes
============================

A net trains in several processes, each of which computes its share of every batch. That pays where
steps are long; here they are short, so that the example is. Run this file by itself, and then with
two processes::

    python examples/several_processes.py
    torchrun --nproc-per-node 2 examples/several_processes.py

Under torchrun every process calls ``fit`` with the same arguments, and has the same fitted
estimator afterwards.
"""

# %%
# Digits as images, and a convolutional network.
import time

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score, train_test_split

from sktorch import TorchClassifier
from sktorch.modules import ConvNet

digits = load_digits()
images = (digits.images[:, None] / 16).astype("float32")
X_train, X_test, y_train, y_test = train_test_split(images, digits.target, random_state=0)

net = TorchClassifier(
    ConvNet,
    module__hidden=(32, 64),
    max_epochs=10,
    batch_size=128,
    early_stopping=True,
    verbose=1,  # rank 0 prints
    random_state=0,
)

# %%
# Early stopping looks at the validation rows of all processes, so all stop in the same epoch.
start = time.perf_counter()
net.fit(X_train, y_train)
seconds = time.perf_counter() - start

# %%
# Each process has the whole model, and predicts by itself; so one of them is enough to tell.
is_first = not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0
if is_first:
    print(f"{seconds:.1f} s, test accuracy {net.score(X_test, y_test):.3f}")

# %%
# Whatever fits an estimator does so in all processes: here a cross-validation, whose scores are the
# same everywhere.
scores = cross_val_score(net.set_params(max_epochs=2, verbose=0), X_train, y_train, cv=3)
if is_first:
    print("cross-validated", np.round(scores, 3))

# %%
# Every process has the history, too; one draws it.
if is_first:
    import matplotlib.pyplot as plt

    from sktorch.inspection import LearningCurveDisplay

    LearningCurveDisplay.from_estimator(net)
    plt.show()
