import io
import re
import sys
import threading
from types import ModuleType, SimpleNamespace

import pytest
from rich.console import Console

from sktorch.fused import displays
from sktorch.fused.displays import Lines, NotebookBar, State, TerminalBar, choose_display


def test_lines_come_now_and_then(capsys, monkeypatch):
    lines = Lines()
    lines.show(0.5, "half")
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(displays, "LINE_INTERVAL", 0)
    lines.show(0.5, "half")
    lines.end("all")
    assert capsys.readouterr().out == "sktorch: 50%, half\nsktorch: all\n"


@pytest.mark.parametrize("ends_early", [False, True])
def test_a_bar_leaves_one_line_no_thread_and_the_cursor(ends_early):
    before, file = threading.active_count(), io.StringIO()
    bar = TerminalBar(Console(file=file, force_terminal=True, width=80))
    if not ends_early:
        bar.show(0.25, "a quarter")
        bar.show(0.3, "too soon to be drawn")
    bar.end("the end")
    bar.show(1.0, "after the end")
    drawn = file.getvalue()
    assert threading.active_count() == before
    assert drawn.count("\x1b[?25l") == drawn.count("\x1b[?25h") or ends_early
    assert "after the end" not in drawn
    assert "too soon" not in drawn
    if not ends_early:
        assert re.search(r"25%.*a quarter", drawn)
        assert "the end" in drawn


def test_a_bar_ends_at_the_last_share():
    file = io.StringIO()
    bar = TerminalBar(Console(file=file, force_terminal=True, width=80))
    for share in (0.5, 1.0):
        bar.show(share, "")
    bar.end("the end")
    assert re.search(r"100%[^\n]*the end", file.getvalue())


def test_lines_where_there_is_no_terminal():
    assert isinstance(choose_display(), Lines)


class Cell:
    """The output below a cell, as IPython's ``display`` changes it."""

    def __init__(self):
        self.shown = []

    def display(self, state, display_id):
        assert display_id is True
        assert not self.shown, "one output, which is replaced"
        self.update(state)
        return self

    def update(self, state):
        self.shown.append(state)


@pytest.mark.parametrize("ends_early", [False, True])
def test_a_bar_in_a_notebook_is_replaced_and_stays_as_it_was_last(ends_early):
    cell = Cell()
    bar = NotebookBar(cell.display)
    if not ends_early:
        bar.show(0.25, "a quarter")
        bar.show(0.3, "too soon to be drawn")
    bar.end("the end")
    bar.show(1.0, "after the end")
    shown = (
        [State(0.0, "the end")] if ends_early else [State(0.25, "a quarter"), State(0.3, "the end")]
    )
    assert cell.shown == shown


def test_a_bar_as_text_and_html():
    state = State(0.25, "a < b")
    assert repr(state) == "25%, a < b"
    html = state._repr_html_()
    assert '<progress value="0.250" max="1"' in html
    assert "25%, a &lt; b" in html


@pytest.mark.parametrize(("has_kernel", "kind"), [(True, NotebookBar), (False, Lines)])
def test_a_notebook_is_told_from_other_shells(monkeypatch, has_kernel, kind):
    shell = SimpleNamespace(kernel=1) if has_kernel else SimpleNamespace()
    ipython = ModuleType("IPython")
    ipython.get_ipython = lambda: shell
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=print))
    assert isinstance(choose_display(), kind)
