"""Names of other packages that the site links to are theirs."""

import sys
from importlib import import_module
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "_ext"))

import inventories

sys.path.pop(0)


def exists(name):
    module, _, attribute = name.rpartition(".")
    try:
        return hasattr(import_module(module or "builtins"), attribute)
    except ModuleNotFoundError:
        return False


@pytest.mark.parametrize("package", inventories.PAGES)
def test_names_of_a_package_exist(package):
    names = set().union(*inventories.PAGES[package][1].values())
    assert sorted(name for name in names if not exists(name)) == []


@pytest.mark.parametrize(
    ("name", "aliases"),
    [
        ("torch.nn.Module", {"torch.nn.Module", "nn.Module"}),
        ("torch.utils.data.DataLoader", {"torch.utils.data.DataLoader", "DataLoader"}),
        ("sklearn.base.clone", {"sklearn.base.clone"}),
        (
            "sklearn.model_selection.GridSearchCV",
            {"sklearn.model_selection.GridSearchCV", "GridSearchCV"},
        ),
    ],
)
def test_prose_may_call_them_by_their_short_names(name, aliases):
    assert inventories.aliases(name) == aliases
