"""Entries by name, and the nearest name for those that are unknown."""

import pytest

from sktorch._lookup import did_you_mean, find

TABLE = {"cross_entropy": 1, "mse": 2, "nll": 3}


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("cross_entropy", 1),
        ("CrossEntropy", 1),
        ("CrossEntropyLoss", 1),
        ("cross_entropy_loss", 1),
        ("M_SE", 2),
        ("NLL", 3),
    ],
)
def test_case_underscores_and_loss_do_not_matter(name, entry):
    assert find("criterion", name, TABLE) == entry


@pytest.mark.parametrize("value", [None, 5, len, str])
def test_values_that_are_no_strings_come_back(value):
    assert find("criterion", value, TABLE) is value


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cross_entropie", r"criterion='cross_entropie' is not known\. Did you mean 'cross_entr"),
        ("", r"criterion='' is not known\. Known names are cross_entropy, mse, nll\."),
        ("xyz", r"criterion='xyz' is not known\. Known names are"),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(ValueError, match=message):
        find("criterion", name, TABLE)


def test_the_nearest_name_is_shown_as_asked():
    assert did_you_mean("gama", ("gamma", "step")) == " Did you mean 'gamma'?"
    assert did_you_mean("gama", ("gamma", "step"), "lr__{}".format) == " Did you mean lr__gamma?"
    assert did_you_mean("xyz", ("gamma", "step")) == ""
