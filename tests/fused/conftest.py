"""Fixtures of tests of the backend."""

import pytest

from sktorch.fused import trial
from sktorch.fused.fuser import Fuser


@pytest.fixture
def no_step_is_large(monkeypatch):
    """Let no test depend on the time that a step takes."""
    monkeypatch.setattr(trial, "MAX_ALONE_SECONDS", float("inf"))


@pytest.fixture
def met(monkeypatch):
    """Return a list of how many epochs ran together each time."""
    numbers = []
    run = Fuser.run

    def counting(self, epochs):
        numbers.append(len(epochs))
        run(self, epochs)

    monkeypatch.setattr(Fuser, "run", counting)
    return numbers
