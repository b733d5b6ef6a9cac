"""
Real tables
===========

The sets of ``tables.py``, raw as their packages carry them, and generated ones that grow.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import make_classification

sys.path.append(str(Path(__file__).parents[1]))
from datasets import fetch_adult, fetch_casp, fetch_keel, fetch_modeldata

DEVELOPED_ON = ("adult", "german", "phoneme", "satimage", "splice")
CLASSIFICATION = (*DEVELOPED_ON, "letter", "spambase", "vehicle", "segment", "credit")
REGRESSION = ("ames", "concrete", "casp")
ADULT_NAMES = [
    *("age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation"),
    *("relationship", "race", "sex", "capital-gain", "capital-loss", "hours-per-week"),
    *("native-country", "income"),
]

# %%
# Real ones
# ---------


def load(name, max_rows):
    """X and y of a set; of more rows than ``max_rows``, the same random ones each time."""
    X, y = READERS[name]()
    X.columns = X.columns.astype(str)
    if len(X) > max_rows:
        kept = np.random.RandomState(0).permutation(len(X))[:max_rows]
        X, y = X.iloc[kept], y.iloc[kept]
    return X.reset_index(drop=True), y.to_numpy()


def whole_adult():
    """Adult in the split of its authors: X and y to train, X and y to test."""
    settings = {"header": None, "names": ADULT_NAMES, "skipinitialspace": True}
    parts = []
    for name, skipped in {"adult.data": 0, "adult.test": 1}.items():
        X = pd.read_csv(fetch_adult() / name, skiprows=skipped, **settings)
        y = X.pop("income").str.rstrip(".")
        parts += [X, y]
    return parts


def adult():
    """The training rows."""
    return whole_adult()[:2]


def keel(name):
    """A table whose last column is the class."""
    X = pd.read_csv(fetch_keel() / f"{name}.dat", header=None, skipinitialspace=True)
    return X, X.pop(X.columns[-1]).astype(str).str.strip()


def modeldata(name, target, dtype):
    """A table of R."""
    X = pd.read_pickle(fetch_modeldata() / f"{name}.pkl.compress", compression="xz")
    X = X.drop(columns="rownames", errors="ignore")
    return X, X.pop(target).astype(dtype)


def casp():
    """Protein structures."""
    X = pd.read_csv(fetch_casp() / "CASP.csv")
    return X, X.pop("RMSD").astype(float)


READERS = {
    "adult": adult,
    **{
        name: lambda name=name: keel(name)
        for name in CLASSIFICATION
        if name not in ("adult", "credit")
    },
    "credit": lambda: modeldata("credit_data", "Status", str),
    "ames": lambda: modeldata("ames", "Sale_Price", float),
    "concrete": lambda: modeldata("concrete", "compressive_strength", float),
    "casp": casp,
}

# %%
# Generated ones
# --------------


def generated(n_rows=4_000, n_columns=50, n_classes=2, n_categories=0):
    """Clusters of points; the first column holds categories of text, if there are any."""
    X, y = make_classification(
        n_rows,
        n_columns,
        n_informative=8,
        n_redundant=0,
        n_classes=n_classes,
        n_clusters_per_class=1,
        random_state=0,
    )
    X = pd.DataFrame(X.astype("float32"), columns=[f"x{j}" for j in range(n_columns)])
    if n_categories:
        X["x0"] = "c" + pd.qcut(X["x0"], n_categories, labels=False).astype(str)
    return X, y


# What grows in each table of ``--growth``, and how far.
GROWTH = {
    "n_rows": (1_000, 10_000, 100_000),
    "n_columns": (10, 50, 250),
    "n_classes": (2, 10, 100),
    "n_categories": (10, 50, 200),
}
