"""The page of the API has every public name, and every public name has an example."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import sktorch

PAGE = Path(__file__).parents[2] / "docs" / "api.rst"


def public_names():
    """Return what packages of sktorch list as their own, by its full name."""
    packages = [sktorch] + [
        importlib.import_module(f"sktorch.{module.name}")
        for module in pkgutil.iter_modules(sktorch.__path__)
        if module.ispkg and not module.name.startswith("_")
    ]
    named = {
        f"{package.__name__}.{name}": getattr(package, name)
        for package in packages
        for name in getattr(package, "__all__", ())
    }
    return {name: thing for name, thing in named.items() if not inspect.ismodule(thing)}


def on_the_page():
    names = re.findall(r"^   (sktorch\.[\w.]+)$", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    assert len(names) == len(set(names))
    found = {}
    for name in names:
        module, _, attribute = name.rpartition(".")
        found[name] = getattr(importlib.import_module(module), attribute)
    return found


def test_the_page_has_every_public_name():
    documented = {id(thing) for thing in on_the_page().values()}
    missing = [name for name, thing in public_names().items() if id(thing) not in documented]
    assert missing == []


@pytest.mark.parametrize("name", on_the_page())
def test_a_public_name_has_an_example(name):
    doc = inspect.getdoc(on_the_page()[name])
    assert re.search(r"\nExamples\n-+\n(.*\n)*>>> ", doc)
