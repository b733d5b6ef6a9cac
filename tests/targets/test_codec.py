"""What holds for every kind of targets: weights, later calls, and errors."""

import math

import numpy as np
import pytest
import torch.nn.functional as F
from torch import nn

from tests.targets.samples import N_ROWS, net


@pytest.mark.parametrize("class_weight", [None, "balanced", "list"])
@pytest.mark.parametrize("kind", ["indicators", "columns", "mixed"])
def test_a_weight_of_two_is_the_row_twice(kind, class_weight, request):
    X, Y = request.getfixturevalue(kind)
    Y = np.asarray(Y)
    lists = {
        "indicators": [{0: 1, 1: 2}, {1: 3}, {0: 0.5, 1: 1}],
        "columns": [{"odd": 2}, {"one": 1, "two": 2, "zero": 3}],
        "mixed": [{"odd": 2, "even": 1}, {0: 3, 1: 2, 2: 1}],
    }
    class_weight = lists[kind] if class_weight == "list" else class_weight
    repetitions = np.random.RandomState(0).randint(0, 3, N_ROWS)
    settings = {"class_weight": class_weight, "batch_size": 1000, "tol": -math.inf}
    weighted = net(**settings).fit(X, Y, sample_weight=repetitions)
    repeated = net(**settings).fit(np.repeat(X, repetitions, 0), np.repeat(Y, repetitions, 0))
    np.testing.assert_allclose(weighted.loss_curve_, repeated.loss_curve_, rtol=1e-8)
    for one, other in zip(weighted.predict_proba(X), repeated.predict_proba(X), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("kind", ["indicators", "columns"])
def test_early_stopping_with_weights(kind, request):
    X, Y = request.getfixturevalue(kind)
    weight = np.arange(N_ROWS) % 4
    fitted = net(early_stopping=True, max_epochs=40, n_iter_no_change=4).fit(X, Y, weight)
    scores = fitted.validation_scores_
    assert fitted.n_epochs_ < 40
    assert scores[fitted.best_epoch_ - 1] == max(scores) > 0.7
    plain = net(early_stopping=True, max_epochs=40, n_iter_no_change=4).fit(X, Y)
    assert plain.validation_scores_ != scores
    hits = (fitted.predict(X) == Y).all(axis=1)
    assert fitted.score(X, Y, sample_weight=weight) == np.average(hits, weights=weight)


def binary(y):
    return (y % 2).astype(int)


TARGETS = {
    "labels": binary,
    "indicators": lambda y: np.column_stack([y % 2, y > 4]).astype(int),
    "more indicators": lambda y: np.column_stack([y % 2, y > 4, y > 5]).astype(int),
    "twos": lambda y: 2 * np.column_stack([y % 2, y > 4]).astype(int),
    "columns": lambda y: np.column_stack([y % 3, y % 2]),
    "other columns": lambda y: np.column_stack([y % 4, y % 2]),
    "continuous": lambda y: np.column_stack([y % 3, y + 0.5]),
}


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        ("indicators", "labels", "expected one column for each of the 2 labels"),
        ("indicators", "more indicators", r"shape \(300, 3\); expected one column for each"),
        ("indicators", "twos", r"y holds \[2\]; expected zeros and ones"),
        ("indicators", "columns", r"y holds \[2\]; expected zeros and ones"),
        ("indicators", "continuous", "Unknown label type: continuous"),
        ("labels", "indicators", "should be a 1d array"),
        ("columns", "more indicators", r"shape \(300, 3\); expected 2 columns of labels"),
        ("columns", "other columns", "previously unseen labels"),
        ("columns", "labels", "expected 2 columns of labels"),
    ],
)
@pytest.mark.parametrize("method", ["partial_fit", "fit"])
def test_other_targets_in_a_later_call(digits, first, then, message, method):
    X, y = digits
    fitted = net(warm_start=True, max_epochs=1).fit(X, TARGETS[first](y))
    with pytest.raises(ValueError, match=message):
        getattr(fitted, method)(X, TARGETS[then](y))
    assert fitted.n_epochs_ == 1


@pytest.mark.parametrize(
    ("kind", "classes", "message"),
    [
        ("indicators", [0, 1], "expected one column for each of the 2 labels"),
        ("indicators", [5, 6, 7], r"classes=\[5, 6, 7\].*positions, \[0, 1, 2\]"),
        ("columns", [["even"], ["zero", "one", "two"]], "previously unseen labels.*odd"),
        ("columns", [["even", "odd"]], "expected 1 columns of labels"),
    ],
)
def test_wrong_classes(kind, classes, message, request):
    X, Y = request.getfixturevalue(kind)
    with pytest.raises(ValueError, match=message):
        net().partial_fit(X, Y, classes=classes)


@pytest.mark.parametrize(
    ("kind", "criterion", "message"),
    [
        ("indicators", "cross_entropy", "CrossEntropyLoss does not learn several labels a row"),
        ("indicators", F.cross_entropy, "CrossEntropyLoss does not learn several labels a row"),
        ("indicators", nn.MultiLabelMarginLoss, "MultiLabelMarginLoss does not learn several"),
        ("indicators", F.multilabel_margin_loss, "multilabel_margin_loss does not learn several"),
        ("indicators", "mse", "MSELoss does not learn .*BCEWithLogitsLoss"),
        ("columns", "multi_label_soft_margin", "does not learn several columns of labels"),
        ("columns", "mse", "MSELoss does not learn several columns of labels"),
        ("columns", "nll", r"no log-probabilities.*nn\.LogSoftmax"),
    ],
)
def test_losses_that_do_not_fit(kind, criterion, message, request):
    with pytest.raises(ValueError, match=message):
        net(criterion=criterion).fit(*request.getfixturevalue(kind))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("indicators", r"shape \(2, 4\).*3 labels expect \(2, 3\)"),
        ("columns", r"shape \(2, 4\).*columns of 2 \+ 3 outputs expect \(2, 5\)"),
    ],
)
def test_a_module_of_another_width(kind, message, request):
    with pytest.raises(ValueError, match=message):
        net(module=nn.Linear(64, 4)).fit(*request.getfixturevalue(kind))


@pytest.mark.parametrize(
    ("kind", "class_weight", "message"),
    [
        ("columns", {"even": 1, "odd": 2}, "for 2 columns of labels; expected 'balanced' or a"),
        ("columns", [{"even": 1}], "expected 'balanced' or a list of as many dicts"),
        ("columns", [{"even": 1, "od": 2}, {}], r"names \['od'\].*\['even', 'odd'\]"),
        ("columns", "heavy", "expected 'balanced' or a list"),
        ("indicators", [{0: 1, 2: 1}, {}, {}], r"names \[2\].*\[0, 1\]"),
        ("indicators", [{0: -1, 1: 1}, {}, {}], "no negative one"),
    ],
)
def test_wrong_class_weights(kind, class_weight, message, request):
    with pytest.raises(ValueError, match=message):
        net(class_weight=class_weight).fit(*request.getfixturevalue(kind))
