"""Fixtures of tests of the searches."""

import pytest

from sktorch.fused import trial


@pytest.fixture
def always_stacked(monkeypatch):
    """Let no test depend on the time that a step takes."""
    monkeypatch.setattr(trial, "MAX_ALONE_SECONDS", float("inf"))
    monkeypatch.setattr(trial, "MAX_TIME_RATIO", float("inf"))
