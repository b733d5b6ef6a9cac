"""What is said of how far a search is."""

from types import SimpleNamespace

import pytest

import sktorch.fused.progress
from sktorch.fused.progress import Progress


def a_pass(*losses, optimizer="adam"):
    return SimpleNamespace(losses=losses, optimizer=optimizer)


def said(monkeypatch, interval=float("inf")):
    monkeypatch.setattr(sktorch.fused.progress, "INTERVAL", interval)
    lines = []
    return Progress(lines.append), lines


@pytest.mark.parametrize(
    ("results", "score"),
    [
        ([{"test_scores": 0.5}, {"test_scores": 0.75}], ", best score 0.75"),
        ([{"test_scores": {"a": 0.5}}], ""),
        ([{"test_scores": float("nan")}], ""),
        ("a model", ""),
    ],
)
def test_a_line(monkeypatch, results, score):
    progress, lines = said(monkeypatch)
    progress.met([a_pass(3.0, 1.0), a_pass(float("nan")), a_pass(1.0, optimizer=None)])
    progress.met([a_pass(1.0, 0.5)])
    progress.ended(results)
    assert lines == []
    progress.say()
    expected = "1 models, 3 epochs of all models trained, lowest training loss 0.75"
    assert lines == [f"{expected}{score}, 1 tasks done"]


def test_nothing_is_said_of_nothing(monkeypatch):
    progress, lines = said(monkeypatch)
    progress.ended([1.0])
    progress.say()
    assert lines == []


def test_a_line_now_and_then(monkeypatch):
    progress, lines = said(monkeypatch, interval=0)
    progress.met([a_pass(1.0)])
    progress.met([a_pass(1.0)])
    assert len(lines) == 2
