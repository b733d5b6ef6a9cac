"""
Fit and predict, side by side
=============================

How long the same training takes in a hand-written loop, a loop over a ``DataLoader``, skorch,
scikit-learn's ``MLPClassifier`` and sktorch, and how long their ``predict_proba`` takes. All use
the same module, data, batch size, epochs, Adam and learning rate, float32, one CPU thread on one
core, and no early termination; those of torch begin with the same weights and see the same batches,
and sktorch's loss has to be that of the hand-written loop. They run in turn, in another order each
time; a ratio is the median of the ratios to the hand-written loop's run in the same turn.

::

    python examples/benchmarks/fit_predict.py --json figures.json --plot figures.png
    python examples/benchmarks/fit_predict.py --workloads digits,tabular --repeats 3
    python examples/benchmarks/fit_predict.py --workloads iris --rows 1
    python examples/benchmarks/fit_predict.py --also sktorch_old --without skorch
    python examples/benchmarks/fit_predict.py --device cuda

``--also`` names a package that takes part beside sktorch: a copy of an older version.
"""

from conditions import one_core, report

one_core()

import argparse
import math
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from contestants import contestants
from turns import time_in_turn
from workloads import WORKLOADS

# %%
# Measuring
# ---------

# The models of the loops are bare modules: one takes all rows in one call, one takes slices.
BARE_MODULES = {
    "hand-written": "bare module",
    "CUDA graph": "bare module of the graph",
    "DataLoader loop": "in slices",
}
TOLERANCE = 0.05  # of a loss, relative to the hand-written loop's


def measure(workload, repeats, device, clock, packages, without=()):
    """Timings of ``fit`` and ``predict_proba``, and the losses on the training rows."""
    X, y = workload.data()
    many = np.resize(X, (workload.n_predict, *X.shape[1:]))
    fits = {
        name: partial(fit, workload, X, y, device)
        for name, fit in contestants(workload, device, packages).items()
        if name not in without
    }
    fit, models = time_in_turn(fits, repeats, device, clock)
    losses = {name: loss_of(name, predict, X, y) for name, predict in models.items()}
    check_alike(losses, packages)
    models.pop("CUDA graph", None)
    predictions = {
        BARE_MODULES.get(name, name): partial(predict, many) for name, predict in models.items()
    }
    predict, _ = time_in_turn(predictions, repeats, device, clock)
    return {
        "about": workload.about,
        "batches": workload.epochs * math.ceil(len(X) / workload.batch_size),
        "rows_predicted": workload.n_predict,
        "fit": fit,
        "predict_proba": predict,
        "loss": losses,
    }


def loss_of(name, predict, X, y):
    """Cross-entropy of what a contestant predicts: logits of a bare module, else probabilities."""
    output = torch.from_numpy(predict(X)).double()
    logits = output if name in BARE_MODULES else output.log()
    return F.cross_entropy(logits, torch.from_numpy(y)).item()


def check_alike(losses, packages):
    """Raise if a package trained to another loss than the hand-written loop."""
    expected = losses["hand-written"]
    for name in packages:
        if not math.isclose(losses[name], expected, rel_tol=TOLERANCE):
            raise RuntimeError(
                f"{name} ends at a loss of {losses[name]:.4g}, the hand-written loop at "
                f"{expected:.4g}: they did not do the same."
            )


# %%
# Results
# -------


ACTIONS = {"fit": ("batches", "a batch"), "predict_proba": ("rows_predicted", "a row")}


def columns(results, action):
    """Who took part in any workload, the reference first."""
    return max((list(result[action]) for result in results.values()), key=len)


def table(results, action):
    """Ratios to the reference as text, one line a workload."""
    reference, *others = columns(results, action)
    rows = [[action, reference, *others]]
    count, unit = ACTIONS[action]
    for result in results.values():
        timings = result[action]
        microseconds = timings[reference]["median"] / result[count] * 1e6
        cost = f"{microseconds:,.0f}" if microseconds >= 100 else f"{microseconds:.2g}"
        ratios = [f"{timings[name]['ratio']:.2f}" if name in timings else "–" for name in others]
        rows.append([result["about"], f"1 ({cost} µs {unit})", *ratios])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    )


def plot(results, path):
    """Draw the ratios as bars, to the left of 1 or to its right on a logarithmic scale."""
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(11, 1 + 0.8 * len(results)), sharey=True)
    for panel, action in zip(panels, ACTIONS, strict=True):
        reference, *names = columns(results, action)
        for number, name in enumerate(names):
            bars = {
                row + (number + 0.5) / len(names) * 0.8 - 0.4: result[action][name]["ratio"] - 1
                for row, result in enumerate(results.values())
                if name in result[action]
            }
            panel.barh(bars.keys(), bars.values(), height=0.7 / len(names), left=1, label=name)
        panel.axvline(1, color="black", linewidth=1)
        panel.set_xscale("log", base=2)
        panel.xaxis.set_major_formatter("{x:g}")
        panel.set(xlabel=f"time over {reference}", title=action)
        panel.legend()
    panels[0].set_yticks(range(len(results)), list(results))
    panels[0].invert_yaxis()
    figure.savefig(path, bbox_inches="tight", dpi=150)


def main():
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("::")[0])
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=7, help="default: %(default)s")
    parser.add_argument("--rows", type=int, help="number of rows to predict")
    parser.add_argument("--also", action="append", default=[], help="a package to take part, too")
    parser.add_argument("--without", action="append", default=[], help="who is to stay away")
    parser.add_argument("--device", type=torch.device, default="cpu", help="default: %(default)s")
    parser.add_argument("--json", type=Path, help="write all timings here")
    parser.add_argument("--plot", type=Path, help="draw the ratios here (needs matplotlib)")
    parser.add_argument(
        "--cpu-time", action="store_true", help="time of the process only, for a busy machine"
    )
    arguments = parser.parse_args()
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    names = arguments.workloads.split(",")
    if unknown := set(names) - set(WORKLOADS):
        parser.error(f"no workloads {sorted(unknown)}; there are {list(WORKLOADS)}")

    torch.set_num_threads(1)
    results, packages = {}, [*arguments.also, "sktorch"]
    for name in names:
        workload = WORKLOADS[name]
        if arguments.rows is not None:
            workload = replace(workload, n_predict=arguments.rows)
        results[name] = measure(
            workload, arguments.repeats, arguments.device, clock, packages, arguments.without
        )
        print(f"{name}: done", file=sys.stderr)
    for action in ACTIONS:
        print(f"\n{table(results, action)}")
    report(results, arguments.json)
    if arguments.plot is not None:
        plot(results, arguments.plot)


if __name__ == "__main__":
    main()
