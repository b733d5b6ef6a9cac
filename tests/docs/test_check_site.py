"""The check of the built site finds what it is for, and nothing else."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))

import check_site

sys.path.pop(0)

INDEX = '<a href="page.html#there">page</a>'
PAGE = '<h1 id="there">Page</h1>'
TABLE = "<article><table><tr><th>a</th><th>b</th></tr>{}</table></article>"


def wrong(tmp_path, capsys, index=INDEX, page=PAGE):
    (tmp_path / "index.html").write_text(index)
    (tmp_path / "page.html").write_text(page)
    failed = check_site.main(tmp_path)
    return failed, capsys.readouterr().out


@pytest.mark.parametrize(
    "more",
    [
        "",
        '<a href="https://pytorch.org/nowhere">elsewhere</a>',
        '<a href="#there">itself</a>',
        TABLE.format("<tr><td>1</td><td></td></tr>"),
        TABLE.format('<tr><td colspan="2">1</td></tr>'),
    ],
)
def test_a_sound_site_passes(tmp_path, capsys, more):
    assert wrong(tmp_path, capsys, page=PAGE + more) == (
        False,
        "2 pages, no dead link, no orphan, no torn table\n",
    )


@pytest.mark.parametrize(
    ("pages", "message"),
    [
        ({"index": INDEX + '<a href="no.html">no</a>'}, "no.html, which is not there"),
        ({"index": INDEX + '<img src="no.png">'}, "no.png, which is not there"),
        ({"page": PAGE + '<a href="index.html#no">no</a>'}, "links to #no"),
        ({"page": "<h1>Page</h1>"}, "links to #there"),
        ({"index": "nothing"}, "page.html: no link leads to it"),
        ({"page": PAGE + TABLE.format("<tr><td>1</td></tr>")}, "has not 2 cells"),
        (
            {"page": PAGE + TABLE.format("<tr><td></td><td>the rest of a row</td></tr>")},
            "begins with an empty cell",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path, capsys, pages, message):
    failed, printed = wrong(tmp_path, capsys, **pages)
    assert failed
    assert message in printed
