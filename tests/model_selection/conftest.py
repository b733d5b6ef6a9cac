"""Fixtures of tests of the searches."""

import _thread
import threading

import pytest
from skorch.callbacks import Callback

from sktorch.fused import trial


@pytest.fixture
def always_stacked(monkeypatch):
    """Let no test depend on the time that a step takes."""
    monkeypatch.setattr(trial, "MAX_ALONE_SECONDS", float("inf"))
    monkeypatch.setattr(trial, "MAX_TIME_RATIO", float("inf"))


class Pressing(Callback):
    """Presses Ctrl-C, once."""

    pressed = threading.Event()

    def on_epoch_end(self, net, **kwargs):
        if not self.pressed.is_set():
            self.pressed.set()
            _thread.interrupt_main()


@pytest.fixture
def pressing():
    Pressing.pressed.clear()
    return Pressing()
