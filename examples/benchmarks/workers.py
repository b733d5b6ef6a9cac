"""
Fused over workers, side by side
================================

How long a search takes whose fits train as one program in each of two processes, beside the search
in one process. Grids of 60 and of 300 fits on the digits, in turn, once the processes have started.
Prints the ratios of the times within a turn, and whether the scores are the same.

::

    python examples/benchmarks/workers.py --json workers.json    # five minutes
    python examples/benchmarks/workers.py --over dask,ray --fits 60
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
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from turns import time_in_turn

from sktorch import TorchClassifier

N_FOLDS, N_EPOCHS = 5, 20
ONE_PROCESS = "one process"


def start_cluster(engine, n_workers):
    """Start a cluster of this machine; return what keeps it alive."""
    if engine == "dask":
        from distributed import Client

        return Client(n_workers=n_workers, threads_per_worker=1, dashboard_address=":0")
    if engine == "ray":
        import ray

        return ray.init(num_cpus=n_workers, include_dashboard=False, log_to_driver=False)
    return None


def search(n_fits, X, y, **options):
    """Search a grid of so many fits under the backend; return the scores."""
    net = TorchClassifier(max_epochs=N_EPOCHS, module__hidden=(50,), random_state=0)
    rates = np.logspace(-4, -1.3, n_fits // N_FOLDS)
    with joblib.parallel_config("sktorch", **options):
        grid = GridSearchCV(net, {"lr": rates}, cv=N_FOLDS, refit=False).fit(X, y)
    return grid.cv_results_["mean_test_score"]


def compare(n_fits, engines, n_workers, repeats):
    """Print the ratios for a number of fits; return the timings."""
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype("float32")
    contestants = {ONE_PROCESS: partial(search, n_fits, X, y)}
    for engine in engines:
        contestants[engine] = partial(search, n_fits, X, y, over=engine, n_workers=n_workers)
    timings, scores = time_in_turn(contestants, repeats, torch.device("cpu"), time.perf_counter)
    for name, timing in timings.items():
        same = np.allclose(scores[name], scores[ONE_PROCESS], atol=1e-3)
        print(
            f"{n_fits:4} fits, {name:12} {timing['median']:6.2f} s, "
            f"{1 / timing['ratio']:.2f} times as fast as one process, "
            f"{'the same' if same else 'OTHER'} scores"
        )
    return timings


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--fits", default="60,300", help="default: %(default)s")
    parser.add_argument("--over", default="loky,dask,ray", help="default: %(default)s")
    parser.add_argument("--workers", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    engines = arguments.over.split(",")
    kept = [start_cluster(engine, arguments.workers) for engine in engines]
    numbers = [int(number) for number in arguments.fits.split(",")]
    figures = {n: compare(n, engines, arguments.workers, arguments.repeats) for n in numbers}
    report(figures, arguments.json)
