"""
A grid search that trains as one program
========================================

A grid search over a small net is many trainings in which the machine mostly waits. Under the
joblib backend "sktorch" they go through their batches together, and one line changes. Data:
the handwritten digits that come with scikit-learn.
"""

# %%
# A search
# --------
# Twelve candidates on five folds, sixty fits. Each scales its own fold and trains its own net.
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktorch import TorchClassifier

X, y = load_digits(return_X_y=True)
X = X.astype("float32")
net = TorchClassifier(max_epochs=10, batch_size=32, module__hidden=(50,), random_state=0)
grid = {
    "torchclassifier__lr": [1e-4, 3e-4, 1e-3, 3e-3],
    "torchclassifier__optimizer__weight_decay": [0, 0.01, 0.1],
}
search = GridSearchCV(make_pipeline(StandardScaler(), net), grid, cv=5, refit=False)

# %%
# One after the other
# -------------------
from time import perf_counter

start = perf_counter()
alone = search.fit(X, y).cv_results_["mean_test_score"]
time_alone = perf_counter() - start
print(f"One after the other: {time_alone:.1f} s")

# %%
# Together
# --------
# The line that changes. With ``verbose=1`` the backend says how many models train together, or why
# some do not.
import joblib

start = perf_counter()
with joblib.parallel_config("sktorch", verbose=1):
    search.fit(X, y)
time_together = perf_counter() - start
print(f"Together: {time_together:.1f} s, {time_alone / time_together:.1f} times as fast")

# %%
# The same models
# ---------------
# Each net has the initial weights, the batches and the number of epochs that it has alone, so the
# scores are the same but for rounding.
together = search.cv_results_["mean_test_score"]
print(f"Largest difference between mean scores: {abs(together - alone).max():.4f}")
print("Best parameters:")
for name, value in search.best_params_.items():
    print(f"    {name} = {value}")

# %%
# Which parameters matter
# -----------------------
# Each dot is a candidate, with the standard deviation over its folds.
import matplotlib.pyplot as plt

from sktorch.inspection import CandidatesDisplay

CandidatesDisplay.from_search(search)
plt.show()
