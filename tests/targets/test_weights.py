"""Sample and class weights, which multiply everywhere."""

import math

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.model_selection import KFold
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from sktorch import TorchClassifier
from sktorch.data.splitting import hold_out
from sktorch.targets.weights import row_weights

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


CODES, CLASSES = np.array([0, 0, 1, 2, 2, 2]), np.array(["a", "b", "c"])


@pytest.mark.parametrize(
    ("sample_weight", "class_weight", "expected"),
    [
        (None, None, None),
        ([1, 2, 3, 4, 5, 6], None, [1, 2, 3, 4, 5, 6]),
        (2, None, [2] * 6),
        (None, {"a": 5}, [5, 5, 1, 1, 1, 1]),
        (None, {"a": 5, "c": 0}, [5, 5, 1, 0, 0, 0]),
        (None, "balanced", [1, 1, 2, 2 / 3, 2 / 3, 2 / 3]),
        ([1, 2, 3, 4, 5, 6], {"a": 5, "b": 2, "c": 0.5}, [5, 10, 6, 2, 2.5, 3]),
        # 3 + 3 + 15 = 21 weights in three classes, each of which gets a sum of 7.
        ([1, 2, 3, 4, 5, 6], "balanced", np.array([1, 2, 3, 4, 5, 6]) * 7 / [3, 3, 3, 15, 15, 15]),
        # A class without weight is as good as absent.
        ([1, 2, 0, 4, 5, 6], "balanced", np.array([1, 2, 0, 4, 5, 6]) * 9 / [3, 3, 1, 15, 15, 15]),
    ],
)
def test_row_weights_are_the_product(sample_weight, class_weight, expected):
    weights = row_weights(CODES, CLASSES, sample_weight, class_weight)
    if expected is None:
        assert weights is None
    else:
        assert weights.dtype == np.float64
        np.testing.assert_allclose(weights, expected)


@pytest.mark.parametrize("counted", [[1, 0, 1, 1, 1, 1], [1, 1, 1, 0, 1, 1], [1, 1, 0, 1, 1, 1]])
def test_balanced_weights_come_from_the_counted_rows(counted):
    counted = np.array(counted, dtype=bool)
    counts = np.bincount(CODES[counted], minlength=3)
    by_class = counted.sum() / ((counts > 0).sum() * np.maximum(counts, 1))
    by_class[counts == 0] = 1  # A class without counted rows has weight one.
    weights = row_weights(CODES, CLASSES, None, "balanced", counted)
    np.testing.assert_allclose(weights, by_class[CODES])
    given = row_weights(CODES, CLASSES, None, {"a": 5}, counted)
    np.testing.assert_array_equal(given, [5, 5, 1, 1, 1, 1])


@pytest.mark.parametrize(
    ("sample_weight", "class_weight", "message"),
    [
        ([1, 1, 1, 1, 1, -2], None, r"negative weights \(the least is -2.0\)"),
        ([0] * 6, None, "at least one non-zero number"),
        (0, None, "at least one non-zero number"),
        ([1, 1], None, r"shape \(2,\), expected \(6,\)"),
        (np.ones((6, 1)), None, r"shape \(6, 1\), expected \(6,\)"),
        ([1, 1, 1, 1, 1, np.nan], None, "sample_weight contains NaN"),
        ([1, 1, 1, 1, 1, np.inf], None, "sample_weight contains infinity"),
        (["x"] * 6, None, "could not convert string to float|not compatible"),
        (None, {"a": -1}, "no negative one"),
        (None, {"z": 1}, r"class_weight names \['z'\].*\['a', 'b', 'c'\].*keys of class_weight"),
        (None, {"a": 0, "b": 0, "c": 0}, "at least one non-zero number"),
        (None, {"a": np.nan}, "(?i)nan|finite"),
        (None, "balance", "class_weight.*'balanced'.*'balance'"),
        (None, [1, 2, 3], "class_weight.*dict"),
    ],
)
def test_wrong_weights(sample_weight, class_weight, message):
    with pytest.raises(ValueError, match=message):
        row_weights(CODES, CLASSES, sample_weight, class_weight)


def test_given_weights_are_not_changed(blobs):
    X, codes = blobs
    weights = np.random.RandomState(0).rand(N_ROWS)
    before = weights.copy()
    classifier(early_stopping=True, class_weight="balanced").fit(X, codes, sample_weight=weights)
    np.testing.assert_array_equal(weights, before)


# Weights in training and validation


class Logits(nn.Module):
    """A linear model whose initial weights the test knows."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3, dtype=torch.float64)
        with torch.no_grad():
            self.linear.weight.copy_(torch.arange(9).reshape(3, 3) / 10)
            self.linear.bias.zero_()

    def forward(self, X):
        return self.linear(X)


def row_losses(module, X, codes):
    """Cross-entropy of each row, written out."""
    linear = module.linear
    logits = X @ linear.weight.detach().numpy().T + linear.bias.detach().numpy()
    return np.log(np.exp(logits).sum(1)) - logits[np.arange(len(X)), codes]


WEIGHTS = np.random.RandomState(3).randint(0, 4, N_ROWS).astype(float)


@pytest.mark.parametrize(
    ("class_weight", "by_class"),
    [
        (None, lambda total: [1, 1, 1]),
        ({0: 3, 2: 0.5}, lambda total: [3, 1, 0.5]),
        ("balanced", lambda total: total.sum() / (3 * total)),
    ],
)
@pytest.mark.parametrize("batch_size", [7, 1000])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_both_weights_multiply(class_weight, by_class, weights, batch_size, blobs):
    X, codes = blobs
    settings = {"module": Logits(), "batch_size": batch_size, "early_stopping": True}
    settings = {"max_epochs": 2, "random_state": 0, "device": "cpu"} | settings
    fitted = TorchClassifier(class_weight=class_weight, **settings)
    fitted.fit(X, codes, sample_weight=weights)

    ones = np.ones(N_ROWS) if weights is None else weights
    train, _ = hold_out(np.flatnonzero(ones), codes, 0.1, 0)  # "balanced" counts these.
    product = ones * np.asarray(by_class(np.bincount(codes[train], ones[train])))[codes]
    explicit = TorchClassifier(**settings).fit(X, codes, sample_weight=product)
    np.testing.assert_allclose(explicit.loss_curve_, fitted.loss_curve_, rtol=1e-12)
    np.testing.assert_allclose(explicit.predict_proba(X), fitted.predict_proba(X), rtol=1e-12)
    np.testing.assert_allclose(explicit.validation_scores_, fitted.validation_scores_, rtol=1e-12)


def test_balanced_weights_of_a_fold_are_those_of_its_training_rows(blobs):
    X, codes = blobs
    rows = np.argsort(codes, kind="stable")
    X, codes = X[rows], codes[rows]  # The last fold holds class 2 only.
    *_, (train, valid) = KFold(4).split(X)
    settings = {"module": Logits(), "class_weight": "balanced", "max_epochs": 2, "device": "cpu"}
    split = TorchClassifier(validation=KFold(4), random_state=0, **settings).fit(X, codes)
    by_class = compute_class_weight("balanced", classes=np.unique(codes), y=codes[train])
    settings |= {"class_weight": dict(enumerate(by_class))}
    apart = TorchClassifier(validation=(X[valid], codes[valid]), random_state=0, **settings)
    apart.fit(X[train], codes[train])
    np.testing.assert_allclose(split.loss_curve_, apart.loss_curve_, rtol=1e-12)
    losses = (fitted.history_[:, "valid_loss"] for fitted in (split, apart))
    np.testing.assert_allclose(*losses, rtol=1e-12)


def test_the_first_loss_is_the_weighted_mean(blobs):
    X, codes = blobs
    fitted = TorchClassifier(
        Logits(), batch_size=1000, class_weight={0: 3, 2: 0.5}, max_epochs=1, device="cpu"
    ).fit(X, codes, sample_weight=WEIGHTS)
    weights = WEIGHTS * np.array([3, 1, 0.5])[codes]
    expected = np.average(row_losses(Logits(), X, codes), weights=weights)
    assert fitted.loss_curve_ == [pytest.approx(expected, rel=1e-12)]


@pytest.mark.parametrize("batch_size", [3, 1000])
def test_weights_count_in_validation(blobs, batch_size):
    X, codes = blobs
    wrong = np.where(np.arange(N_ROWS) % 5 == 0, (codes + 1) % 3, codes)
    fitted = TorchClassifier(
        Logits(),
        batch_size=batch_size,
        early_stopping=True,
        validation_fraction=0.3,
        max_epochs=1,
        random_state=5,
        device="cpu",
    ).fit(X, wrong, sample_weight=WEIGHTS)
    _, valid = hold_out(np.flatnonzero(WEIGHTS), wrong, 0.3, 5)
    losses = row_losses(fitted.module_, X[valid], wrong[valid])
    hits = fitted.predict(X[valid]) == wrong[valid]
    assert fitted.history_[0, "valid_loss"] == pytest.approx(
        np.average(losses, weights=WEIGHTS[valid]), rel=1e-12
    )
    assert fitted.validation_scores_ == [
        pytest.approx(np.average(hits, weights=WEIGHTS[valid]), rel=1e-12)
    ]


def test_weights_decide_which_epoch_is_best(blobs):
    # Class 0 is learnt at first and lost later: how good an epoch is depends on the weights.
    X, codes = blobs
    settings = {
        "module": Logits(),
        "optimizer": torch.optim.SGD,
        "lr": 0.02,
        "batch_size": 1000,
        "early_stopping": True,
        "validation_fraction": 0.4,
        "max_epochs": 12,
        "n_iter_no_change": 12,
        "random_state": 0,
        "device": "cpu",
    }
    weights = np.where(codes == 0, 50.0, 1.0)
    plain = TorchClassifier(**settings).fit(X, codes)
    weighted = TorchClassifier(**settings).fit(X, codes, sample_weight=weights)
    _, valid = hold_out(np.arange(N_ROWS), codes, 0.4, 0)
    for fitted, w in [(plain, None), (weighted, weights[valid])]:
        hits = fitted.predict(X[valid]) == codes[valid]
        best = fitted.validation_scores_[fitted.best_epoch_ - 1]
        assert best == max(fitted.validation_scores_)
        assert best == pytest.approx(np.average(hits, weights=w))
    assert plain.validation_scores_ != weighted.validation_scores_


@pytest.mark.parametrize(
    "to_kind",
    [
        np.ndarray.tolist,
        tuple,
        pd.Series,
        pl.Series,
        torch.from_numpy,
        lambda w: torch.from_numpy(w).float(),
        lambda w: w.astype("int8"),
        lambda w: w.astype(">f4"),
        lambda w: w.astype("float16"),
        lambda w: w.astype(object),
    ],
)
def test_containers_of_weights(to_kind, blobs):
    X, codes = blobs
    expected = classifier().fit(X, codes, sample_weight=WEIGHTS).predict_proba(X)
    fitted = classifier().fit(X, codes, sample_weight=to_kind(WEIGHTS))
    np.testing.assert_array_equal(fitted.predict_proba(X), expected)


@pytest.mark.parametrize("weight", [1, 0.5, np.float32(3), True])
def test_equal_weights_are_no_weights(weight, blobs):
    X, codes = blobs
    expected = classifier().fit(X, codes)
    for given in (weight, np.full(N_ROWS, weight)):
        fitted = classifier().fit(X, codes, sample_weight=given)
        np.testing.assert_allclose(fitted.loss_curve_, expected.loss_curve_, rtol=1e-10)
        np.testing.assert_allclose(fitted.predict_proba(X), expected.predict_proba(X), rtol=1e-8)


METHODS = {
    "fit": lambda estimator, *data, **weights: estimator.fit(*data, **weights),
    "partial_fit": lambda estimator, *data, **weights: estimator.partial_fit(
        *data, classes=[0, 1, 2], **weights
    ),
}


@pytest.mark.parametrize(
    ("method", "class_weight"),
    [("fit", None), ("fit", "balanced"), ("fit", {1: 4}), ("partial_fit", {1: 4})],
)
def test_a_weight_of_two_is_the_row_twice(method, class_weight, blobs):
    X, codes = blobs
    repetitions = WEIGHTS.astype(int)
    settings = {"batch_size": 1000, "class_weight": class_weight, "tol": -math.inf}
    weighted, repeated = classifier(**settings), classifier(**settings)
    train = METHODS[method]
    train(weighted, X, codes, sample_weight=repetitions)
    train(repeated, np.repeat(X, repetitions, 0), np.repeat(codes, repetitions))
    assert weighted.module_[1].weight.dtype is torch.float64
    np.testing.assert_allclose(weighted.loss_curve_, repeated.loss_curve_, rtol=1e-10)
    np.testing.assert_allclose(
        weighted.predict_proba(X), repeated.predict_proba(X), rtol=1e-8, atol=1e-12
    )


def test_balanced_weights_need_all_of_y(blobs):
    estimator = classifier(class_weight="balanced")
    with pytest.raises(ValueError, match=r"class_weight='balanced' needs all of y.*Pass a dict"):
        estimator.partial_fit(*blobs, classes=[0, 1, 2])
    assert not hasattr(estimator, "classes_")


def test_score_is_weighted(blobs):
    X, codes = blobs
    fitted = classifier(max_epochs=1, lr=1e-4).fit(X, codes)
    hits = fitted.predict(X) == codes
    assert 0 < hits.mean() < 1
    assert fitted.score(X, codes, sample_weight=WEIGHTS) == pytest.approx(
        np.average(hits, weights=WEIGHTS)
    )


def test_a_class_without_weight_keeps_its_column(blobs):
    X, codes = blobs
    fitted = classifier(max_epochs=60).fit(X, codes, sample_weight=(codes != 1).astype(float))
    assert fitted.classes_.tolist() == [0, 1, 2]
    assert fitted.predict_proba(X).shape == (N_ROWS, 3)
    assert set(fitted.predict(X[codes != 1])) == {0, 2}
