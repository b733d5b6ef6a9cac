"""Lines that report how far a search is."""

from types import SimpleNamespace

import pytest

import sktorch.fused.progress
from sktorch.fused.progress import Progress


def an_epoch(*losses, optimizer="adam", n_epochs=1):
    return SimpleNamespace(losses=losses, optimizer=optimizer, n_epochs=n_epochs)


def progress_and_lines(monkeypatch, interval=float("inf")):
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
    progress, lines = progress_and_lines(monkeypatch)
    progress.epochs_ended(
        [an_epoch(3.0, 1.0), an_epoch(float("nan")), an_epoch(1.0, optimizer=None)]
    )
    progress.epochs_ended([an_epoch(0.1, 0.2, 1.0, 0.5, n_epochs=2)])
    progress.task_ended(results)
    assert lines == []
    progress.report()
    expected = "1 models, 4 epochs of all models trained, lowest training loss 0.75"
    assert lines == [f"{expected}{score}, 1 tasks done"]


def test_nothing_is_reported_before_the_first_epoch(monkeypatch):
    progress, lines = progress_and_lines(monkeypatch)
    progress.task_ended([1.0])
    progress.report()
    assert lines == []


def test_a_line_now_and_then(monkeypatch):
    progress, lines = progress_and_lines(monkeypatch, interval=0)
    progress.epochs_ended([an_epoch(1.0)])
    progress.epochs_ended([an_epoch(1.0)])
    assert len(lines) == 2
