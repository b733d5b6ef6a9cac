"""Several labels a row in the hands of scikit-learn's users."""

import pickle

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import make_multilabel_classification
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier
from sklearn.inspection import permutation_importance
from sklearn.metrics import f1_score
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    train_test_split,
)
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MultiLabelBinarizer, StandardScaler

from sktorch import TorchClassifier

FOLDS = KFold(3, shuffle=True, random_state=0)
SCORINGS = ["accuracy", "f1_macro", "roc_auc", "average_precision", "jaccard_macro"]


def net(**parameters):
    defaults = {"lr": 0.02, "max_epochs": 15, "batch_size": 64, "random_state": 0}
    return TorchClassifier(**(defaults | parameters))


@pytest.fixture(scope="module")
def topics():
    """Counts of words and the topics of texts, as scikit-learn generates them."""
    X, Y = make_multilabel_classification(400, n_features=30, n_classes=4, random_state=0)
    return StandardScaler().fit_transform(X), Y


@pytest.fixture(scope="module")
def figures(scaled):
    """Two columns of labels of the digits: their parity, and whether they have loops."""
    X, y = scaled("digits")
    X, y = X[::4], y[::4]
    loops = np.array([1, 0, 0, 0, 1, 0, 1, 0, 2, 1])[y]
    return X, np.column_stack([np.array(["even", "odd"])[y % 2], loops.astype(str)])


def test_scores_by_every_metric(topics):
    X, Y = topics
    scores = cross_validate(net(), X, Y, cv=FOLDS, scoring=SCORINGS)
    assert scores["test_accuracy"].min() > 0.25  # all labels of a row right
    assert scores["test_f1_macro"].min() > 0.6
    assert scores["test_roc_auc"].min() > 0.75


def test_probabilities_of_rows_not_seen(topics):
    X, Y = topics
    p = cross_val_predict(net(), X, Y, cv=FOLDS, method="predict_proba")
    assert p.shape == Y.shape
    labels = cross_val_predict(net(), X, Y, cv=FOLDS)
    np.testing.assert_array_equal(labels, p > 0.5)
    assert f1_score(Y, labels, average="macro") > 0.65


def test_probabilities_of_columns_not_seen(figures):
    X, Y = figures
    parity, loops = cross_val_predict(net(), X, Y, cv=FOLDS, method="predict_proba")
    assert (parity.shape, loops.shape) == ((len(X), 2), (len(X), 3))
    assert ((parity.argmax(1) == 1) == (Y[:, 0] == "odd")).mean() > 0.9
    assert cross_val_score(net(), X, Y, cv=FOLDS).min() > 0.85


def test_a_search_in_a_pipeline(topics):
    X, Y = topics
    X_train, X_test, Y_train, Y_test = train_test_split(X, Y, random_state=0)
    model = make_pipeline(StandardScaler(), net())
    grid = {
        "torchclassifier__lr": [1e-6, 0.02],
        "torchclassifier__criterion": ["bce_with_logits", "multi_label_soft_margin"],
    }
    one, two = (
        GridSearchCV(model, grid, cv=FOLDS, scoring="f1_macro", n_jobs=n).fit(X_train, Y_train)
        for n in (1, 2)
    )
    assert one.best_params_ == two.best_params_
    assert one.best_params_["torchclassifier__lr"] == 0.02
    assert one.score(X_test, Y_test) > 0.7


def test_bagging(topics):
    X, Y = topics
    bagging = BaggingClassifier(net(), n_estimators=3, random_state=0)
    with pytest.raises(ValueError, match="1d array"):  # scikit-learn's takes one label a row.
        bagging.fit(X, Y)


@pytest.mark.parametrize("build", [MultiOutputClassifier, ClassifierChain])
def test_one_net_a_label_or_one_for_all(topics, build):
    X, Y = topics
    wrapped = build(net(criterion="bce_with_logits")).fit(X, Y)
    together = net().fit(X, Y)
    assert wrapped.predict(X).shape == together.predict(X).shape
    assert abs(f1_score(Y, wrapped.predict(X), average="macro") - 0.9) < 0.1
    assert abs(f1_score(Y, together.predict(X), average="macro") - 0.9) < 0.1


def test_curves_and_importances(topics):
    X, Y = topics
    _, _, test = learning_curve(net(), X, Y, train_sizes=[30, 250], cv=FOLDS, scoring="f1_macro")
    assert test[1].mean() > test[0].mean()
    importance = permutation_importance(net().fit(X, Y), X, Y, n_repeats=2, random_state=0)
    assert importance.importances_mean.max() > 0.01


def test_names_of_labels_by_a_binarizer(topics):
    X, Y = topics
    names = [[f"topic {label}" for label in np.flatnonzero(row)] for row in Y]
    binarizer = MultiLabelBinarizer(sparse_output=True)
    sparse_Y = binarizer.fit_transform(names)
    assert sparse.issparse(sparse_Y)
    fitted = net().fit(X, sparse_Y)
    back = binarizer.inverse_transform(fitted.predict(X))
    assert np.mean([tuple(given) == found for given, found in zip(names, back, strict=True)]) > 0.5


def test_shapes_are_those_of_a_forest_with_columns(figures):
    X, Y = figures
    ours, theirs = net().fit(X, Y), RandomForestClassifier(5, random_state=0).fit(X, Y)
    for one, other in zip(ours.classes_, theirs.classes_, strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(ours.predict_proba(X), theirs.predict_proba(X), strict=True):
        assert one.shape == other.shape
    assert ours.predict(X).shape == theirs.predict(X).shape
    assert ours.predict(X).dtype.kind == theirs.predict(X).dtype.kind


@pytest.mark.parametrize("data", ["topics", "figures"])
def test_copies_and_clones(data, request):
    X, Y = request.getfixturevalue(data)
    fitted = net(early_stopping=True).fit(X, Y)
    for other in (pickle.loads(pickle.dumps(fitted)), clone(fitted).fit(X, Y)):
        np.testing.assert_array_equal(other.predict(X), fitted.predict(X))
        np.testing.assert_equal(other.predict_proba(X), fitted.predict_proba(X))
