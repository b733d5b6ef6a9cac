"""The benchmark of fit and predict: its contestants train to the loss of the loop by hand."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "benchmarks" / "fit_predict.py"


def run(*arguments):
    command = [sys.executable, SCRIPT, "--repeats", "1", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_contestants_train_alike(tmp_path):
    ran = run("--workloads", "cold", "--rows", "10", "--json", tmp_path / "figures.json")
    assert ran.returncode == 0, ran.stderr
    assert "predict_proba" in ran.stdout
    results = json.loads((tmp_path / "figures.json").read_text())["results"]
    assert [*results] == ["cold"]
    for result in results.values():
        names = ["hand-written", "DataLoader loop", "skorch", "MLPClassifier", "sktorch"]
        assert [*result["fit"]] == [*result["loss"]] == names
        assert result["fit"]["hand-written"]["ratio"] == 1
        loss = result["loss"]["hand-written"]
        for name in ("DataLoader loop", "skorch", "sktorch"):
            assert result["loss"][name] == pytest.approx(loss, rel=1e-3)


def test_an_unknown_workload_is_named():
    ran = run("--workloads", "moons")
    assert ran.returncode == 2
    assert "no workloads ['moons']" in ran.stderr
