"""Parameters out of their domains, and what is said of them."""

import re

import pytest

from tests.tabular.samples import classifier, numbers, regressor

X, labels, y = numbers(20)
WRONG = {
    "n_members": ([0, 1, -1, 2.0, "3", None, True], "a whole number, 2 or more"),
    "hidden": ([3, "64", (0,), (1.5,), (True,), None], "a tuple of positive whole numbers"),
    "lr": ([0, -0.1, float("inf"), float("nan"), "auto", None, True], "a positive number"),
    "weight_decay": ([-1, float("inf"), float("nan"), "0", None], "a number, 0 or more"),
    "feature_dropout": ([-0.1, 1, 1.0, "0", None, False], "a number from 0 to less than 1"),
    "max_epochs": ([0, -1, 1.5, "all", None, True], "'auto' or a positive whole number"),
    "batch_size": ([0, -1, 1.5, "all", None, True], "'auto' or a positive whole number"),
    "time_limit": ([0, -1, "1s", float("inf"), True], "None or a positive number of seconds"),
}
CASES = [(name, value, said) for name, (values, said) in WRONG.items() for value in values]


@pytest.mark.parametrize("make", [classifier, regressor])
@pytest.mark.parametrize(("name", "value", "said"), CASES)
def test_values_out_of_their_domain_are_named_with_it(make, name, value, said):
    target = labels if make is classifier else y
    sentence = re.escape(f"{name}={value!r} must be {said}. Change it.")
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        make(**{name: value}).fit(X, target)


@pytest.mark.parametrize("loss", ["squared_error", "brier", None, ["error"]])
def test_a_loss_of_something_else_is_not_known_to_the_classifier(loss):
    with pytest.raises(ValueError, match=r"loss=.* is not known; expected one of 'log_loss', 'err"):
        classifier(loss=loss).fit(X, labels)


@pytest.mark.parametrize("loss", ["log_loss", "mae", None])
def test_a_loss_of_something_else_is_not_known_to_the_regressor(loss):
    with pytest.raises(ValueError, match=r"loss=.* is not known; expected one of 'squared_error'"):
        regressor(loss=loss).fit(X, y)


@pytest.mark.parametrize("quantile", [None, 0, 1, -0.1, 50, "0.5", float("nan")])
def test_a_quantile_has_to_be_given_for_its_loss(quantile):
    with pytest.raises(ValueError, match=r"quantile=.* must be a number above 0 and below 1 for"):
        regressor(loss="quantile", quantile=quantile).fit(X, y)


def test_a_quantile_for_another_loss_is_refused():
    with pytest.raises(ValueError, match=r"quantile=0.9 is for loss='quantile', and loss='squ"):
        regressor(quantile=0.9).fit(X, y)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"device": "cuda:99"}, "device='cuda:99' can't be used"),
        ({"random_state": "x"}, "random_state"),
        ({"categorical_features": ["unknown"]}, "categorical_features"),
        ({"class_weight": {"maybe": 2}}, "class_weight names"),
        ({"class_weight": "balance"}, "class_weight"),
    ],
)
def test_other_parameters_are_named_too(parameters, said):
    with pytest.raises(ValueError, match=said):
        classifier(**parameters).fit(X, labels)


@pytest.mark.parametrize(
    "parameters",
    [
        {"n_members": 2, "hidden": [4, 4], "max_epochs": 1, "batch_size": 1},
        {"hidden": (), "weight_decay": 0, "feature_dropout": 0, "time_limit": 100},
        {"device": "cpu", "batch_size": 1000, "lr": 1},
    ],
)
def test_values_at_the_ends_of_their_domains_are_taken(parameters):
    assert classifier(**parameters).fit(X, labels).score(X, labels) >= 0.3
    regressor(**parameters).fit(X, y).predict(X)
