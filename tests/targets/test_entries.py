"""A label for each step or pixel: told by y or by the module's output, and what it can't have."""

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, KFold
from torch import nn

from sktorch import TorchClassifier
from sktorch.targets.entries import EntryLabels

X = np.random.default_rng(0).random((40, 7, 3), dtype=np.float32)
CODES = (X[..., 0] * 3).astype(int)


class Tagger(nn.Module):
    """The scores of the classes of each step, (n_rows, n_classes, n_steps)."""

    def __init__(self, n_outputs):
        super().__init__()
        self.output = nn.Linear(3, n_outputs)

    def forward(self, X):
        return self.output(X).transpose(1, 2)


class LogTagger(Tagger):
    def forward(self, X):
        return super().forward(X).log_softmax(1)


class OneScore(Tagger):
    """One score a step, (n_rows, n_steps, 1)."""

    def __init__(self):
        super().__init__(1)

    def forward(self, X):
        return super().forward(X).transpose(1, 2)


def net(module=Tagger, **parameters):
    defaults = {"max_epochs": 100, "lr": 0.05, "batch_size": 40, "random_state": 0}
    return TorchClassifier(module, **defaults | parameters)


STEPS = {
    "codes": CODES,
    "words": np.array(["noun", "verb", "other"])[CODES],
    "two classes": (CODES > 0).astype(int),
    "two words": np.array(["no", "yes"])[(CODES > 0).astype(int)],
    "lists": CODES.tolist(),
}


@pytest.mark.parametrize("y", STEPS.values(), ids=STEPS.keys())
@pytest.mark.parametrize("settings", [{}, {"early_stopping": True, "max_epochs": 60}])
def test_a_matrix_has_labels_of_steps_if_the_module_scores_steps(y, settings):
    fitted, labels = net(**settings).fit(X, y), np.asarray(y)
    np.testing.assert_array_equal(fitted.classes_, np.unique(labels))
    predicted, p = fitted.predict(X), fitted.predict_proba(X)
    assert predicted.shape == labels.shape
    assert p.shape == (*labels.shape, len(fitted.classes_))
    np.testing.assert_array_equal(fitted.classes_[p.argmax(-1)], predicted)
    assert fitted.score(X, y) == pytest.approx((predicted == labels).mean())
    assert fitted.score(X, y) > 0.6


def test_a_matrix_has_columns_of_labels_if_the_module_scores_columns():
    assert len(TorchClassifier(max_epochs=1).fit(X, CODES).classes_) == 7


@pytest.mark.parametrize("declared", [[0, 1, 2], [2, 0, 1]])
def test_labels_of_steps_are_declared_as_one_set(declared):
    rows = (CODES < 2).all(axis=1).nonzero()[0]
    y = CODES[:, :, None]
    parts = net(lambda n_outputs: nn.Sequential(Tagger(n_outputs), nn.Unflatten(2, (7, 1))))
    parts.partial_fit(X[rows[:1]], y[rows[:1]], classes=declared).partial_fit(X, y)
    np.testing.assert_array_equal(parts.classes_, [0, 1, 2])
    assert parts.predict_proba(X).shape == (40, 7, 1, 3)
    with pytest.raises(ValueError, match="not what it was"):
        parts.partial_fit(X, y, classes=[0, 1])


OUTPUTS = {
    "cross-entropy": (Tagger, "cross_entropy", CODES),
    "log-probabilities": (LogTagger, "nll", CODES),
    "one against the rest": (Tagger, "bce_with_logits", CODES),
    "two scores": (lambda: Tagger(2), "bce_with_logits", CODES > 0),
    "one score": (lambda: Tagger(1), "bce_with_logits", CODES > 0),
    "one score without a dimension": (OneScore, "bce_with_logits", (CODES > 0)[..., None]),
    "signs": (lambda: Tagger(1), "soft_margin", CODES > 0),
}


@pytest.mark.parametrize(("module", "criterion", "y"), OUTPUTS.values(), ids=OUTPUTS.keys())
def test_every_loss_of_labels_takes_labels_of_steps(module, criterion, y):
    fitted = net(module, criterion=criterion, max_epochs=200).fit(X, y)
    assert fitted.score(X, y) > 0.65
    p, scores = fitted.predict_proba(X), fitted.decision_function(X)
    n_classes = len(fitted.classes_)
    assert p.shape == (*y.shape, n_classes)
    assert scores.shape == (y.shape if n_classes == 2 else p.shape)
    np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-5)
    np.testing.assert_array_equal(fitted.classes_[p.argmax(-1)], fitted.predict(X))


def test_rows_have_weights_and_entries_are_ignored():
    y = np.where(X[..., 1] > 0.8, -100, CODES)
    weight = (np.arange(40) % 2).astype(float)
    settings = {"batch_size": 20, "optimizer": "sgd", "max_epochs": 5, "random_state": 3}
    weighted = net(**settings).fit(X, y, sample_weight=np.full(40, 7.0))
    plain = net(**settings).fit(X, y)
    # A batch's loss is the mean over the entries that count, with weights as without.
    np.testing.assert_allclose(weighted.loss_curve_, plain.loss_curve_, rtol=1e-5)
    counted = y != -100
    expected = accuracy_score(
        y[counted], plain.predict(X)[counted], sample_weight=(weight[:, None] * counted)[counted]
    )
    assert plain.score(X, y, sample_weight=weight) == pytest.approx(expected)


def test_steps_are_trained_in_a_stack_as_alone():
    y = np.where(X[..., 1] > 0.8, -100, CODES)
    grid = {"lr": [0.01, 0.05]}
    search = GridSearchCV(net(max_epochs=3), grid, cv=KFold(3), scoring=None)
    alone = clone(search).fit(X, y).cv_results_
    with joblib.parallel_config("sktorch"):
        together = search.fit(X, y).cv_results_
    np.testing.assert_allclose(together["mean_test_score"], alone["mean_test_score"], atol=1e-6)


REFUSED = {
    "weights of classes": ({"class_weight": "balanced"}, CODES, "criterion__weight"),
    "a class that is ignored": ({"criterion__ignore_index": 1}, CODES + 1, "also the code"),
    "nothing but ignored entries": ({}, np.full((40, 7, 1), -100), "y holds nothing but"),
    "another number of steps": ({}, CODES[:, :-1, None], "y with 3 classes"),
    "numbers that are no labels": ({}, X, "continuous"),
    "no entries": ({}, np.zeros((40, 7, 0), int), "y has shape"),
    "NaN": ({}, np.where(X > 0.9, np.nan, 1.0), "y contains NaN"),
}


@pytest.mark.parametrize(("settings", "y", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_labels_that_cannot_be_learnt_are_refused(settings, y, message):
    with pytest.raises(ValueError, match=message):
        net(**settings).fit(X, y)


def test_codes_come_back_as_the_labels_they_were():
    y = np.array([[[1, 200], [7, 255]]], dtype=np.uint8)
    codec = EntryLabels.made(y, ignored=255)
    encoded = codec.encode(y)
    np.testing.assert_array_equal(encoded, [[[0, 2], [1, 255]]])
    decoded = codec.decode(encoded)
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, y)
    with pytest.raises(ValueError, match="expected 2 dimensions"):
        codec.encode(y[0])


def test_pixels_of_pictures_of_another_size_are_predicted():
    pictures = np.random.default_rng(0).random((20, 1, 5, 6), dtype=np.float32)
    fitted = net(lambda n_outputs: nn.Conv2d(1, n_outputs, 1), max_epochs=1)
    fitted.fit(pictures, (pictures[:, 0] > 0.5).astype(int))
    assert fitted.predict(torch.rand(3, 1, 8, 9)).shape == (3, 8, 9)
