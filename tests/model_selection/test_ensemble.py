"""Ensembles of fold models: scikit-learn's rules, the averages, the choice, files, and errors."""

import copy
import pickle

import numpy as np
import pytest
import skops.io
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import get_scorer, log_loss, mean_squared_error
from sklearn.model_selection import KFold, RepeatedKFold, ShuffleSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

import sktorch
from sktorch import TorchClassifier, TorchRegressor
from sktorch._saved_types import KNOWN
from sktorch.model_selection import FoldEnsembleClassifier, FoldEnsembleRegressor, ensemble_of
from sktorch.model_selection._saved_types import SAVED_TYPES
from sktorch.preprocessing import make_cleaner

X, y = load_iris(return_X_y=True, as_frame=True)
LABELS = np.array(["setosa", "versicolor", "virginica"])[y]
X_NUMBERS, NUMBERS = load_diabetes(return_X_y=True)
FOLDS = KFold(3, shuffle=True, random_state=0)


def nets():
    """Return pipelines with nets that differ in their learning rates."""
    return [
        make_pipeline(make_cleaner(), TorchClassifier(lr=lr, max_epochs=6, random_state=0))
        for lr in (0.1, 0.03, 0.001)
    ]


def regressors():
    return [TorchRegressor(lr=lr, max_epochs=5, random_state=0) for lr in (0.1, 0.01)]


def fitted_on(estimators, X, y, splits):
    return [
        [clone(estimator).fit(X[train], y[train]) for train, _ in splits]
        for estimator in estimators
    ]


LINEAR = [LogisticRegression(C=C, max_iter=5000) for C in (0.01, 1.0, 100.0)]
RIDGES = [Ridge(alpha) for alpha in (0.001, 1.0, 100.0)]


@parametrize_with_checks(
    [FoldEnsembleClassifier(LINEAR[:2], cv=3), FoldEnsembleRegressor(RIDGES[:2], cv=3)]
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def test_probabilities_are_the_weighted_mean_of_all_models():
    ensemble = FoldEnsembleClassifier(LINEAR, cv=FOLDS, weights=[1, 0, 3]).fit(X, LABELS)
    expected = 0
    for weight, C in ((0.25, 0.01), (0.75, 100.0)):
        for train, _ in FOLDS.split(X):
            model = LogisticRegression(C=C, max_iter=5000).fit(X.iloc[train], LABELS[train])
            expected = expected + weight / 3 * model.predict_proba(X)
    np.testing.assert_allclose(ensemble.predict_proba(X), expected, rtol=1e-12)
    assert ensemble.candidates_.tolist() == [0, 2]
    assert ensemble.weights_.tolist() == [0.25, 0.75]
    labels = ensemble.classes_[expected.argmax(axis=1)]
    np.testing.assert_array_equal(ensemble.predict(X), labels)
    assert ensemble.score(X, LABELS) == np.mean(labels == LABELS)


def test_scores_are_those_of_held_out_rows():
    ensemble = FoldEnsembleClassifier(LINEAR, cv=FOLDS).fit(X, LABELS)
    held_out = np.zeros((3, len(X), 3))
    for c, estimator in enumerate(LINEAR):
        for train, test in FOLDS.split(X):
            model = clone(estimator).fit(X.iloc[train], LABELS[train])
            held_out[c, test] = model.predict_proba(X.iloc[test])
    weights = np.zeros(3)
    weights[ensemble.candidates_] = ensemble.weights_
    averaged = np.tensordot(weights, held_out, 1)
    losses = [log_loss(LABELS, p) for p in held_out]
    assert ensemble.score_ == pytest.approx(-log_loss(LABELS, averaged))
    assert ensemble.best_score_ == pytest.approx(-min(losses))
    assert ensemble.best_candidate_ == np.argmin(losses)
    assert ensemble.score_ >= ensemble.best_score_


def test_pipelines_of_nets_share_their_cleaners():
    ensemble = FoldEnsembleClassifier(nets(), cv=FOLDS, weights=[1, 1, 1]).fit(X, LABELS)
    models = [model for of_folds in ensemble.estimators_ for model in of_folds]
    assert len({id(model[0]) for model in models}) == 3
    expected = np.mean([model.predict_proba(X) for model in models], axis=0)
    np.testing.assert_allclose(ensemble.predict_proba(X), expected, atol=1e-6)
    assert ensemble.n_features_in_ == 4
    assert list(ensemble.feature_names_in_) == [*X.columns]


@pytest.mark.parametrize("n_targets", [1, 2])
def test_numbers_are_averaged(n_targets):
    targets = NUMBERS if n_targets == 1 else np.stack([NUMBERS, -NUMBERS], axis=1)
    ensemble = FoldEnsembleRegressor(regressors(), cv=FOLDS).fit(X_NUMBERS, targets)
    weights = np.repeat(ensemble.weights_, 3) / 3
    models = [model for of_folds in ensemble.estimators_ for model in of_folds]
    expected = np.tensordot(weights, [model.predict(X_NUMBERS) for model in models], 1)
    np.testing.assert_allclose(ensemble.predict(X_NUMBERS), expected, rtol=1e-4, atol=1e-3)
    assert ensemble.predict(X_NUMBERS).shape == targets.shape
    assert ensemble.score_ >= ensemble.best_score_


def test_the_score_of_numbers_is_the_squared_error():
    ensemble = FoldEnsembleRegressor(RIDGES[1:2], cv=FOLDS).fit(X_NUMBERS, NUMBERS)
    held_out = np.empty_like(NUMBERS)
    for train, test in FOLDS.split(X_NUMBERS):
        held_out[test] = Ridge().fit(X_NUMBERS[train], NUMBERS[train]).predict(X_NUMBERS[test])
    assert ensemble.score_ == pytest.approx(-mean_squared_error(NUMBERS, held_out))


def test_a_class_that_a_fold_lacks_has_no_probability_there():
    first = np.flatnonzero(LABELS != "virginica"), np.flatnonzero(LABELS == "virginica")
    second = np.arange(0, 150, 2), np.arange(1, 150, 2)
    ensemble = FoldEnsembleClassifier(LINEAR[1:2], cv=[first, second]).fit(X, LABELS)
    (models,) = ensemble.estimators_
    assert len(models[0].classes_) == 2
    expected = models[1].predict_proba(X) / 2
    expected[:, :2] += models[0].predict_proba(X) / 2
    np.testing.assert_allclose(ensemble.predict_proba(X), expected)


@pytest.mark.parametrize(
    "splitter",
    [
        RepeatedKFold(n_splits=3, n_repeats=2, random_state=0),
        ShuffleSplit(n_splits=2, test_size=0.2, random_state=0),
    ],
    ids=["repeated", "shuffled"],
)
def test_rows_may_be_held_out_several_times_or_never(splitter):
    values = X.to_numpy()
    splits = [*splitter.split(values)]
    models = fitted_on(LINEAR, values, LABELS, splits)
    ensemble = ensemble_of(models, [test for _, test in splits], values, LABELS)
    sums, counts = np.zeros((150, 3)), np.zeros(150)
    best = models[ensemble.best_candidate_]
    for model, (_, test) in zip(best, splits, strict=True):
        sums[test] += model.predict_proba(values[test])
        counts[test] += 1
    rows = counts > 0
    alone = log_loss(LABELS[rows], sums[rows] / counts[rows, np.newaxis])
    assert ensemble.best_score_ == pytest.approx(-alone)


def test_a_clone_of_an_ensemble_is_fitted_to_the_same_models():
    folds = [*FOLDS.split(X)]
    models = [
        [clone(net).fit(X.iloc[train], LABELS[train]) for train, _ in folds] for net in nets()
    ]
    ensemble = ensemble_of(models, [test for _, test in folds], X, LABELS, cv=FOLDS)
    assert len(ensemble.estimators) == len(ensemble.weights) == len(ensemble.candidates_)
    assert not hasattr(clone(ensemble), "estimators_")
    again = clone(ensemble).fit(X, LABELS)
    np.testing.assert_allclose(again.predict_proba(X), ensemble.predict_proba(X), atol=1e-5)
    assert again.score_ == pytest.approx(ensemble.score_, abs=1e-4)


def test_candidates_that_failed_on_a_fold_are_left_out():
    values, splits = X.to_numpy(), [*FOLDS.split(X)]
    models = fitted_on(LINEAR, values, LABELS, splits)
    tests = [test for _, test in splits]
    expected = ensemble_of(models[1:], tests, values, LABELS)
    models[0][1] = None
    ensemble = ensemble_of(models, tests, values, LABELS)
    assert ensemble.candidates_.tolist() == (expected.candidates_ + 1).tolist()
    assert ensemble.score_ == expected.score_


@pytest.mark.parametrize("scoring", ["accuracy", "roc_auc_ovr", "neg_log_loss"])
def test_a_score_of_ones_own_decides(scoring):
    ensemble = FoldEnsembleClassifier(LINEAR, cv=FOLDS, scoring=scoring, max_members=5)
    ensemble.fit(X, LABELS)
    alone = FoldEnsembleClassifier(
        [LINEAR[ensemble.best_candidate_]], cv=FOLDS, scoring=scoring
    ).fit(X, LABELS)
    assert alone.score_ == pytest.approx(ensemble.best_score_)
    assert ensemble.score_ >= ensemble.best_score_


def test_a_score_of_numbers_decides():
    splits = [*FOLDS.split(X_NUMBERS)]
    models = fitted_on(RIDGES, X_NUMBERS, NUMBERS, splits)
    tests, scorer = [test for _, test in splits], get_scorer("r2")
    ensemble = ensemble_of(models, tests, X_NUMBERS, NUMBERS, scorer=scorer)
    assert 0.3 < ensemble.best_score_ <= ensemble.score_ < 1


def test_weights_of_rows_count():
    values, splits = X.to_numpy(), [*FOLDS.split(X)]
    models = fitted_on(LINEAR, values, LABELS, splits)
    tests = [test for _, test in splits]
    weight = np.where(LABELS == "setosa", 0.0, 1.0)
    weighted = ensemble_of(models, tests, values, LABELS, sample_weight=weight)
    assert weighted.score_ < ensemble_of(models, tests, values, LABELS).score_
    ones = ensemble_of(models, tests, values, LABELS, sample_weight=np.ones(150))
    assert ones.score_ == pytest.approx(ensemble_of(models, tests, values, LABELS).score_)


def test_inside_of_a_cross_validation():
    scores = cross_val_score(FoldEnsembleClassifier(LINEAR, cv=3), X, LABELS, cv=3)
    assert scores.min() > 0.9


def by_file(ensemble, folder):
    sktorch.save(ensemble, folder / "ensemble.safetensors")
    return sktorch.load(folder / "ensemble.safetensors")


def by_skops(ensemble, folder):
    data = skops.io.dumps(ensemble)
    assert skops.io.get_untrusted_types(data=data) == []
    return skops.io.loads(data)


@pytest.mark.parametrize(
    "way",
    [
        by_file,
        by_skops,
        lambda ensemble, folder: pickle.loads(pickle.dumps(ensemble)),
        lambda ensemble, folder: copy.deepcopy(ensemble),
    ],
    ids=["save", "skops", "pickle", "deepcopy"],
)
def test_they_come_back_the_same(way, tmp_path):
    ensemble = FoldEnsembleClassifier(nets(), cv=3).fit(X, LABELS)
    other = way(ensemble, tmp_path)
    np.testing.assert_array_equal(other.predict_proba(X), ensemble.predict_proba(X))
    assert (other.score_, other.weights_.tolist()) == (ensemble.score_, ensemble.weights_.tolist())
    models = [model for of_folds in other.estimators_ for model in of_folds]
    assert len({id(model[0]) for model in models}) == 3
    assert repr(other) == repr(ensemble)


def test_transformers_of_scikit_learn_need_trust(tmp_path):
    net = make_pipeline(StandardScaler(), TorchClassifier(max_epochs=1))
    ensemble = FoldEnsembleClassifier([net], cv=2).fit(X, LABELS)
    with pytest.raises(ValueError, match="StandardScaler"):
        by_file(ensemble, tmp_path)
    other = sktorch.load(tmp_path / "ensemble.safetensors", trusted=[StandardScaler])
    np.testing.assert_array_equal(other.predict_proba(X), ensemble.predict_proba(X))


def test_every_type_has_its_name_in_files():
    assert SAVED_TYPES.items() <= KNOWN.items()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"estimators": []}, r"estimators=\[\] must be a list of one estimator or more"),
        ({"estimators": LINEAR[0]}, "must be a list of one estimator or more"),
        ({"estimators": RIDGES}, "holds Ridge; expected classifiers"),
        ({"weights": [1.0]}, "must hold a number for each of 3 estimators"),
        ({"weights": [0, 0, 0]}, "not all zero"),
        ({"weights": [1, -1, 1]}, "zero or more"),
        ({"weights": [1, np.nan, 1]}, "zero or more"),
        ({"max_members": 0}, "max_members=0 must be a positive whole number"),
        ({"max_members": 2.5}, "max_members=2.5 must be a positive whole number"),
    ],
)
def test_a_wrong_parameter_is_told(parameters, message):
    with pytest.raises(ValueError, match=message):
        FoldEnsembleClassifier(**{"estimators": LINEAR, **parameters}).fit(X, LABELS)


def test_classifiers_are_no_regressors():
    with pytest.raises(ValueError, match="holds LogisticRegression; expected regressors"):
        FoldEnsembleRegressor(LINEAR).fit(X, y)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (np.eye(3, dtype=int)[y], "y is multilabel-indicator; expected one label for each row"),
        (np.stack([y, y], axis=1), "y is multiclass-multioutput; expected one label"),
        (np.linspace(0, 1, 150), "y is continuous; expected one label"),
    ],
    ids=["indicators", "columns", "numbers"],
)
def test_other_targets_than_labels_are_refused(target, message):
    with pytest.raises(ValueError, match=message):
        FoldEnsembleClassifier(LINEAR).fit(X, target)


def test_classifiers_without_probabilities_are_refused():
    with pytest.raises(AttributeError, match="predict_proba"):
        FoldEnsembleClassifier([LinearSVC()]).fit(X, LABELS)


def test_models_have_to_belong_to_folds():
    splits = [*FOLDS.split(X)]
    models = fitted_on(LINEAR[:1], X.to_numpy(), LABELS, splits)
    with pytest.raises(ValueError, match=r"\[3\] models of a candidate, but .* has 2 folds"):
        ensemble_of(models, [test for _, test in splits[:2]], X.to_numpy(), LABELS)
    failed = [[None, *models[0][1:]]]
    with pytest.raises(ValueError, match="Each of 1 candidates has failed on a fold"):
        ensemble_of(failed, [test for _, test in splits], X.to_numpy(), LABELS)
