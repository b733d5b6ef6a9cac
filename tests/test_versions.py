"""What show_versions prints."""

import configparser
import re
from importlib.metadata import version
from pathlib import Path

import pytest
import sklearn
import torch

import sktorch
from sktorch._versions import PACKAGES

OPTIONS = configparser.ConfigParser()
OPTIONS.read(Path(__file__).parents[1] / "setup.cfg", encoding="utf-8")


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
    lists = [OPTIONS["options"]["install_requires"]]
    lists += [extras[name] for name in extras if name not in ("docs", "test")]
    required = re.findall(r"^[\w-]+", "\n".join(lists), re.M)
    assert {"torch", "ray", "matplotlib"} <= {*required}
    shown = printed(capsys).replace("sklearn:", "scikit-learn:")
    assert [name for name in required if not re.search(rf"^ *{name}: ", shown, re.M)] == []
    assert {*PACKAGES} <= {*required, "sktorch"}
