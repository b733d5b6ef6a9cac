"""
Peak memory
===========

The most memory that ``fit`` and ``predict_proba`` need on 1,000,000×20 float32, 80 MB. Each is
measured in a fresh process: over what the imports took, and over what was there when it began.

::

    python examples/benchmarks/memory.py --json memory.json
"""

from conditions import one_core, report

one_core()

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

NAMES = ("hand-written", "skorch", "MLPClassifier", "sktorch")
ACTIONS = ("fit", "predict_proba")


def peak():
    """The most memory that this process has held so far, in MB."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def measure(name, action):
    """Peak memory of one contestant in this process, in MB."""
    # Here rather than above: a new process inherits the peak of the one that starts it.
    import numpy as np
    import torch
    from contestants import contestants
    from workloads import WORKLOADS

    torch.set_num_threads(1)
    workload = replace(WORKLOADS["large"], epochs=1)
    device = torch.device("cpu")
    fit = contestants(workload, device)[name]
    imports = peak()
    X = np.random.default_rng(0).standard_normal((1_000_000, 20), dtype="float32")
    y = (X[:, 0] > X[:, 1]).astype("int64")
    predict = fit(workload, X[:2000], y[:2000], device) if action == "predict_proba" else None
    before = peak()
    if action == "fit":
        fit(workload, X, y, device)
    else:
        predict(X)
    return {"over_imports": peak() - imports, "over_input": peak() - before}


def main():
    """Measure every contestant in processes of their own."""
    parser = argparse.ArgumentParser(description=__doc__.partition("::")[0])
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--one", nargs=2, metavar=("NAME", "ACTION"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        print(json.dumps(measure(*arguments.one)))
        return

    results = {}
    for action in ACTIONS:
        print(f"\n{action:<16}over imports   over input, MB")
        for name in NAMES:
            command = [sys.executable, __file__, "--one", name, action]
            figures = json.loads(subprocess.check_output(command))
            results.setdefault(action, {})[name] = figures
            print(f"{name:<16}{figures['over_imports']:12.0f}{figures['over_input']:13.0f}")
    report(results, arguments.json)


if __name__ == "__main__":
    main()
