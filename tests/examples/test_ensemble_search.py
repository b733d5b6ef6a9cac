"""The benchmark of the ensemble of a search, on a small table in the place of a fetched one."""

import json

SETTINGS = ("--sets", "german", "--folds", "1", "--candidates", "2")


def test_the_ensemble_beside_others(run_on_iris, tmp_path):
    who = ("--others", "HistGradientBoosting", "--json", tmp_path / "figures")
    ran = run_on_iris("ensemble_search.py", *SETTINGS, *who)
    assert ran.returncode == 0, ran.stderr
    (result,) = json.loads((tmp_path / "figures").read_text())["results"].values()
    assert [*result] == ["ensemble", "best candidate", "HistGradientBoosting"]
    for scores in result.values():
        assert 0.6 < scores["accuracy"] <= 1
        assert 0 < scores["log-loss"] < 1


def test_an_unknown_name_is_told(run_on_iris):
    ran = run_on_iris("ensemble_search.py", *SETTINGS, "--others", "Oracle")
    assert ran.returncode == 2
    assert "unknown: Oracle; there are Tabular, " in " ".join(ran.stderr.split())
