"""Fixtures of tests of the benchmarks."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_iris

BENCHMARKS = Path(__file__).parents[2] / "examples" / "benchmarks"


@pytest.fixture
def run_on_iris(tmp_path):
    """Run a benchmark with a cache that holds iris, with a column of text, as german."""
    X, y = load_iris(return_X_y=True)
    text = np.where(X[:, 0] > 6, "long", "short")
    (tmp_path / "keel").mkdir()
    columns = (X[:, 1], X[:, 2], text, y)
    lines = [", ".join(map(str, row)) for row in zip(*columns, strict=True)]
    (tmp_path / "keel" / "german.dat").write_text("\n".join(lines))

    def run(script, *arguments):
        environment = os.environ | {"SKTORCH_DATA": str(tmp_path)}
        command = [sys.executable, BENCHMARKS / script, *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    return run
