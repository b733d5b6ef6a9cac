"""Several labels a row, as columns of one label each."""

import numpy as np
import polars as pl
import pytest
import torch.nn.functional as F
from sklearn.metrics import log_loss

from tests.targets.samples import N_ROWS, net


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


def test_declared_classes_that_change(columns):
    X, Y = columns
    classes = [["even", "odd"], ["zero", "one", "two"]]
    fitted = net().partial_fit(X, Y, classes=classes)
    with pytest.raises(ValueError, match="is not what it was on the first call"):
        fitted.partial_fit(X, Y, classes=[["even", "odd"], ["zero", "one"]])
