"""Descriptions of the parameters: the two estimators', those of the tables and the guide agree."""

import ast
import inspect
import re
from pathlib import Path

import pytest
import torch

from sktorch import TorchClassifier, TorchRegressor
from sktorch._parameters import COMPONENTS, RULES

ROOT = Path(__file__).parent.parent
PARAMETERS = (ROOT / "docs" / "parameters.md").read_text("utf-8")
GUIDE = (ROOT / "docs" / "user_guide.rst").read_text("utf-8")
ESTIMATORS = [TorchClassifier, TorchRegressor]
# The classifier's labels and the regressor's numbers are described in different words.
DIFFERENT = {
    # scores of labels are not those of numbers
    "Parameters": {"module", "criterion", "validation_fraction", "scoring", "monitor"},
    "Attributes": {"history_", "loss_curve_", "validation_scores_"},
}


def entries(estimator, section):
    """Return ``{name: (type, text)}`` of a numpydoc section, in its order."""
    doc = inspect.cleandoc(estimator.__doc__)
    body = re.search(rf"{section}\n-+\n(.*?)(?=\n\n\w+\n-+\n)", doc, flags=re.DOTALL)[1]
    found = re.findall(r"^(\S+) : (.+)\n((?: .*\n?|\n)+)", body, flags=re.MULTILINE)
    return {name: (kind, " ".join(text.split())) for name, kind, text in found}


def defaults(estimator):
    return {
        name: f"torch.optim.{p.default.__name__}" if inspect.isclass(p.default) else p.default
        for name, p in inspect.signature(estimator).parameters.items()
    }


def value_of(text):
    """Return the value that a default is written as; a class by its name."""
    return text if text.startswith("torch.") else ast.literal_eval(text)


def table(heading):
    """Return the rows of the table below a heading, without those of its head."""
    section = PARAMETERS.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


@pytest.mark.parametrize("section", ["Parameters", "Attributes"])
def test_both_estimators_describe_what_they_share_in_the_same_words(section):
    of_classifier, of_regressor = (entries(estimator, section) for estimator in ESTIMATORS)
    shared = of_classifier.keys() & of_regressor.keys()
    assert len(shared) > 15
    different = {name for name in shared if of_classifier[name] != of_regressor[name]}
    assert different == DIFFERENT[section]
    for name in shared:
        assert of_classifier[name][0] == of_regressor[name][0]
    orders = [[name for name in found if name in shared] for found in (of_classifier, of_regressor)]
    assert orders[0] == orders[1]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_docstring_holds_the_parameters_of_the_signature_with_their_defaults(estimator):
    described = entries(estimator, "Parameters")
    assert described.pop("**component_parameters") is not None
    written = {name: kind.partition("default=")[2] for name, (kind, _) in described.items()}
    assert [*written] == [*defaults(estimator)]
    assert {name: value_of(text) for name, text in written.items()} == defaults(estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_fitted_estimator_has_the_attributes_of_its_docstring(estimator):
    X, y = torch.randn(20, 3), torch.arange(20) % 2
    fitted = estimator(max_epochs=1).fit(X, y)
    assert {name for name in entries(estimator, "Attributes") if not hasattr(fitted, name)} == {
        "feature_names_in_"
    }


def test_the_table_has_the_parameters_of_the_signature_with_their_defaults():
    rows = table("Parameters")
    written = {
        name.strip("`"): value_of(default.strip("`")) for name, default, _ in rows if default
    }
    assert [*written.items()] == [*defaults(TorchClassifier).items()]
    of_components = re.findall(r"`(\w+)__\*`", " ".join(row[0] for row in rows))
    assert sorted(of_components) == sorted(COMPONENTS)


def test_the_table_names_the_attributes_of_the_docstring():
    named = re.findall(r"`(\w+_)`", " ".join(row[0] for row in table("After `fit`")))
    assert len(named) == len(set(named))
    assert set(named) <= entries(TorchClassifier, "Attributes").keys()


def test_the_guide_describes_every_parameter():
    spans = re.findall(r"`([^`]+)`", GUIDE)
    code = " ".join(spans + re.findall(r"\n\n(?:   .*\n+)+", GUIDE))
    names = defaults(TorchClassifier).keys() | defaults(TorchRegressor).keys()
    assert {name for name in names if not re.search(rf"\b{name}\b", code)} == set()


def test_values_of_parameters_in_the_guide_are_allowed():
    checked = 0
    for name, text in re.findall(r"\b(\w+)=(\"[^\"]*\"|[\w.]+)[,)`]", GUIDE):
        try:
            value = ast.literal_eval(text)
        except ValueError:  # a name, such as a module's
            continue
        if name in RULES:
            assert RULES[name][0](value), (name, value)
            checked += 1
    assert checked > 10
