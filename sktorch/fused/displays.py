"""Displays of progress: a bar in a terminal or a notebook, else a line every few seconds."""

import threading
import time
from importlib.util import find_spec
from typing import Any

from sktorch.fused.progress import Display

LINE_INTERVAL = 5.0  # seconds between two lines
BAR_INTERVAL = 0.1


def choose_display() -> Display:
    """Return a bar where one can be drawn and rich is installed, or lines."""
    if find_spec("rich") is None:
        return Lines()
    from rich.console import Console

    console = Console()
    return Bar(console) if console.is_terminal or console.is_jupyter else Lines()


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


class Bar:
    """A display that draws one bar, which leaves one line.

    It is drawn by the threads that report, so that none is left behind.
    """

    def __init__(self, console: Any) -> None:
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn
        from rich.progress import Progress as RichProgress

        columns = BarColumn(), TaskProgressColumn(), TextColumn("{task.description}")
        self._bar = RichProgress(*columns, console=console, auto_refresh=False)
        self._task = self._bar.add_task("", total=1.0)
        self._lock, self._last_time, self._has_ended = threading.Lock(), -BAR_INTERVAL, False
        self._share = 0.0

    def show(self, share: float, text: str) -> None:
        """Draw the bar anew if it was not drawn just before."""
        with self._lock:
            self._share = share
            if not self._has_ended and time.monotonic() - self._last_time >= BAR_INTERVAL:
                self._last_time = time.monotonic()
                self._bar.start()
                self._bar.update(self._task, completed=share, description=text, refresh=True)

    def end(self, text: str) -> None:
        """Draw the bar a last time, and give the terminal back."""
        with self._lock:
            self._has_ended = True
            self._bar.update(self._task, completed=self._share, description=text)
            self._bar.stop()
