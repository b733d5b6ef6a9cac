"""The code of each page of the documentation runs from top to bottom, and prints what it says.

Sybil finds the blocks. Those of "python" share one namespace, as the lines of a script; those of
"output" hold what the block before printed; lines after ``>>>`` are doctests. A page may hide its
set-up in a comment, ``.. invisible-code-block: python``, and name what can't run here by
``.. skip: next "reason"``.
"""

import os
import re
import sys
from contextlib import redirect_stdout, suppress
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE
from io import StringIO
from pathlib import Path
from types import ModuleType
from unittest import SkipTest
from unittest.mock import patch

import matplotlib
import matplotlib.pyplot as plt
import pytest
import sklearn
from sybil.document import Document
from sybil.evaluators.doctest import NUMBER, OutputChecker
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers import markdown, rest

ROOT = Path(__file__).parents[2]
BUILT = {"_build", "_templates", "auto_examples", "auto_tutorial", "generated"}
RUN_BY_SPHINX = {"tutorial"}
PAGES = [
    ROOT / "README.md",
    *(
        page
        for page in sorted((ROOT / "docs").rglob("*.*"))
        if page.suffix in {".rst", ".md"}
        and (BUILT | RUN_BY_SPHINX).isdisjoint(page.relative_to(ROOT).parts)
    ),
]
FLAGS = ELLIPSIS | NORMALIZE_WHITESPACE | NUMBER  # of 0.97, the two digits count

run_python = PythonEvaluator()


def run(example):
    """Run a block, and keep what it prints."""
    example.document.printed = StringIO()
    with redirect_stdout(example.document.printed):
        run_python(example)


def compare(example):
    """Return how a block of output differs from what was printed, or None."""
    printed = example.document.printed.getvalue()
    if not OutputChecker().check_output(example.parsed, printed, FLAGS):
        return f"Expected:\n{example.parsed}\nPrinted:\n{printed}"


PARSERS = {
    ".rst": (
        rest.CodeBlockParser("python", run),
        rest.CodeBlockParser("output", compare),
        rest.DocTestParser(FLAGS),
        rest.SkipParser(),
    ),
    ".md": (
        markdown.CodeBlockParser("python", run),
        markdown.CodeBlockParser("output", compare),
        markdown.SkipParser(),
    ),
}


@pytest.fixture
def script(monkeypatch, tmp_path):
    """A module that stands for a script: it is ``__main__``, and its settings end with it."""
    module = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").symlink_to(ROOT / "docs")  # whose data some pages read
    with patch.dict(os.environ), sklearn.config_context(), matplotlib.rc_context():
        matplotlib.use("agg")
        yield module
    plt.close("all")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_code_of_a_page_runs(page, script):
    document = Document.parse(str(page), *PARSERS[page.suffix])
    document.namespace = vars(script)
    for example in document.examples():
        with suppress(SkipTest):
            example.evaluate()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_block_of_a_page_says_its_language(page):
    text = page.read_text("utf-8")
    if page.suffix == ".rst":
        assert re.findall(r"^(?!\.\. ).*::\n\n +\S.*", text, flags=re.MULTILINE) == []
    else:
        languages = re.findall(r"^```(.*)$", text, flags=re.MULTILINE)[::2]
        assert {language.partition(" ")[0] for language in languages} <= {
            *("bash", "output", "python", "text", "{include}")
        }
