"""What only the classifier has: labels, probabilities, and weights of classes."""

import numpy as np
import pytest
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.utils.class_weight import compute_sample_weight

from tests.tabular.samples import classifier, numbers

X, labels, _ = numbers()


@pytest.mark.parametrize(
    "names", [["no", "yes"], [0, 1], [-1, 1], [False, True], [2.0, 7.0], [10**12, 10**12 + 1]]
)
def test_labels_of_every_kind_come_back(names):
    y = np.array(names)[(labels == "yes").astype(int)]
    fitted = classifier(max_epochs=30, lr=0.03).fit(X, y.tolist())
    assert fitted.classes_.tolist() == names
    predicted = fitted.predict(X)
    assert predicted.dtype == fitted.classes_.dtype
    assert (predicted == y).mean() > 0.9


def test_probabilities_are_the_mean_of_the_members():
    fitted = classifier(max_epochs=20).fit(X, labels)
    p = fitted.predict_proba(X)
    assert p.shape == (90, 2)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    np.testing.assert_allclose(np.log(p), fitted.predict_log_proba(X))
    np.testing.assert_array_equal(fitted.classes_[p.argmax(axis=1)], fitted.predict(X))
    members = fitted._outputs(X).softmax(-1)
    assert members.shape == (90, 3, 2)
    np.testing.assert_allclose(members.mean(1), p)


def test_26_classes():
    y = np.array([*"abcdefghijklmnopqrstuvwxyz"] * 10)
    rows = np.random.default_rng(0).standard_normal((260, 2)) + 9 * np.eye(26)[:, :2].repeat(10, 0)
    fitted = classifier().fit(rows, y)
    assert fitted.predict_proba(rows).shape == (260, 26)


def test_one_class_is_predicted_surely():
    fitted = classifier().fit(X, ["only"] * 90)
    assert set(fitted.predict(X)) == {"only"}
    np.testing.assert_array_equal(fitted.predict_proba(X), np.ones((90, 1)))
    assert fitted.validation_score_ == 1


def test_a_class_of_one_row():
    y = labels.copy()
    y[3] = "rare"
    fitted = classifier().fit(X, y)
    assert fitted.predict_proba(X).shape == (90, 3)
    assert np.isfinite(fitted.predict_log_proba(X)).all()


@pytest.mark.parametrize("class_weight", ["balanced", {"yes": 3.0}, {"yes": 0.2, "no": 5.0}])
def test_weights_of_classes_are_weights_of_their_rows(class_weight):
    y = np.where(X[:, 0] > 1, "yes", "no")
    by_class = classifier(class_weight=class_weight).fit(X, y)
    whole = {"yes": 1.0, "no": 1.0} | class_weight if isinstance(class_weight, dict) else "balanced"
    by_row = classifier().fit(X, y, sample_weight=compute_sample_weight(whole, y))
    np.testing.assert_allclose(by_class.predict_proba(X), by_row.predict_proba(X), rtol=1e-6)
    even = classifier().fit(X, y)
    assert not np.allclose(by_class.predict_proba(X), even.predict_proba(X))


def test_a_class_of_weight_zero_keeps_its_column():
    fitted = classifier(class_weight={"no": 0}, max_epochs=30).fit(X, labels)
    assert fitted.classes_.tolist() == ["no", "yes"]
    assert set(fitted.predict(X)) == {"yes"}


@pytest.mark.parametrize("loss", ["log_loss", "error"])
def test_the_validation_score_is_an_honest_estimate(loss):
    random = np.random.default_rng(0)
    rows = random.standard_normal((1200, 5))
    y = np.where(random.random(1200) < 0.2, rows[:, 1] > 0, rows[:, 0] > 0)  # a tenth is noise
    X_train, X_test, y_train, y_test = train_test_split(rows, y, test_size=0.5, random_state=0)
    fitted = classifier(loss=loss, max_epochs=40, hidden=(32,)).fit(X_train, y_train)
    assert fitted.validation_score_ == pytest.approx(fitted.score(X_test, y_test), abs=0.05)
    assert fitted.score(X_test, y_test) > 0.83


def test_pure_noise_is_estimated_as_such_and_is_not_learnt_by_heart():
    y = np.random.default_rng(1).integers(0, 2, 90)
    fitted = classifier(max_epochs=100).fit(X, y)
    assert fitted.validation_score_ < 0.7
    fresh = numbers(seed=5)[0], np.random.default_rng(2).integers(0, 2, 90)
    assert log_loss(fresh[1], fitted.predict_proba(fresh[0])) < 0.9


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (np.where(labels == "yes", np.nan, 1.0), "NaN"),
        (np.linspace(0, 1, 90), "continuous"),
        (labels[1:], "inconsistent"),
        (np.column_stack([labels, labels]), "1d array"),
        (None, "y"),
    ],
    ids=["missing", "numbers", "too few", "two columns", "none"],
)
def test_targets_that_are_no_labels_are_refused(y, said):
    with pytest.raises(ValueError, match=said):
        classifier().fit(X, y)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (np.zeros(90), "non-zero"),
        (-np.ones(90), "negative"),
        (np.full(90, np.nan), "NaN"),
        (np.ones(89), "89"),
        (np.ones((90, 2)), r"shape \(90, 2\)"),
    ],
    ids=["zero", "negative", "missing", "too few", "two columns"],
)
def test_weights_that_are_none_are_refused(weights, said):
    with pytest.raises(ValueError, match=said):
        classifier().fit(X, labels, sample_weight=weights)
