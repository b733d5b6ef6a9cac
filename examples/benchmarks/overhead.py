"""
Overheads
=========

What sktorch costs apart from arithmetic: the import, the fixed part of ``fit``, and whether a row
or an epoch costs more when there are more of them. One CPU thread on one core.

::

    python examples/benchmarks/overhead.py --json overhead.json
"""

from conditions import one_core, report

one_core()

import argparse
import math
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from itertools import pairwise
from operator import truediv
from pathlib import Path
from statistics import median

import torch
from contestants import contestants
from skorch.callbacks import Callback
from turns import time_in_turn
from workloads import WORKLOADS, generated

from sktorch import TorchClassifier

CPU = torch.device("cpu")


def import_time(repeats, clock):
    """Seconds to import sktorch, and the three packages it builds on, each in a fresh process."""
    statements = {"the three": "import torch, sklearn, skorch", "sktorch": "import sktorch"}
    now = f"time.{clock.__name__}()"
    program = f"import time; start = {now}; {{}}; print({now} - start)"
    seconds = {name: [] for name in statements}
    for _ in range(repeats + 1):  # the first fills the file cache
        for name, statement in statements.items():
            command = [sys.executable, "-c", program.format(statement)]
            seconds[name].append(float(subprocess.check_output(command)))
    counted = {name: values[1:] for name, values in seconds.items()}
    ratio = median(map(truediv, counted["sktorch"], counted["the three"]))
    return {name: median(values) for name, values in counted.items()} | {"ratio": ratio}


def fixed_cost(repeats, clock):
    """Median seconds of ``fit`` on 150 rows for one epoch of two batches."""
    workload = replace(WORKLOADS["iris"], batch_size=128, epochs=1)
    fits = {
        name: partial(fit, workload, *workload.data(), CPU)
        for name, fit in contestants(workload, CPU).items()
    }
    timings, _ = time_in_turn(fits, repeats, CPU, clock)
    return {name: timing["median"] for name, timing in timings.items()}


def time_per_row(repeats, clock):
    """Median seconds a row of one epoch on 10,000, 100,000 and 1,000,000 rows."""
    large = WORKLOADS["large"]
    results = {}
    for n_rows in (10_000, 100_000, 1_000_000):
        X, y = generated(n_rows, 20, n_classes=2)
        fits = {
            name: partial(fit, replace(large, epochs=1), X, y, CPU)
            for name, fit in contestants(large, CPU).items()
            if name in ("hand-written", "sktorch")
        }
        timings, _ = time_in_turn(fits, repeats, CPU, clock)
        results[n_rows] = {name: timing["median"] / n_rows for name, timing in timings.items()}
    return results


class Clock(Callback):
    """A skorch callback that notes when each epoch ended."""

    def __init__(self, times, clock):
        self.times, self.clock = times, clock

    def on_epoch_end(self, net, **kwargs):
        """Note the time."""
        self.times.append(self.clock())


def time_per_epoch(clock, n_epochs=200):
    """Median seconds of the first and the last tenth of the epochs, on digits."""
    workload = WORKLOADS["digits"]
    times = []
    TorchClassifier(
        workload.module,
        optimizer=torch.optim.Adam,
        max_epochs=n_epochs,
        n_iter_no_change=math.inf,
        callbacks=[Clock(times, clock)],
        device=CPU,
    ).fit(*workload.data())
    seconds = [end - start for start, end in pairwise(times)]
    tenth = n_epochs // 10
    return {"first": median(seconds[:tenth]), "last": median(seconds[-tenth:])}


def main():
    """Measure all four."""
    parser = argparse.ArgumentParser(description=__doc__.partition("::")[0])
    parser.add_argument("--repeats", type=int, default=7, help="default: %(default)s")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument(
        "--cpu-time", action="store_true", help="time of the process only, for a busy machine"
    )
    arguments = parser.parse_args()
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    torch.set_num_threads(1)

    imports = import_time(arguments.repeats, clock)
    print(
        f"import sktorch: {imports['sktorch']:.2f} s, {imports['ratio']:.3f} of "
        f"import torch, sklearn, skorch: {imports['the three']:.2f} s"
    )
    fixed = fixed_cost(15 * arguments.repeats, clock)
    print("\nfit on 150 rows (iris), MLP 4-16-3, one epoch of two batches")
    for name, seconds in fixed.items():
        print(f"{name:>16}{seconds * 1e3:8.2f} ms")
    rows = time_per_row(arguments.repeats, clock)
    print("\nfit for one epoch, generated, 20 features, MLP 20-100-2, batch 1,024")
    for n_rows, seconds in rows.items():
        figures = ", ".join(f"{name} {value * 1e6:.3f} µs" for name, value in seconds.items())
        print(f"{n_rows:>16,} rows: {figures} a row")
    epochs = time_per_epoch(clock)
    print("\n200 epochs on digits (real), MLP 64-100-10, batch 128, median of a tenth of them")
    for name, seconds in epochs.items():
        print(f"{name:>16}{seconds * 1e3:8.2f} ms an epoch")
    report({"import": imports, "fixed_cost": fixed, "row": rows, "epoch": epochs}, arguments.json)


if __name__ == "__main__":
    main()
