"""
The ensemble of a search
========================

A random search of 32 nets for each of ten raw tables, whose candidates train as one program, and
two results of it: the greedy ensemble of its fold models, and the best candidate (by the log-loss)
fitted to all rows. Beside them RealMLP-TD-S and ``TabularClassifier`` with their defaults. All are
tested on rows that the search has not seen, as many of five folds as asked for.

::

    python examples/benchmarks/ensemble_search.py --json figures.json
    python examples/benchmarks/ensemble_search.py --sets german,vehicle --folds 1 --candidates 8

RealMLP-TD-S takes part if ``pytabkit`` is installed, as in ``tables.py``.
"""

from conditions import one_thread, report

one_thread()

import argparse
import math
import sys
import time
from itertools import islice
from pathlib import Path

import joblib
import numpy as np
import torch
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from table_contestants import CONTESTANTS, available
from table_scores import classification_scores, folds_of, tables
from table_sets import CLASSIFICATION, load
from torch import nn

from sktorch import TorchClassifier
from sktorch.model_selection import HalvingSearchCV
from sktorch.modules import FourierFeatures, ScaleLayer, TabularMLP
from sktorch.preprocessing import make_cleaner
from sktorch.workers.engines import ENGINES

# %%
# The net and its parameters
# --------------------------

LARGEST = 3.0  # what the cleaner makes of numbers lies within ±3
LOWEST_FREQUENCY = 0.125  # a quarter of a period from the lowest number to the highest


class WaveMLP(nn.Module):
    """A perceptron of waves of numbers, these numbers, and embedded categories."""

    def __init__(
        self,
        cardinalities,
        n_outputs,
        input_mean,
        input_scale,
        n_frequencies=3,
        hidden=(64, 64),
        dropout=0.0,
    ):
        super().__init__()
        # Zeros and ones, as one-hot categories are, have a variance that follows from their mean.
        is_binary = torch.isclose(input_scale**2, input_mean * (1 - input_mean), rtol=1e-3)
        is_constant = (input_mean == 0) | (input_mean == 1)
        is_number = ~(is_binary | is_constant) & (torch.tensor(cardinalities) == 0)
        self.numeric = is_number.nonzero().flatten().tolist()
        self.waves = FourierFeatures(n_frequencies, LOWEST_FREQUENCY) if n_frequencies else None
        columns = (*(0,) * (2 * n_frequencies * len(self.numeric)), *cardinalities)
        self.net = TabularMLP(columns, n_outputs, hidden, "silu", dropout)
        self.net.mlp.insert(0, ScaleLayer(self.net.n_embedded))
        for parameter in self.net.mlp[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, X):
        """Return logits."""
        if self.waves is not None:
            X = torch.cat([self.waves(X[:, self.numeric] / LARGEST), X], dim=1)
        return self.net(X)


PIPELINE = make_pipeline(
    make_cleaner(outliers="smooth", max_one_hot=50),
    TorchClassifier(WaveMLP, lr_schedule="flat_cosine", n_iter_no_change=math.inf, random_state=0),
)
SPACE = {
    "lr": loguniform(2e-3, 3e-2),
    "max_epochs": [10, 20, 40, 60],
    "optimizer__weight_decay": loguniform(1e-3, 1),
    "criterion__label_smoothing": [0, 0, 0.03, 0.1],
    "module__dropout": [0, 0.1, 0.2, 0.3, 0.5],
    "module__hidden": [(64, 64), (128, 128)],
    "module__n_frequencies": [0, 3, 5],
}


def search_for(n_candidates):
    """The search: a single rung, as the ensemble gains by many candidates that train in full."""
    return HalvingSearchCV(
        PIPELINE,
        {f"torchclassifier__{name}": values for name, values in SPACE.items()},
        n_candidates=n_candidates,
        min_resources="max",
        refit="ensemble",
        cv=StratifiedKFold(5, shuffle=True, random_state=1),
        random_state=0,
    )


# %%
# Measuring
# ---------

ENSEMBLE, BEST = "ensemble", "best candidate"


def measure(n_candidates, others, splits, over=None):
    """``{contestant: {measure: mean over the splits}}``, and the seconds of each search."""
    scores, seconds = {}, []
    for X_train, y_train, X_test, y_test in splits:
        start = time.perf_counter(), time.process_time()
        with joblib.parallel_config("sktorch", over=over):
            search = search_for(n_candidates).fit(X_train, y_train)
        seconds.append((time.perf_counter() - start[0], time.process_time() - start[1]))
        ensemble = search.best_estimator_
        parameters = search.cv_results_["params"][ensemble.best_candidate_]
        best = clone(PIPELINE).set_params(**parameters).fit(X_train, y_train)
        fitted = {ENSEMBLE: ensemble, BEST: best}
        for name, make in others.items():
            fitted[name] = make(is_classifier=True).fit(X_train, y_train)
        for name, model in fitted.items():
            scores.setdefault(name, []).append(classification_scores(model, X_test, y_test))
    means = {
        name: {measure: np.mean([fold[measure] for fold in folds]) for measure in folds[0]}
        for name, folds in scores.items()
    }
    return means, np.mean(seconds, axis=0)


def main():
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("::")[0])
    parser.add_argument("--sets", default=",".join(CLASSIFICATION), help="default: %(default)s")
    parser.add_argument("--folds", type=int, default=5, help="of five; default: %(default)s")
    parser.add_argument("--rows", type=int, default=4000, help="at most; default: %(default)s")
    parser.add_argument("--candidates", type=int, default=32, help="default: %(default)s")
    parser.add_argument("--others", default="RealMLP-TD-S,Tabular", help="default: %(default)s")
    parser.add_argument("--over", choices=ENGINES, help="workers to search on; default: none")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    names = [name for name in arguments.others.split(",") if name]
    if unknown := sorted({*names} - {*CONTESTANTS}):
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(CONTESTANTS)}")
    others, absent = available(names)
    for name, reason in absent.items():
        print(f"{name} does not take part: {reason}", file=sys.stderr)
    torch.set_num_threads(1)
    results = {}
    for name in arguments.sets.split(","):
        X, y = load(name, arguments.rows)
        splits = islice(folds_of(X, y, 5, is_classifier=True), arguments.folds)
        results[name], (wall, cpu) = measure(arguments.candidates, others, splits, arguments.over)
        told = f"{name}: a search took {wall:.0f} s, {cpu:.0f} s of CPU"
        print(told, *results[name].items(), sep="\n  ", file=sys.stderr, flush=True)
    print(f"\n{tables(results)}")
    report(results, arguments.json)


if __name__ == "__main__":
    main()
