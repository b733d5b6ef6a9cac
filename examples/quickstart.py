"""
Quickstart
==========

A neural net in the last step of a scikit-learn pipeline: cross-validate it, tune it, and compare
it with a linear model, on the handwritten digits that come with scikit-learn.
"""

# %%
# Data
# ----
# 1,797 images of 8×8 pixels, each a row of 64 numbers. Three parts: one to train on, one to choose
# a model by, one to judge the chosen model once.
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

X, y = load_digits(return_X_y=True)
X_rest, X_test, y_rest, y_test = train_test_split(X, y, test_size=0.2, stratify=y, random_state=0)
X_train, X_valid, y_train, y_valid = train_test_split(
    X_rest, y_rest, test_size=0.25, stratify=y_rest, random_state=0
)
print(f"Rows: {len(X_train)} train, {len(X_valid)} validation, {len(X_test)} test")

# %%
# A pipeline
# ----------
# Until it is given another module, ``TorchClassifier`` is a multi-layer perceptron. Fifty epochs,
# passes over the training rows, are enough here.
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktorch import TorchClassifier

net = make_pipeline(StandardScaler(), TorchClassifier(max_epochs=50, random_state=0))
net.fit(X_train, y_train)
print(f"First net, validation accuracy: {net.score(X_valid, y_valid):.3f}")

# %%
# Cross-validation
# ----------------
# Five fits, each judged on a fifth of the training rows.
from sklearn.model_selection import cross_val_score

scores = cross_val_score(net, X_train, y_train, cv=5)
print(f"First net, 5-fold cross-validation: {scores.mean():.3f} ± {scores.std():.3f}")

# %%
# Grid search
# -----------
# Double underscores reach the classifier's parameters, and its module's.
from sklearn.model_selection import GridSearchCV

grid = {
    "torchclassifier__lr": [1e-3, 1e-2],
    "torchclassifier__module__hidden": [(50,), (200,)],
}
search = GridSearchCV(net, grid, cv=3).fit(X_train, y_train)
print("Grid search, best parameters:")
for name, value in search.best_params_.items():
    print(f"    {name} = {value}")
print(f"Grid search, cross-validation accuracy: {search.best_score_:.3f}")

# %%
# Against a linear model
# ----------------------
# The validation rows choose, the test rows judge.
from sklearn.linear_model import LogisticRegression

linear = make_pipeline(StandardScaler(), LogisticRegression()).fit(X_train, y_train)
print("Accuracy              validation   test")
for name, model in {"Tuned net": search, "LogisticRegression": linear}.items():
    validation, test = model.score(X_valid, y_valid), model.score(X_test, y_test)
    print(f"{name:22}{validation:10.3f}{test:7.3f}")

# %%
# Curves and mistakes
# -------------------
# The training loss of the best candidate, epoch by epoch, and the digits that it takes for others.
import matplotlib.pyplot as plt
from sklearn.metrics import ConfusionMatrixDisplay

from sktorch.inspection import LearningCurveDisplay

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
LearningCurveDisplay.from_estimator(search, ax=left)
ConfusionMatrixDisplay.from_estimator(search, X_test, y_test, ax=right, colorbar=False)
plt.show()
