"""
A search that decides while it trains
=====================================

A grid search trains every candidate to the end, though most of them are far behind after a few
epochs. Successive halving looks in between: all candidates train for a few epochs, the best third
goes on, and so on. In ``HalvingSearchCV`` all of them train side by side as one program, and those
that go on do so from where they are. Data: the handwritten digits that come with scikit-learn.
"""

# %%
# Sixty candidates
# ----------------
# Rates and weight decays on five folds, three hundred nets. They have 4, 12 and 32 epochs to show
# what they can do. The cosine schedule is that of 32 epochs from the first one on.
from time import perf_counter

import numpy as np
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from sktorch import TorchClassifier
from sktorch.model_selection import HalvingSearchCV
from sktorch.modules import MLP

X, y = load_digits(return_X_y=True)
net = TorchClassifier(
    module=MLP,
    module__hidden=(50,),
    max_epochs=32,
    lr_schedule="cosine",
    random_state=0,
)
grid = {
    "torchclassifier__lr": np.logspace(-4, -1, 12),
    "torchclassifier__optimizer__weight_decay": [0, 1e-4, 1e-3, 1e-2, 1e-1],
}
search = HalvingSearchCV(make_pipeline(MinMaxScaler(), net), grid, min_resources=4, cv=5)

start = perf_counter()
search.fit(X.astype("float32"), y)
print(f"Search: {perf_counter() - start:.1f} s")
for n_candidates, n_epochs in zip(search.n_candidates_, search.n_resources_, strict=True):
    print(f"    {n_candidates} candidates until epoch {n_epochs}")
print(f"Best score: {search.best_score_:.4f}")
for name, value in search.best_params_.items():
    print(f"    {name} = {value:.2g}")

# %%
# Where each candidate ended
# --------------------------
# ``learning_curves_`` is a table of every epoch of every fit. Each line is a candidate, the mean of
# its folds; a dot is where it left, and the best one is black.
import matplotlib.pyplot as plt

from sktorch.inspection import CandidateCurvesDisplay, CandidatesDisplay

CandidateCurvesDisplay.from_search(search)
plt.show()

# %%
# The scores by parameter. Those of candidates that left early are scores after few epochs.
CandidatesDisplay.from_search(search)
plt.show()
