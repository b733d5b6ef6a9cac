"""
A raw table
===========

From a file with missing values, categories and lopsided numbers to a net in one pipeline: does
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
# Cleaning
# --------
# Numbers are clipped and scaled; up to ten categories become columns of 0 and 1, and more become
# codes, from 1 to the number of categories. The cleaner works with any estimator of scikit-learn.
from sktorch.preprocessing import make_cleaner

cleaner = make_cleaner().fit(X_train)
print(cleaner.transform(X_train.iloc[[0, 14, 27]]).T)

# %%
# An occupation never seen before, one that is missing, and ages as text: a missing number is filled
# with the median, which is scaled to 0, and the code of what is missing or unknown is 0.
strange = X_test.iloc[:2].assign(occupation="Astronaut", workclass=None, age=["41", "?"])
print(cleaner.transform(strange)[["age", "workclass_Private", "occupation"]])

# %%
# A net
# -----
# ``TabularMLP`` learns a vector for each code. The classifier tells it which columns hold codes,
# and how many there are. Early stopping holds out a tenth of the training rows.
from sklearn.pipeline import make_pipeline

from sktorch import TorchClassifier
from sktorch.modules import TabularMLP

net = make_pipeline(
    make_cleaner(),
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

# %%
# Against a linear model and trees
# --------------------------------
# The same cleaner serves both: all categories one-hot for the linear model, all of them codes for
# the trees, which see by the dtype that they are categories.
from time import perf_counter

from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

models = {
    "TabularMLP": net,
    "LogisticRegression": make_pipeline(
        make_cleaner(max_one_hot=50), LogisticRegression(max_iter=1000)
    ),
    "HistGradientBoosting": make_pipeline(
        make_cleaner(max_one_hot=0), HistGradientBoostingClassifier(random_state=0)
    ),
}
print("Test accuracy                 fit")
for name, model in models.items():
    start = perf_counter()
    model.fit(X_train, y_train)
    seconds = perf_counter() - start
    print(f"{name:22}{model.score(X_test, y_test):.3f}{seconds:6.1f} s")
