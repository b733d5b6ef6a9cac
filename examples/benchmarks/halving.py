"""
Halving, side by side
=====================

How long successive halving takes that goes on in its stack, beside the full search and beside
scikit-learn's halving, which trains each rung from the start: all under the joblib backend
"sktorch", on the same candidates and folds, in turn. Sixty candidates on five folds, rungs from 4
to 32 epochs. Prints the ratios of the times within a turn, whether the winner is the same, and
whether the survivors are the full search's models to the bit (in double precision).

::

    python examples/benchmarks/halving.py --json halving.json    # ten minutes
    python examples/benchmarks/halving.py --only digits --repeats 1
"""

import argparse
import os
import warnings

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
warnings.simplefilter("ignore")  # of candidates that are far from converged

import time
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import torch
from conditions import report
from sklearn.datasets import load_digits, make_classification
from sklearn.experimental import enable_halving_search_cv  # noqa: F401  # allows the next line
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV
from turns import time_in_turn

from sktorch import TorchClassifier
from sktorch.model_selection import HalvingSearchCV

MIN_EPOCHS, MAX_EPOCHS = 4, 32
GRID = {"lr": np.logspace(-4, -1.3, 12), "optimizer__weight_decay": [0, 1e-4, 1e-3, 1e-2, 0.1]}
COMMON = {"cv": 5, "refit": False}


def digits():
    """1,797 handwritten digits, 64 pixels."""
    X, y = load_digits(return_X_y=True)
    return X / 16, y


def generated():
    """4,000 points in clusters, 30 features, 3 classes."""
    return make_classification(4000, 30, n_informative=15, n_classes=3, random_state=0)


WORKLOADS = {
    "digits": (digits, {"module__hidden": (50,), "batch_size": 32}),
    "generated": (generated, {"module__hidden": (100,), "batch_size": 128}),
}


def classifier(settings):
    """A net that trains for all epochs."""
    return TorchClassifier(max_epochs=MAX_EPOCHS, random_state=0, **settings)


def halving(settings, X, y, factor):
    """Halving that goes on."""
    search = HalvingSearchCV(
        classifier(settings), GRID, factor=factor, min_resources=MIN_EPOCHS, **COMMON
    )
    return search.fit(X, y)


def from_the_start(settings, X, y, factor):
    """scikit-learn's halving."""
    search = HalvingGridSearchCV(
        classifier(settings), GRID, factor=factor, resource="max_epochs",
        min_resources=MIN_EPOCHS, max_resources=MAX_EPOCHS, **COMMON,
    )  # fmt: skip
    return under_the_backend(search, X, y)


def full(settings, X, y):
    """The whole grid."""
    return under_the_backend(GridSearchCV(classifier(settings), GRID, **COMMON), X, y)


def under_the_backend(search, X, y):
    """Search as one program."""
    with joblib.parallel_config("sktorch"):
        return search.fit(X, y)


def survivors_are_equal(search, grid):
    """Whether the last rung's scores on every fold are those of the full search."""
    results = search.cv_results_
    last = results["iter"] == search.n_iterations_ - 1
    columns = [f"split{split}_test_score" for split in range(COMMON["cv"])]
    candidates = results["candidate"][last]
    return all((results[c][last] == grid.cv_results_[c][candidates]).all() for c in columns)


def compare(name, repeats):
    """Print the ratios of one workload; return its figures."""
    load, settings = WORKLOADS[name]
    X, y = load()
    X = X.astype("float32")
    contestants = {
        "full": partial(full, settings, X, y),
        "halving, factor 3": partial(halving, settings, X, y, 3),
        "halving, factor 2": partial(halving, settings, X, y, 2),
        "scikit-learn's, factor 2": partial(from_the_start, settings, X, y, 2),
    }
    timings, searches = time_in_turn(contestants, repeats, torch.device("cpu"), time.perf_counter)
    for contestant, timing in timings.items():
        search = searches[contestant]
        same = search.best_params_ == searches["full"].best_params_
        print(
            f"{name:10} {contestant:25} {timing['median']:6.1f} s, {timing['ratio']:.2f} of full, "
            f"best {search.best_score_:.4f}, {'same' if same else 'another'} winner"
        )
    in_double = X.astype("float64"), y
    exact = survivors_are_equal(halving(settings, *in_double, 3), full(settings, *in_double))
    print(f"{name:10} survivors in double precision: {'equal' if exact else 'DIFFERENT'}")
    return {"timings": timings, "survivors_equal": exact}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--only", choices=WORKLOADS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    names = [arguments.only] if arguments.only else [*WORKLOADS]
    figures = {name: compare(name, arguments.repeats) for name in names}
    report(figures, arguments.json)
