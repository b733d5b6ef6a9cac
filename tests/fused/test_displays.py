import io
import re
import threading

import pytest
from rich.console import Console

from sktorch.fused import displays
from sktorch.fused.displays import Bar, Lines, choose_display


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
    bar = Bar(Console(file=file, force_terminal=True, width=80))
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
    bar = Bar(Console(file=file, force_terminal=True, width=80))
    for share in (0.5, 1.0):
        bar.show(share, "")
    bar.end("the end")
    assert re.search(r"100%[^\n]*the end", file.getvalue())


def test_lines_where_there_is_no_terminal():
    assert isinstance(choose_display(), Lines)
