"""The benchmark of raw tables, on a small table in the place of a fetched one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_iris

SCRIPT = Path(__file__).parents[2] / "examples" / "benchmarks" / "tables.py"


@pytest.fixture
def run(tmp_path):
    """Run the benchmark with a cache that holds iris, with a column of text, as german."""
    X, y = load_iris(return_X_y=True)
    text = np.where(X[:, 0] > 6, "long", "short")
    (tmp_path / "keel").mkdir()
    columns = (X[:, 1], X[:, 2], text, y)
    lines = [", ".join(map(str, row)) for row in zip(*columns, strict=True)]
    (tmp_path / "keel" / "german.dat").write_text("\n".join(lines))

    def run(*arguments):
        environment = os.environ | {"SKTORCH_DATA": str(tmp_path)}
        command = [sys.executable, SCRIPT, *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    return run


def test_contestants_beside_each_other(run, tmp_path):
    who = "HistGradientBoosting,Torch"
    ran = run("--sets", "german", "--folds", "2", "--contestants", who, "--json", tmp_path / "f")
    assert ran.returncode == 0, ran.stderr
    (result,) = json.loads((tmp_path / "f").read_text())["results"].values()
    assert [*result] == who.split(",")
    for scores in result.values():
        assert 0.6 < scores["accuracy"] <= 1
        assert 0.6 < scores["AUC"] <= 1
        assert scores["seconds of CPU a fit"] > 0
    heads = [line.split()[0] for line in ran.stdout.splitlines() if "Torch" in line]
    assert heads == ["accuracy", "log-loss", "AUC", "seconds"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sets", "moons"), "unknown: moons; there are adult, german"),
        (("--contestants", "Oracle"), "unknown: Oracle; there are Tabular, "),
    ],
)
def test_an_unknown_name_is_told(run, arguments, message):
    ran = run(*arguments)
    assert ran.returncode == 2
    assert message in " ".join(ran.stderr.split())
