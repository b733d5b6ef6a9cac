"""Displays of progress: a bar in a terminal or a notebook, else a line every few seconds."""

import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from sktorch.fused.progress import Display

LINE_INTERVAL = 5.0  # seconds between two lines
BAR_INTERVAL = 0.1


def choose_display() -> Display:
    """Return a bar in a notebook, or in a terminal if rich is installed, or lines."""
    if _is_in_notebook():
        return NotebookBar(import_module("IPython.display").display)
    if find_spec("rich") is None:
        return Lines()
    from rich.console import Console

    console = Console()
    return TerminalBar(console) if console.is_terminal else Lines()


def _is_in_notebook() -> bool:
    """Say whether a kernel of Jupyter runs this program."""
    ipython = sys.modules.get("IPython")
    return hasattr(getattr(ipython, "get_ipython", lambda: None)(), "kernel")


def print_line(text: str) -> None:
    """Print a line that says where it is from."""
    print(f"sktorch: {text}", flush=True)


class Lines:
    """A display that prints lines now and then."""

    def __init__(self) -> None:
        self._last_time = time.monotonic()

    def show(self, share: float, text: str) -> None:
        """Print a line if the last one is some seconds old."""
        if time.monotonic() - self._last_time >= LINE_INTERVAL:
            self._last_time = time.monotonic()
            print_line(f"{share:.0%}, {text}")

    def end(self, text: str) -> None:
        """Print the last line."""
        print_line(text)


class Bar(ABC):
    """A display that draws one bar now and then, and a last time as the call ends.

    It is drawn by the threads that report, so that none is left behind.
    """

    def __init__(self) -> None:
        self._lock, self._last_time, self._has_ended = threading.Lock(), -BAR_INTERVAL, False
        self._share = 0.0

    def show(self, share: float, text: str) -> None:
        """Draw the bar anew if it was not drawn just before."""
        with self._lock:
            self._share = share
            if not self._has_ended and time.monotonic() - self._last_time >= BAR_INTERVAL:
                self._last_time = time.monotonic()
                self._draw(share, text)

    def end(self, text: str) -> None:
        """Draw the bar a last time."""
        with self._lock:
            self._has_ended = True
            self._draw_last(self._share, text)

    @abstractmethod
    def _draw(self, share: float, text: str) -> None:
        """Draw the bar."""

    @abstractmethod
    def _draw_last(self, share: float, text: str) -> None:
        """Draw the bar as it stays."""


class TerminalBar(Bar):
    """A bar in a terminal, which leaves one line."""

    def __init__(self, console: Any) -> None:
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn
        from rich.progress import Progress as RichProgress

        super().__init__()
        columns = BarColumn(), TaskProgressColumn(), TextColumn("{task.description}")
        self._bar = RichProgress(*columns, console=console, auto_refresh=False)
        self._task = self._bar.add_task("", total=1.0)

    def _draw(self, share: float, text: str) -> None:
        self._bar.start()
        self._bar.update(self._task, completed=share, description=text, refresh=True)

    def _draw_last(self, share: float, text: str) -> None:
        self._bar.update(self._task, completed=share, description=text)
        self._bar.stop()


@dataclass(frozen=True)
class State:
    """A bar at one moment, as text and HTML."""

    share: float
    text: str

    def __repr__(self) -> str:
        return f"{self.share:.0%}, {self.text}"

    def _repr_html_(self) -> str:
        bar = f'<progress value="{self.share:.3f}" max="1" style="width: 15em"></progress>'
        return f"<div>{bar} {escape(repr(self))}</div>"


class NotebookBar(Bar):
    """A bar below a cell of a notebook, which stays there as it was last.

    It is HTML that IPython replaces, which needs no widgets. rich draws into one, warns where
    ipywidgets is missing, and leaves the bar as it was before the last task.
    """

    def __init__(self, display: Callable[..., Any]) -> None:
        super().__init__()
        self._display, self._handle = display, None

    def _draw(self, share: float, text: str) -> None:
        if self._handle is None:
            self._handle = self._display(State(share, text), display_id=True)
        else:
            self._handle.update(State(share, text))

    _draw_last = _draw
