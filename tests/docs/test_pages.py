"""The Python of the README and of every page runs, from top to bottom of its page.

A page's blocks share a namespace and an empty folder. What a page needs but does not show stands in
it as a comment, ``.. invisible-code-block: python``; what can't run here is left out by
``.. skip: next "why"``.
"""

import re
from contextlib import suppress
from pathlib import Path
from unittest import SkipTest

import pytest
from sybil import Sybil
from sybil.parsers import markdown, rest

ROOT = Path(__file__).parents[2]
MADE = {
    "_build",
    "auto_examples",
    "auto_tutorial",
    "generated",
    "tutorial",
}  # by Sphinx, or run by it
PAGES = [ROOT / "README.md"] + [
    page
    for page in sorted((ROOT / "docs").rglob("*"))
    if page.suffix in {".rst", ".md"} and not MADE & set(page.relative_to(ROOT / "docs").parts)
]
PARSERS = {".md": markdown, ".rst": rest}


def examples(page):
    parsers = PARSERS[page.suffix]
    return Sybil([parsers.PythonCodeBlockParser(), parsers.SkipParser()]).parse(page)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").symlink_to(ROOT / "docs")  # whose data some pages read
    for example in examples(page).examples():
        with suppress(SkipTest):  # that block alone, not those after it
            example.evaluate()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_of_a_page_says_its_language(page):
    text = page.read_text("utf-8")
    if page.suffix == ".rst":
        assert re.findall(r"^(?!\.\. ).*::\n\n +\S.*", text, flags=re.MULTILINE) == []
    else:
        fences = re.findall(r"^```(.*)$", text, flags=re.MULTILINE)[::2]
        assert set(fences) <= {"python", "bash", "text", "{include} ../CHANGELOG.md"} | {
            "{include} ../CONTRIBUTING.md",
            "{include} ../SECURITY.md",
        }
