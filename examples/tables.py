"""
A raw table
===========

From a file with missing values, categories and lopsided numbers to a classifier in one line: does
somebody earn more than 50,000 dollars a year? UCI Adult, 48,842 answers to the US census of 1994,
in the split that its authors made.
"""

# %%
# Data
# ----
# ``python examples/datasets.py adult`` fetches the two files; ``--data FOLDER`` takes them from
# elsewhere. They are read as they are: missing values are written "?".
import argparse
from pathlib import Path

import pandas as pd
from datasets import fetch_adult

parser = argparse.ArgumentParser()
parser.add_argument("--data", type=Path, metavar="FOLDER", help="holds adult.data and adult.test")
folder = parser.parse_args().data or fetch_adult()
names = [
    *("age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation"),
    *("relationship", "race", "sex", "capital-gain", "capital-loss", "hours-per-week"),
    *("native-country", "income"),
]
settings = {"header": None, "names": names, "skipinitialspace": True}
X_train = pd.read_csv(folder / "adult.data", **settings)
X_test = pd.read_csv(folder / "adult.test", skiprows=1, **settings)
y_train, y_test = (X.pop("income").str.rstrip(".") for X in (X_train, X_test))
print(f"Rows: {len(X_train)} train, {len(X_test)} test")
print(X_train.iloc[[0, 14, 27]].T)

# %%
# One line
# --------
# Cleaning, several nets that train as one program, the choice of the best epoch and the
# calibration of their probabilities are all inside.
from sktorch import TabularClassifier

classifier = TabularClassifier(random_state=0).fit(X_train, y_train)

# %%
# Each net holds out other rows, so that every training row is predicted by a net that has not seen
# it. That estimates the accuracy for new rows without a split; all nets together, which predict
# new rows, are mostly a little better.
print(f"Held-out estimate {classifier.validation_score_:.3f}")
print(f"TabularClassifier {classifier.score(X_test, y_test):.3f}")

# %%
# What became of each column
# --------------------------
# The report of the cleaner says what it read as missing, how it encoded each column, and what is
# worth a look.
report = classifier.cleaner_.report()
print(report)

# %%
# Notebooks show it as HTML. It is a list of dicts, one for each column.
report

# %%
# The same as a drawing, and the losses by epoch.
import matplotlib.pyplot as plt

from sktorch.inspection import CleaningDisplay, LearningCurveDisplay

CleaningDisplay.from_estimator(classifier)
LearningCurveDisplay.from_estimator(classifier)
plt.show()

# %%
# The longer way
# --------------
# The cleaner is a transformer that goes in front of any estimator. ``TabularMLP`` learns a vector
# for each code of a category; the classifier tells it which columns hold codes, and how many there
# are. Early stopping holds out a tenth of the rows.
from sklearn.pipeline import make_pipeline

from sktorch import TorchClassifier
from sktorch.modules import TabularMLP
from sktorch.preprocessing import make_cleaner

net = make_pipeline(
    make_cleaner(outliers="smooth"),
    TorchClassifier(
        TabularMLP,
        module__hidden=(200, 200),
        module__dropout=0.5,
        lr=2e-3,
        batch_size=512,
        early_stopping=True,
        random_state=0,
    ),
)
print(f"TabularMLP {net.fit(X_train, y_train).score(X_test, y_test):.3f}")
