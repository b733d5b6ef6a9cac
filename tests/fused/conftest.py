"""Fixtures of tests of the backend."""

import pytest

from sktorch.fused import trial
from sktorch.fused.fuser import Fuser
from sktorch.training import ahead


@pytest.fixture
def no_step_is_large(monkeypatch):
    """Let no test depend on the time that a step takes."""
    monkeypatch.setattr(trial, "MAX_ALONE_SECONDS", float("inf"))


@pytest.fixture
def one_epoch_at_a_time(monkeypatch):
    """Let fits meet after each epoch."""
    monkeypatch.setattr(ahead, "MAX_STEPS", 0)


@pytest.fixture
def met(monkeypatch, one_epoch_at_a_time):
    """Return a list of how many epochs ran together each time."""
    numbers = []
    run = Fuser.run

    def counting(self, epochs):
        numbers.append(len(epochs))
        run(self, epochs)

    monkeypatch.setattr(Fuser, "run", counting)
    return numbers
