"""
Conditions of a measurement
===========================

What the benchmarks share: one thread on one core, and a note of the machine beside the figures.
"""

import json
import os
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path


def one_thread():
    """Use one thread of arithmetic; before numpy and torch load."""
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"))


def one_core():
    """Use one thread, on one core where the system can pin it; before numpy and torch load."""
    one_thread()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def conditions():
    """Where and with what this process measures."""
    packages = ("torch", "scikit-learn", "skorch", "numpy", "sktorch")
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": processor(),
        "cores": os.cpu_count(),
        "pinned_to": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "load_average": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in packages},
    }


def processor():
    """Name of the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()} ({platform.machine()})"


def report(results, path=None):
    """Print the conditions, and write them with the results as JSON if a path is given."""
    noted = conditions()
    print("\nMeasured with", ", ".join(f"{name} {value}" for name, value in noted.items()))
    if path is not None:
        path.write_text(json.dumps({"conditions": noted, "results": results}, indent=1) + "\n")
