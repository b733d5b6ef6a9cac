"""The benchmark of raw tables, on a small table in the place of a fetched one."""

import json
from functools import partial

import pytest


@pytest.fixture
def run(run_on_iris):
    return partial(run_on_iris, "tables.py")


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
