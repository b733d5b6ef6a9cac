"""One label a row, of every kind."""

import re
import warnings
from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.exceptions import DataConversionWarning
from sklearn.metrics import accuracy_score
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from torch import nn

from sktorch import TorchClassifier
from sktorch.targets.labels import Labels, classes_of, encode_labels

N_ROWS = 45


def classifier(**parameters):
    settings = {
        "module__hidden": (),
        "max_epochs": 3,
        "lr": 0.05,
        "batch_size": 16,
        "random_state": 0,
        "device": "cpu",
    }
    return TorchClassifier(**(settings | parameters))


LABELS = {
    "int": [0, 1, 2],
    "negative": [-5, -1, 7],
    "far apart": [-(2**60), 0, 2**60],
    "uint8": np.array([3, 5, 250], dtype="uint8"),
    "float": [-1.0, 0.0, 2.0],
    "str": ["cat", "dog", "élan"],
    "object of str": np.array(["cat", "dog", "mouse"], dtype=object),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_come_back_as_they_were(kind, blobs):
    X, codes = blobs
    labels = np.asarray(LABELS[kind])
    fitted = classifier(max_epochs=40).fit(X, labels[codes])
    assert fitted.classes_.dtype == labels.dtype
    np.testing.assert_array_equal(fitted.classes_, labels)
    predicted = fitted.predict(X)
    assert predicted.dtype == labels.dtype
    np.testing.assert_array_equal(predicted, labels[codes])
    np.testing.assert_array_equal(labels[fitted.predict_proba(X).argmax(1)], predicted)
    assert fitted.score(X, labels[codes]) == 1


def test_bool_labels(blobs):
    X, codes = blobs
    fitted = classifier(max_epochs=40).fit(X, codes == 1)
    assert fitted.classes_.tolist() == [False, True]
    assert fitted.predict(X).dtype == bool
    np.testing.assert_array_equal(fitted.predict(X), codes == 1)
    assert ((fitted.decision_function(X) > 0) == (codes == 1)).all()


@pytest.mark.parametrize(
    "to_kind",
    [
        np.ndarray.tolist,
        tuple,
        pd.Series,
        lambda y: pd.Series(y, index=np.arange(len(y))[::-1]),
        lambda y: pd.Series(y).astype("category"),
        pl.Series,
        torch.from_numpy,
        lambda y: torch.from_numpy(y).to(torch.uint8),
        lambda y: y.astype(">i4"),
        lambda y: y[::-1][::-1],
    ],
)
def test_containers_of_labels(to_kind, blobs):
    X, codes = blobs
    expected = classifier().fit(X, codes).predict_proba(X)
    fitted = classifier().fit(X, to_kind(codes))
    assert isinstance(fitted.classes_, np.ndarray)
    np.testing.assert_array_equal(fitted.predict_proba(X), expected)


def test_a_column_of_labels_is_taken_with_a_warning(blobs):
    X, codes = blobs
    with pytest.warns(DataConversionWarning, match="column-vector y was passed"):
        fitted = classifier().fit(X, codes[:, None])
    assert fitted.predict(X).shape == (N_ROWS,)


@pytest.mark.parametrize("criterion", [nn.CrossEntropyLoss, nn.BCEWithLogitsLoss])
@pytest.mark.parametrize("label", [0, "only"])
def test_one_class_only(criterion, label, blobs):
    X, _ = blobs
    fitted = classifier(criterion=criterion).fit(X, [label] * N_ROWS)
    assert fitted.classes_.tolist() == [label]
    assert set(fitted.predict(X)) == {label}
    np.testing.assert_array_equal(fitted.predict_proba(X), np.ones((N_ROWS, 1)))
    np.testing.assert_array_equal(fitted.predict_log_proba(X), np.zeros((N_ROWS, 1)))
    assert fitted.score(X, [label] * N_ROWS) == 1


def test_partial_fit_declares_classes(blobs):
    X, codes = blobs
    labels = np.array(["a", "b", "c", "never"])
    fitted = classifier(lr=0.2)
    for _ in range(10):
        for code in range(3):  # each call sees one class only
            fitted.partial_fit(X[codes == code], labels[codes[codes == code]], classes=labels[::-1])
    assert fitted.classes_.tolist() == ["a", "b", "c", "never"]
    assert fitted.predict_proba(X).shape == (N_ROWS, 4)
    assert fitted.n_epochs_ == 30
    fitted.partial_fit(X, labels[codes])  # classes may be left out, or come as a list
    fitted.partial_fit(X, labels[codes], classes=["never", "c", "b", "a"])
    assert fitted.predict_proba(X)[:, 3].max() < 0.25
    assert fitted.score(X, labels[codes]) > 0.6


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        (None, {}, "classes must be passed on the first call to partial_fit"),
        (None, {"classes": [0, 1]}, r"previously unseen labels.*2"),
        (None, {"classes": [0, 1, np.nan]}, "contains NaN"),
        (None, {"classes": [[0, 1, 2]]}, "should be a 1d array"),
        ([0, 1, 2], {"classes": [0, 1, 2, 3]}, r"classes=\[0, 1, 2, 3\] is not what it was"),
        ([0, 1, 2], {"classes": ["a", "b", "c"]}, "is not what it was.*Leave it out, or fit again"),
    ],
)
def test_wrong_classes_in_partial_fit(first, then, message, blobs):
    X, codes = blobs
    estimator = classifier()
    if first is not None:
        estimator.partial_fit(X, codes, classes=first)
    with pytest.raises(ValueError, match=message):
        estimator.partial_fit(X, codes, **then)
    assert hasattr(estimator, "classes_") == (first is not None)
    if first is not None:
        assert estimator.n_epochs_ == 1


def test_a_label_of_no_class_is_named_on_a_later_call(blobs):
    X, codes = blobs
    fitted = classifier().fit(X, codes)
    with pytest.raises(ValueError, match=r"previously unseen labels.*9"):
        fitted.partial_fit(X, np.where(codes == 1, 9, codes))
    with pytest.raises(ValueError, match=r"previously unseen labels.*9"):
        fitted.set_params(warm_start=True).fit(X, np.where(codes == 1, 9, codes))


def test_a_class_missing_in_a_warm_start_keeps_its_column(blobs):
    X, codes = blobs
    fitted = classifier(warm_start=True).fit(X, codes)
    present = codes != 1
    fitted.fit(X[present], codes[present])
    assert fitted.classes_.tolist() == [0, 1, 2]
    assert fitted.predict_proba(X).shape == (N_ROWS, 3)


# Functions


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        ([0.5, 1.5, 2.5], ValueError, "Unknown label type: continuous"),
        ([0, 1], ValueError, r"inconsistent numbers of samples: \[3, 2\]"),
        ([[0, 1], [1, 0], [1, 1]], ValueError, "should be a 1d array"),
        ([0, 1, np.nan], ValueError, "y contains NaN"),
        ([0, 1, np.inf], ValueError, "y contains infinity"),
        (torch.tensor([0.0, 1.0, torch.nan]), ValueError, "y contains NaN"),
        (["a", "b", None], TypeError, "'NoneType'"),
        (np.array([1, 2, 1], dtype=object), ValueError, "Unknown label type: unknown"),
        (None, ValueError, "y should be a 1d array|requires y"),
    ],
)
def test_wrong_labels(y, error, message):
    with pytest.raises(error, match=message):
        classes_of(Labels.check(y, np.zeros((3, 2))))


def warned(check, y):
    """Return the errors and warnings of a check."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            check(y)
        except ValueError as error:
            return str(error)
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize(
    "y",
    [
        np.arange(30) % 15,
        np.arange(30) % 16,
        np.arange(31) % 16,
        np.arange(20),
        np.array([-(2**63), 2**63 - 1] * 20),
        np.array([0, 200] * 20, dtype="uint8"),
        np.array([True, False] * 20),
        np.array([], dtype=int),
        np.array(1),
    ],
    ids=repr,
)
def test_integers_are_checked_as_scikit_learn_checks_them(y):
    expected = warned(lambda y: check_classification_targets(column_or_1d(y)), y)
    assert warned(lambda y: Labels.check(y, y), y) == expected


@pytest.mark.parametrize(
    ("y", "classes", "codes"),
    [
        (["b", "a", "b"], ["a", "b"], [1, 0, 1]),
        ([-1, 5, -1], [-1, 5], [0, 1, 0]),
        ([True, False], [False, True], [1, 0]),
        (torch.tensor([3, 1]), [1, 3], [1, 0]),
    ],
)
def test_codes_are_positions_among_the_classes(y, classes, codes):
    y = Labels.check(y, y)
    found = classes_of(y)
    assert found.tolist() == classes
    encoded = encode_labels(y, found)
    assert encoded.dtype == np.int64
    assert encoded.tolist() == codes


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (np.array([3, 5, 3], dtype="uint8"), [3, 5]),
        (np.array([2**63, 1], dtype="uint64"), [1, 2**60]),
        (np.array([True, False]), [0, 1, 2]),
        (np.array([1.0, 2.0]), [1, 2]),
        (np.array([1.0, np.nan]), [1, 2]),
        (np.array([0, 1]), [1, 2]),
        (np.array([1, 3]), [1, 2]),
        (np.array([1, 2]), [1, 3]),
        (np.array([], dtype=int), [1, 2]),
        (np.array(["a", "c"]), ["a", "b", "c"]),
        (np.array(["a", "d"]), ["a", "b", "c"]),
        (np.array(["a", "b"], dtype=object), ["a", "b"]),
    ],
)
def test_codes_and_errors_are_those_of_the_label_encoder(y, classes):
    encoder = LabelEncoder().fit(classes)
    try:
        expected = encoder.transform(y)
    except ValueError as error:
        with pytest.raises(ValueError, match=re.escape(str(error))):
            encode_labels(y, encoder.classes_)
    else:
        assert encode_labels(y, encoder.classes_).tolist() == expected.tolist()


@pytest.mark.parametrize(
    "y",
    [
        [0, 1, 2, 2],
        [0, 1, 2, 7],
        np.array([0.0, 1.0, 2.0, 2.0]),
        np.array([0.5, 1, 2, 2]),
        np.array([0, 1, 2, 2], dtype=object),
        np.array([True, False, True, True]),
        np.array(list("abcc")),
        np.array([[0], [1], [2], [2]]),
        pd.Series([0, 1, 2, 2]),
        [0, 1],
        np.array([0, 1, 2]),
        np.array(["a", None, "b", "b"], dtype=object),
    ],
    ids=repr,
)
@pytest.mark.filterwarnings(
    "ignore:y_pred contains classes not in y_true", "ignore:A column-vector"
)
def test_scores_are_those_of_scikit_learn_and_what_it_refuses_names_y(y, blobs):
    X, codes = blobs
    fitted = classifier().fit(X, codes)
    predicted = fitted.predict(X[:4])
    try:
        expected = accuracy_score(y, predicted)
    except (ValueError, TypeError) as error:
        with pytest.raises(type(error), match=r"\by\b"):
            fitted.score(X[:4], y)
    else:
        score = fitted.score(X[:4], y)
        assert (score, type(score)) == (expected, type(expected))


# Two classes: one output or two


def outputs(n, flat=False, ending=None):
    layers = [nn.Linear(3, n), *([nn.Flatten(0)] if flat else []), *([ending] if ending else [])]
    return nn.Sequential(*layers).double()


@pytest.mark.parametrize(
    ("criterion", "module"),
    [
        ("cross_entropy", partial(outputs, 2)),
        ("nll", partial(outputs, 2, ending=nn.LogSoftmax(dim=1))),
        ("bce_with_logits", partial(outputs, 1)),
        ("bce_with_logits", partial(outputs, 1, flat=True)),
        ("bce_with_logits", partial(outputs, 2)),
        ("bce", partial(outputs, 1, ending=nn.Sigmoid())),
        ("bce", partial(outputs, 1, flat=True, ending=nn.Sigmoid())),
        ("soft_margin", partial(outputs, 1)),
        ("soft_margin", partial(outputs, 1, flat=True)),
    ],
)
@pytest.mark.parametrize("early_stopping", [False, True])
def test_two_classes_by_one_output_or_two(blobs, criterion, module, early_stopping):
    X, codes = blobs
    y = np.array(["no", "yes"])[(codes == 1).astype(int)]
    weight = np.arange(N_ROWS) % 3 + 1
    fitted = TorchClassifier(
        module,
        criterion=criterion,
        early_stopping=early_stopping,
        max_epochs=40,
        lr=0.05,
        batch_size=16,
        random_state=0,
        device="cpu",
    ).fit(X, y, sample_weight=weight)
    p, scores = fitted.predict_proba(X), fitted.decision_function(X)
    assert p.shape == (N_ROWS, 2)
    assert scores.shape == (N_ROWS,)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    np.testing.assert_array_equal(scores > 0, fitted.predict(X) == "yes")
    np.testing.assert_array_equal(p[:, 1] > 0.5, fitted.predict(X) == "yes")
    assert fitted.score(X, y) > 0.8


def test_one_logit_is_two_of_which_the_first_is_zero(blobs):
    X, codes = blobs
    y = codes == 1
    fitted = classifier(criterion="bce_with_logits").fit(X, y)
    logits = fitted.decision_function(X)
    np.testing.assert_allclose(fitted.predict_proba(X)[:, 1], 1 / (1 + np.exp(-logits)))


@pytest.mark.parametrize(
    ("criterion", "width"), [("cross_entropy", 1), ("bce_with_logits", 3), ("soft_margin", 3)]
)
def test_outputs_that_do_not_fit_two_classes(blobs, criterion, width):
    X, codes = blobs
    fitted = TorchClassifier(partial(outputs, width), criterion=criterion)
    with pytest.raises(ValueError, match=rf"shape \(2, {width}\).*on 2 classes expects"):
        fitted.fit(X, codes == 1)
