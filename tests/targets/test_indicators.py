"""Several labels a row: indicators, and columns of labels."""

import math
from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
import torch.nn.functional as F
from scipy import sparse
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier
from sktorch.targets.choice import label_codec
from sktorch.targets.columns import LabelColumns
from sktorch.targets.indicators import Indicators
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from sktorch import TorchClassifier

N_ROWS = 300


@pytest.fixture(scope="module")
def digits(scaled):
    X, y = scaled("digits")
    return X[:N_ROWS], y[:N_ROWS]


@pytest.fixture(scope="module")
def indicators(digits):
    """Whether a digit is even, a multiple of three, above four."""
    X, y = digits
    return X, np.column_stack([y % 2 == 0, y % 3 == 0, y > 4]).astype(int)


@pytest.fixture(scope="module")
def columns(digits):
    """A digit's parity, and its remainder by three in words."""
    X, y = digits
    return X, np.column_stack(
        [np.array(["even", "odd"])[y % 2], np.array(["zero", "one", "two"])[y % 3]]
    )


@pytest.fixture(scope="module")
def mixed(digits):
    """Words in one column and numbers in the other."""
    X, y = digits
    return X, pd.DataFrame({"parity": np.array(["even", "odd"])[y % 2], "remainder": y % 3})


def net(**parameters):
    defaults = {"lr": 0.02, "max_epochs": 8, "batch_size": 64, "random_state": 0, "device": "cpu"}
    return TorchClassifier(**(defaults | parameters))


# Indicators


def hand_written(X, Y, make_module):
    torch.manual_seed(0)
    module = make_module()
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.02, fused=True)
    X, Y = torch.as_tensor(X, dtype=torch.float32), torch.as_tensor(Y, dtype=torch.float32)
    for _ in range(4):
        for batch, target in DataLoader(TensorDataset(X, Y), batch_size=64, shuffle=True):
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(module(batch), target).backward()
            optimizer.step()
    with torch.no_grad():
        return module(X).numpy()


def make_module():
    return nn.Sequential(nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 3))


def test_indicators_train_as_in_a_hand_written_loop(indicators):
    X, Y = indicators
    logits = hand_written(X, Y, make_module)
    fitted = net(module=make_module, max_epochs=4).fit(X.astype("float32"), Y)
    np.testing.assert_allclose(fitted.decision_function(X), logits, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(fitted.predict_proba(X), 1 / (1 + np.exp(-logits)), rtol=1e-5)
    np.testing.assert_allclose(
        fitted.predict_log_proba(X), np.log(fitted.predict_proba(X)), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_array_equal(fitted.predict(X), logits > 0)


def test_shapes_are_those_of_scikit_learns_network(indicators):
    X, Y = indicators
    ours = net(max_epochs=30).fit(X, Y)
    theirs = MLPClassifier(max_iter=30, learning_rate_init=0.02, tol=0, n_iter_no_change=30)
    with pytest.warns(UserWarning, match="hasn't converged"):
        theirs.fit(X, Y)
    assert ours.classes_.tolist() == theirs.classes_.tolist() == [0, 1, 2]
    for method in ("predict", "predict_proba", "predict_log_proba"):
        one, other = (getattr(model, method)(X) for model in (ours, theirs))
        assert one.shape == other.shape
        assert one.dtype == other.dtype
    assert ours.score(X, Y) > 0.95
    assert ours.score(X, Y) == (ours.predict(X) == Y).all(axis=1).mean()


KINDS = {
    "bool": lambda Y: Y.astype(bool),
    "int8": lambda Y: Y.astype("int8"),
    "float": lambda Y: Y.astype(float),
    "list": np.ndarray.tolist,
    "tuples": lambda Y: [tuple(row) for row in Y.tolist()],
    "csr": sparse.csr_array,
    "csc matrix": sparse.csc_matrix,
    "coo": sparse.coo_array,
    "DataFrame": pd.DataFrame,
    "bool DataFrame": lambda Y: pd.DataFrame(Y.astype(bool)),
    "polars": lambda Y: pl.DataFrame(Y),
    "tensor": torch.from_numpy,
    "bool tensor": lambda Y: torch.from_numpy(Y).bool(),
    "Fortran": np.asfortranarray,
}


@pytest.mark.parametrize("kind", KINDS)
def test_containers_of_indicators(indicators, kind):
    X, Y = indicators
    given = KINDS[kind](Y)
    fitted = net(max_epochs=2).fit(X, given)
    expected = net(max_epochs=2).fit(X, Y)
    np.testing.assert_array_equal(fitted.predict_proba(X), expected.predict_proba(X))
    assert fitted.predict(X).dtype == np.int64
    assert fitted.score(X, given) == expected.score(X, Y)


@pytest.mark.parametrize(
    "criterion",
    [
        "bce_with_logits",
        "multi_label_soft_margin",
        F.binary_cross_entropy_with_logits,
        F.multilabel_soft_margin_loss,
        nn.BCEWithLogitsLoss(pos_weight=torch.ones(3)),
    ],
)
def test_names_of_the_same_loss(indicators, criterion):
    X, Y = indicators
    expected = net().fit(X, Y)
    fitted = net(criterion=criterion).fit(X, Y)
    np.testing.assert_allclose(fitted.loss_curve_, expected.loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(fitted.predict_proba(X), expected.predict_proba(X), rtol=1e-6)


@pytest.mark.parametrize("criterion", ["auto", "bce_with_logits"])
def test_pos_weight_of_indicators(indicators, criterion):
    X, Y = indicators
    weight = torch.tensor([1.0, 9.0, 0.1])
    fitted = net(criterion=criterion, criterion__pos_weight=weight).fit(X.astype("float32"), Y)
    by_hand = net(criterion=partial(F.binary_cross_entropy_with_logits, pos_weight=weight))
    by_hand.fit(X.astype("float32"), Y)
    np.testing.assert_allclose(fitted.predict_proba(X), by_hand.predict_proba(X), rtol=1e-5)
    plain = net().fit(X.astype("float32"), Y).predict_proba(X).mean(axis=0)
    weighted = fitted.predict_proba(X).mean(axis=0)
    assert weighted[1] > plain[1]
    assert weighted[2] < plain[2]


def test_pos_weight_is_for_indicators_only(digits, columns):
    for X, y in (digits, columns):
        estimator = net(criterion__pos_weight=torch.ones(3))
        with pytest.raises(TypeError, match=r"can't be made with criterion__pos_weight"):
            estimator.fit(X, y)
        assert not hasattr(estimator, "net_")


@pytest.mark.parametrize("value", [0, 1])
def test_a_label_that_all_rows_have_or_none(indicators, value):
    X, Y = indicators
    Y = np.column_stack([Y[:, 0], np.full(len(Y), value)])
    fitted = net().fit(X, Y)
    assert (fitted.predict(X)[:, 1] == value).all()
    assert fitted.predict_proba(X).shape == (N_ROWS, 2)


# Columns of labels


def test_columns_share_one_module(columns):
    X, Y = columns
    fitted = net(max_epochs=20).fit(X, Y)
    assert fitted.module_[-1].out_features == 5
    assert [classes.tolist() for classes in fitted.classes_] == [
        ["even", "odd"],
        ["one", "two", "zero"],
    ]
    assert fitted.predict(X).shape == Y.shape
    assert fitted.score(X, Y) == (fitted.predict(X) == Y).all(axis=1).mean() > 0.95
    p, log_p = fitted.predict_proba(X), fitted.predict_log_proba(X)
    for column, classes in enumerate(fitted.classes_):
        assert p[column].shape == (N_ROWS, len(classes))
        np.testing.assert_allclose(p[column].sum(axis=1), 1, rtol=1e-9)
        np.testing.assert_allclose(log_p[column], np.log(p[column]), rtol=1e-6)
        np.testing.assert_array_equal(classes[p[column].argmax(1)], fitted.predict(X)[:, column])
    parity, remainder = fitted.decision_function(X)
    np.testing.assert_array_equal(parity > 0, fitted.predict(X)[:, 0] == "odd")
    assert (parity.shape, remainder.shape) == ((N_ROWS,), (N_ROWS, 3))


def test_the_net_gives_the_probabilities_of_each_column(columns):
    fitted = net().fit(*columns)
    inside = fitted.net_.predict_proba(columns[0])
    assert isinstance(inside, list)
    for own, expected in zip(inside, fitted.predict_proba(columns[0]), strict=True):
        np.testing.assert_array_equal(own, expected)


def test_the_loss_of_columns_is_the_mean_of_theirs(columns):
    X, Y = columns
    fitted = net(validation=(X, Y)).fit(X, Y)
    p = fitted.predict_proba(X)
    losses = [
        log_loss(column, q, labels=classes)
        for column, q, classes in zip(Y.T, p, fitted.classes_, strict=True)
    ]
    assert fitted.history_[-1, "valid_loss"] == pytest.approx(np.mean(losses), rel=1e-6)
    assert fitted.history_[-1, "valid_acc"] == fitted.score(X, Y)


def test_columns_of_words_and_numbers(mixed):
    X, Y = mixed
    fitted = net(max_epochs=20).fit(X, Y)
    assert [classes.dtype.kind for classes in fitted.classes_] == ["U", "i"]
    predicted = fitted.predict(X)
    assert predicted.dtype == object
    assert {type(value) for value in predicted[:, 1]} == {int}
    assert fitted.score(X, Y) > 0.9
    assert fitted.score(X, Y.to_numpy()) == fitted.score(X, Y)
    assert fitted.score(X, pl.DataFrame(Y.to_dict("list"))) == fitted.score(X, Y)


@pytest.mark.parametrize(
    ("criterion", "n_outputs", "has_probabilities"),
    [
        ("cross_entropy", 5, True),
        ("bce_with_logits", 4, True),  # one for two classes
        ("soft_margin", 4, True),
        ("multi_margin", 5, False),
        (F.cross_entropy, 5, True),
    ],
)
def test_losses_of_columns(columns, criterion, n_outputs, has_probabilities):
    X, Y = columns
    fitted = net(criterion=criterion, max_epochs=20).fit(X, Y)
    assert fitted.module_[-1].out_features == n_outputs
    assert fitted.score(X, Y) > 0.9
    assert hasattr(fitted, "predict_proba") == has_probabilities


@pytest.mark.parametrize("criterion", ["cross_entropy", "bce_with_logits"])
def test_a_column_of_one_label(columns, criterion):
    X, Y = columns
    Y = np.column_stack([Y[:, 0], np.full(N_ROWS, "same")])
    fitted = net(criterion=criterion).fit(X, Y)
    assert [p.shape for p in fitted.predict_proba(X)] == [(N_ROWS, 2), (N_ROWS, 1)]
    np.testing.assert_array_equal(fitted.predict_proba(X)[1], 1)
    assert set(fitted.predict(X)[:, 1]) == {"same"}


# Weights and early stopping


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


# partial_fit


def test_indicators_in_parts(indicators):
    X, Y = indicators
    parts = net().partial_fit(X, Y, classes=[0, 1, 2])
    for _ in range(7):
        parts.partial_fit(X, Y)
    np.testing.assert_array_equal(parts.predict_proba(X), net().fit(X, Y).predict_proba(X))


def test_columns_in_parts_of_which_the_first_lacks_labels(columns):
    X, Y = columns
    classes = [["even", "odd"], ["zero", "one", "two", "never"]]
    first = Y[:, 1] != "two"
    parts = net().partial_fit(X[first], Y[first], classes=classes)
    for _ in range(20):
        parts.partial_fit(X, Y)
    assert parts.classes_[1].tolist() == ["never", "one", "two", "zero"]
    assert parts.predict_proba(X)[1].shape == (N_ROWS, 4)
    assert parts.score(X, Y) > 0.9


def test_declared_columns_may_begin_with_zeros_and_ones(digits):
    X, y = digits
    Y = np.column_stack([y % 3, y % 2])
    first = (y % 3) < 2
    parts = net().partial_fit(X[first], Y[first], classes=[[0, 1, 2], [0, 1]])
    assert parts.partial_fit(X, Y).predict_proba(X)[0].shape == (N_ROWS, 3)
    assert parts.partial_fit(X, Y, classes=[[0, 1, 2], [0, 1]]).n_epochs_ == 3


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


def test_classes_that_change(columns):
    X, Y = columns
    classes = [["even", "odd"], ["zero", "one", "two"]]
    fitted = net().partial_fit(X, Y, classes=classes)
    with pytest.raises(ValueError, match="is not what it was on the first call"):
        fitted.partial_fit(X, Y, classes=[["even", "odd"], ["zero", "one"]])


# Errors


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


@pytest.mark.parametrize("values", [(-1, 1), (0, 7), (1, 2), (3, 4)])
@pytest.mark.parametrize("dtype", [int, float])
def test_two_values_other_than_zero_and_one_are_columns_of_labels(indicators, values, dtype):
    X, Y = indicators
    labels = np.array(values, dtype=dtype)[Y]
    fitted = net(max_epochs=30).fit(X, labels)
    assert [classes.tolist() for classes in fitted.classes_] == [list(values)] * 3
    assert [p.shape for p in fitted.predict_proba(X)] == [(N_ROWS, 2)] * 3
    assert set(np.unique(fitted.predict(X))) == set(values)
    assert fitted.score(X, labels) == (fitted.predict(X) == labels).all(axis=1).mean() > 0.9
    with pytest.raises(ValueError, match="does not learn several columns of labels"):
        net(criterion="multi_label_soft_margin").fit(X, labels)


@pytest.mark.parametrize(
    ("Y", "codec", "n_columns"),
    [
        ([[0, 1], [1, 1], [0, 0]], Indicators, 2),
        ([[0, 2], [1, 1], [0, 0]], LabelColumns, 2),
        ([[-1, 1], [1, 1], [-1, -1]], LabelColumns, 2),
        ([[0, 7], [7, 7], [0, 0]], LabelColumns, 2),
        ([["a", "b"], ["b", "b"], ["a", "b"]], LabelColumns, 2),
        ([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], Indicators, 2),
        (sparse.eye_array(3), Indicators, 3),
        ([[1, 1], [1, 1], [1, 1]], Indicators, 2),
    ],
)
def test_what_columns_hold_decides(Y, codec, n_columns):
    assert label_codec(Y) is codec
    checked = codec.check(Y, np.zeros((3, 1)))
    made = codec.of(checked)
    assert len(made.classes) == n_columns
    np.testing.assert_array_equal(made.decode(made.encode(checked)), checked)


@pytest.mark.parametrize(
    ("Y", "message"),
    [
        ([[0.5, 1.5], [1.0, 2.5], [0.0, 1.0]], "Unknown label type: continuous"),
        ([[0, 1], [1, 0]], r"inconsistent numbers of samples: \[3, 2\]"),
        ([[0, np.nan], [1, 0], [1, 1]], "y contains NaN"),
        ([["a", None], ["b", "b"], ["a", "b"]], "(?i)nan|NoneType|unknown label type"),
    ],
)
def test_wrong_label_matrices(Y, message):
    with pytest.raises((ValueError, TypeError), match=message):
        label_codec(Y).check(Y, np.zeros((3, 1)))
