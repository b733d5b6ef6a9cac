"""
A grid search, side by side
===========================

How long the same search takes with skorch, scikit-learn's ``MLPClassifier`` and sktorch, by one
job, by as many as there are cores, and under ``joblib.parallel_config("sktorch")``. All train the
same module on the same folds with the same batch size, epochs and Adam. They run in turn, in
another order each time; a ratio is the median of the ratios to the fused search of the same turn.

Each job computes in one thread, whatever OMP_NUM_THREADS says, so that all but those with one job
use as many threads as there are cores; so does the fused search, in one process.

::

    python examples/benchmarks/grid_search.py --json figures.json --plot figures.png  # ten minutes
    python examples/benchmarks/grid_search.py --only fits_60 --repeats 5
    python examples/benchmarks/grid_search.py --device cuda
"""

import argparse
import gc
import os
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from operator import truediv
from pathlib import Path
from statistics import median

# For the processes that n_jobs starts, too, and before numpy and torch load.
os.environ["PYTHONWARNINGS"] = "ignore"
ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
os.environ.update(dict.fromkeys(ONE_THREAD, "1"))

import joblib
import numpy as np
import torch
from conditions import report
from sklearn.datasets import load_digits, make_classification
from sklearn.model_selection import GridSearchCV, KFold, check_cv
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from skorch import NeuralNetClassifier
from threadpoolctl import threadpool_info
from torch import nn

from sktorch import TorchClassifier

# %%
# Workloads
# ---------


def mlp(*widths):
    """Linear layers with ReLU between them."""
    layers = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def cnn():
    """Two blocks of convolution, ReLU and pooling, then a linear layer."""
    layers = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, 10))


def digits():
    """Handwritten digits, images of 8×8 pixels from 0 to 1."""
    data = load_digits()
    return (data.images[:, None] / 16).astype("float32"), data.target


def generated():
    """4,000 points in clusters, 30 features, 3 classes."""
    X, y = make_classification(4000, 30, n_informative=15, n_classes=3, random_state=0)
    return X.astype("float32"), y


@dataclass(frozen=True)
class Workload:
    """A search that every contestant does."""

    about: str
    data: Callable
    module: Callable
    lrs: np.ndarray
    decays: tuple
    batch_size: int = 128
    epochs: int = 10
    patience: int | None = None
    scaler: Callable = StandardScaler
    cv: object = 5
    repeats: int = 3
    one_job: bool = True  # by one job, too; or a turn takes minutes

    @property
    def n_fits(self):
        """Candidates times folds."""
        return len(self.lrs) * len(self.decays) * check_cv(self.cv).get_n_splits()


SMALL = partial(mlp, 30, 100, 3)
WIDE = partial(mlp, 30, 1024, 1024, 3)  # its matrix products fill the cores, so stacks can't pay
WORKLOADS = {
    "fits_60": Workload(
        "60 fits, 4,000×30, MLP 30-100-3", generated, SMALL,
        np.geomspace(1e-4, 1e-2, 4), (0, 1e-4, 1e-2),
    ),
    "fits_300": Workload(
        "300 fits, 4,000×30, MLP 30-100-3", generated, SMALL,
        np.geomspace(1e-4, 1e-2, 20), (0, 1e-4, 1e-2), repeats=1, one_job=False,
    ),
    "cnn": Workload(
        "20 fits, digits (real), CNN 8-16", digits, cnn,
        np.geomspace(1e-3, 1e-2, 4), (0,), batch_size=64, epochs=5, scaler=FunctionTransformer,
    ),
    "early_stopping": Workload(
        "60 fits, folds of two lengths, early stopping", lambda: [a[:3998] for a in generated()],
        SMALL, np.geomspace(1e-4, 1e-2, 4), (0, 1e-4, 1e-2), epochs=30, patience=3, one_job=False,
        cv=KFold(5, shuffle=True, random_state=0),
    ),
    "wide": Workload(
        "12 fits, 4,000×30, MLP 30-1024-1024-3", generated, WIDE,
        np.geomspace(1e-4, 1e-2, 4), (0,), batch_size=256, epochs=2, cv=3, one_job=False,
    ),
}  # fmt: skip

# %%
# Contestants
# -----------
# Each searches anew and returns the best mean score.


def pipeline_of(workload, estimator, lr_name, decay_name):
    """A pipeline and its grid."""
    pipeline = make_pipeline(workload.scaler(), estimator)
    step = pipeline.steps[-1][0]
    grid = {f"{step}__{lr_name}": workload.lrs, f"{step}__{decay_name}": workload.decays}
    return pipeline, grid


def of_sktorch(workload, device):
    """A ``TorchClassifier``."""
    stopping = {"early_stopping": True, "n_iter_no_change": workload.patience}
    classifier = TorchClassifier(
        workload.module,
        max_epochs=workload.epochs,
        batch_size=workload.batch_size,
        device=str(device),
        random_state=0,
        **(stopping if workload.patience else {"early_stopping": False}),
    )
    return pipeline_of(workload, classifier, "lr", "optimizer__weight_decay")


def of_skorch(workload, device):
    """A ``NeuralNetClassifier``."""
    net = NeuralNetClassifier(
        workload.module,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        max_epochs=workload.epochs,
        batch_size=workload.batch_size,
        iterator_train__shuffle=True,
        train_split=None,
        device=str(device),
        verbose=0,
    )
    return pipeline_of(workload, net, "lr", "optimizer__weight_decay")


def of_sklearn(workload, device):
    """An ``MLPClassifier``."""
    stopping = {"early_stopping": True, "n_iter_no_change": workload.patience}
    classifier = MLPClassifier(
        workload.module.args[1:-1],
        solver="adam",
        max_iter=workload.epochs,
        batch_size=workload.batch_size,
        random_state=0,
        **(stopping if workload.patience else {"n_iter_no_change": workload.epochs}),
    )
    return pipeline_of(workload, classifier, "learning_rate_init", "alpha")


def search(workload, make, X, y, device, n_jobs=None, backend=None):
    """Fit a grid search."""
    pipeline, grid = make(workload, device)
    grid_search = GridSearchCV(pipeline, grid, cv=workload.cv, n_jobs=n_jobs, refit=False)
    with joblib.parallel_config(backend or "loky"):
        grid_search.fit(X, y)
    return float(grid_search.cv_results_["mean_test_score"].max())


def contestants(workload, device):
    """Those that can do a workload; the first is the reference."""
    chosen = {"sktorch fused": partial(search, workload, of_sktorch, backend="sktorch")}
    cores = joblib.cpu_count()
    one_job = (1,) if device.type != "cpu" or workload.one_job else ()
    for n_jobs in (*one_job, *((cores,) if device.type == "cpu" else ())):
        jobs = f"n_jobs={n_jobs}"
        chosen[f"sktorch {jobs}"] = partial(search, workload, of_sktorch, n_jobs=n_jobs)
        if not workload.patience:  # its early stopping takes another hold-out
            chosen[f"skorch {jobs}"] = partial(search, workload, of_skorch, n_jobs=n_jobs)
    if workload.module is not cnn:
        name = f"MLPClassifier n_jobs={cores}"
        chosen[name] = partial(search, workload, of_sklearn, n_jobs=cores)
    return chosen


# %%
# Measurement
# -----------


def threads():
    """How many threads compute: of a job, by library, and of the fused search."""
    libraries = {library["internal_api"]: library["num_threads"] for library in threadpool_info()}
    of_a_job = {"torch": torch.get_num_threads(), **libraries}
    return {"of_a_job": of_a_job, "of_the_fused_search": joblib.cpu_count()}


def measure(workload, repeats, device):
    """Seconds of each contestant in turn, and its best score."""
    X, y = workload.data()
    short = replace(workload, lrs=workload.lrs[:1], decays=(0,), epochs=1)
    for warm_up in contestants(short, device).values():
        warm_up(X, y, device)
    functions = contestants(workload, device)
    names, seconds, scores = list(functions), {name: [] for name in functions}, {}
    for turn in range(repeats):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            gc.collect()
            start = time.perf_counter()
            scores[name] = functions[name](X, y, device)
            seconds[name].append(time.perf_counter() - start)
    return {
        "about": workload.about,
        "device": str(device),
        "fits": workload.n_fits,
        "threads": threads(),
        "contestants": {
            name: {
                "seconds": values,
                "median": median(values),
                "ratio": median(map(truediv, values, seconds[names[0]])),
                "best_score": scores[name],
            }
            for name, values in seconds.items()
        },
    }


def table(result):
    """Seconds and ratios as text."""
    rows = [f"{result['about']:<36} {'median':>9} {'ratio':>7} {'score':>7}"]
    rows += [
        f"  {name:<34} {own['median']:>7.2f} s {own['ratio']:>7.2f} {own['best_score']:>7.3f}"
        for name, own in result["contestants"].items()
    ]
    return "\n".join(rows)


def plot(results, path):
    """Draw the ratios as bars on a logarithmic scale."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullFormatter

    heights = [len(result["contestants"]) for result in results.values()]
    figure, panels = plt.subplots(
        len(results), 1, figsize=(7, 0.3 * sum(heights) + 0.6 * len(results)), squeeze=False,
        sharex=True, height_ratios=heights, layout="constrained",
    )  # fmt: skip
    for panel, result in zip(panels[:, 0], results.values(), strict=True):
        ratios = {name: own["ratio"] for name, own in result["contestants"].items()}
        bars = panel.barh(list(ratios), list(ratios.values()))
        panel.bar_label(bars, fmt="%.2f", padding=2)
        panel.set_title(f"{result['about']}, on {result['device']}", loc="left", fontsize="medium")
        panel.margins(x=0.15)
        panel.invert_yaxis()
    panel.set(xscale="log", xlabel="time over sktorch fused (logarithmic)")
    panel.xaxis.set_major_formatter("{x:g}")
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.set_xlim(left=0.5)
    figure.savefig(path, dpi=150)


def usable(name):
    """A device of this machine, by its name."""
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # no such name; torch without CUDA
        raise argparse.ArgumentTypeError(
            f"{name!r} is no device here; cpu, cuda or cuda:1 are such names ({error})"
        ) from error


def at_least_one(text):
    """A positive number."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; a whole number from 1 is expected")
    return int(text)


def main():
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("::")[0])
    parser.add_argument("--only", default=",".join(WORKLOADS), help="default: %(default)s")
    parser.add_argument("--repeats", type=at_least_one, help="default: 3, and 1 for fits_300")
    parser.add_argument("--device", type=usable, default="cpu", help="default: %(default)s")
    parser.add_argument("--json", type=Path, help="write all timings here")
    parser.add_argument("--plot", type=Path, help="draw the ratios here (needs matplotlib)")
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    if unknown := set(names) - set(WORKLOADS):
        parser.error(f"no workloads {sorted(unknown)}; there are {list(WORKLOADS)}")

    warnings.simplefilter("ignore")
    results = {}
    for name in names:
        workload = WORKLOADS[name]
        results[name] = measure(workload, arguments.repeats or workload.repeats, arguments.device)
        print(f"{table(results[name])}\n", flush=True)
        print(f"{name}: done", file=sys.stderr)
    report(results, arguments.json)
    if arguments.plot is not None:
        plot(results, arguments.plot)


if __name__ == "__main__":
    main()
