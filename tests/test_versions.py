"""What show_versions prints; where versions stand, they agree."""

import configparser
import re
from importlib.metadata import version
from pathlib import Path

import pytest
import sklearn
import torch

import sktorch
from sktorch._versions import PACKAGES

ROOT = Path(__file__).parents[1]
OPTIONS = configparser.ConfigParser()
OPTIONS.read(ROOT / "setup.cfg", encoding="utf-8")
REQUIRED = OPTIONS["options"]["install_requires"].split()


def text(name):
    return (ROOT / name).read_text("utf-8")


def printed(capsys, show=sktorch.show_versions):
    show()
    return capsys.readouterr().out


def test_it_prints_what_scikit_learn_prints_first(capsys):
    of_scikit_learn = printed(capsys, sklearn.show_versions)
    assert printed(capsys).startswith(of_scikit_learn)


@pytest.mark.parametrize("package", ["sktorch", "torch", "skorch", "safetensors"])
def test_it_prints_versions(capsys, package):
    assert re.search(rf"^ *{package}: {re.escape(version(package))}$", printed(capsys), re.M)


def test_it_prints_the_devices(capsys):
    lines = printed(capsys).partition("torch devices:\n")[2].splitlines()
    assert re.fullmatch(rf" +cpu: {torch.get_num_threads()} threads, \w+", lines[0])
    assert lines[1].strip() == f"CUDA build: {torch.version.cuda}"
    assert len([line for line in lines if "cuda:" in line]) == torch.cuda.device_count()


def test_a_missing_package_is_none(capsys, monkeypatch):
    monkeypatch.setattr("sktorch._versions.PACKAGES", ("sktorch", "no-such-package"))
    assert "no-such-package: None\n" in printed(capsys)


def test_it_prints_every_requirement_and_extra(capsys):
    extras = OPTIONS["options.extras_require"]
    optional = [extras[name] for name in extras if name not in ("docs", "test")]
    required = re.findall(r"^[\w-]+", "\n".join([*REQUIRED, *optional]), re.M)
    assert {"torch", "ray", "matplotlib"} <= {*required}
    shown = printed(capsys).replace("sklearn:", "scikit-learn:")
    assert [name for name in required if not re.search(rf"^ *{name}: ", shown, re.M)] == []
    assert {*PACKAGES} <= {*required, "sktorch"}


def test_citation_and_changelog_agree_on_the_newest_release():
    cited = dict(re.findall(r"^(version|date-released): (\S+)$", text("CITATION.cff"), re.M))
    headings = re.findall(r"^## \[(.+?)\](?: - (\S+))?$", text("CHANGELOG.md"), re.M)
    if sktorch.__version__.endswith(".dev0"):
        assert headings.pop(0) == ("Unreleased", "")
    else:
        assert cited["version"] == sktorch.__version__
    assert headings[0] == (cited["version"], cited["date-released"])


def test_constraints_lowest_are_the_bounds_of_setup_cfg():
    pins = dict(re.findall(r"^([\w-]+)==([\d.]+)", text(".ci/constraints-lowest.txt"), re.M))
    for requirement in REQUIRED:
        name, bound = requirement.split(">=")
        assert pins[name].removesuffix(".0") == bound, requirement


@pytest.mark.parametrize("package", ["torch", "scikit-learn", "numpy"])
def test_constraints_pin_no_less_than_the_lowest(package):
    newest, lowest = (
        [int(n) for n in re.search(rf"^{package}==([\d.]+)", text(name), re.M)[1].split(".")]
        for name in ("constraints.txt", ".ci/constraints-lowest.txt")
    )
    assert newest >= lowest


def test_tested_pythons_are_those_of_the_classifiers():
    classified = re.findall(r":: (3\.\d+)", OPTIONS["metadata"]["classifiers"])
    assert f">={classified[0]}" == OPTIONS["options"]["python_requires"]
    tested = re.search(r"python: \[(.*)\]", text(".github/workflows/tests.yml"))[1]
    assert {*classified} <= {*re.findall(r"3\.\d+", tested)}
