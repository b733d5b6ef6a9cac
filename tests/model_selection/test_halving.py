"""Halving against the full search, and scikit-learn's own tests of its halving searches."""

import pickle
import threading

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy.stats import expon, loguniform
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    LeaveOneGroupOut,
    StratifiedKFold,
    StratifiedShuffleSplit,
    cross_val_score,
    train_test_split,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.random_projection import GaussianRandomProjection
from skorch.callbacks import Callback

from sktorch import TorchClassifier, TorchRegressor
from sktorch._rungs import paused_fit
from sktorch.model_selection import (
    FoldEnsembleClassifier,
    FoldEnsembleRegressor,
    HalvingSearchCV,
)
from sktorch.model_selection._fold_models import ModelLeavingScorer

LRS = [0.1, 0.03, 0.01, 0.003, 0.001, 0.0001]


def classifier(**parameters):
    return TorchClassifier(
        **{"max_epochs": 8, "module__hidden": (8,), "random_state": 0, "tol": -1} | parameters
    )


def halving(estimator, candidates, **parameters):
    defaults = {"cv": 3, "factor": 2, "min_resources": 2}
    return HalvingSearchCV(estimator, candidates, **defaults | parameters)


def log_likelihood(estimator, X, y):
    """Return a number that any difference between two models changes."""
    return float(np.log(estimator.predict_proba(X)[np.arange(len(y)), y] + 1e-9).mean())


class LowersRate(Callback):
    """Keeps a count of its own, which the training depends on."""

    def initialize(self):
        self.count = 0
        return self

    def on_epoch_end(self, net, **kwargs):
        self.count += 1
        for group in net.optimizer_.param_groups:
            group["lr"] *= 0.9 / self.count**0.1


SHAPES = {
    "alone": (classifier(), "lr"),
    "cosine over all epochs": (classifier(lr_schedule="cosine"), "lr"),
    "plateau": (classifier(lr_schedule="plateau"), "lr"),
    "a cycle": (classifier(lr_schedule="one_cycle"), "lr"),
    "momentum": (classifier(optimizer="SGD", optimizer__momentum=0.9), "lr"),
    "early stopping": (
        classifier(early_stopping=True, n_iter_no_change=2, tol=0.01, validation_fraction=0.3),
        "lr",
    ),
    "a callback with a state": (classifier(callbacks=[LowersRate()]), "lr"),
    "another epoch with the first": (classifier(max_epochs=3), "lr"),
    "pipeline": (make_pipeline(StandardScaler(), classifier()), "torchclassifier__lr"),
    "a net for each class": (OneVsRestClassifier(classifier()), "estimator__lr"),
    "nets inside": (
        StackingClassifier([("net", classifier())], LogisticRegression(), cv=2),
        "net__lr",
    ),
    "calibrated": (CalibratedClassifierCV(classifier(), cv=2), "estimator__lr"),
}


@pytest.mark.usefixtures("always_stacked")
@pytest.mark.parametrize("shape", SHAPES)
def test_survivors_are_those_of_the_full_search_to_the_bit(iris, shape):
    estimator, name = SHAPES[shape]
    settings = {"cv": 3, "refit": False, "scoring": log_likelihood}
    search = halving(estimator, {name: LRS}, **settings).fit(*iris)
    with joblib.parallel_config("sktorch"):
        full = GridSearchCV(estimator, {name: LRS}, **settings).fit(*iris)
    results = pd.DataFrame(search.cv_results_)
    last = results[results["iter"] == search.n_iterations_ - 1]
    assert len(last) == search.n_candidates_[-1] <= 3
    for split in range(3):
        column = f"split{split}_test_score"
        expected = full.cv_results_[column][last["candidate"]]
        np.testing.assert_array_equal(last[column], expected)
    assert search.best_params_[name] == LRS[results.loc[search.best_index_, "candidate"]]


# Rungs in which a fit has nothing to do, because it is over or the rung before was as long.
IDLE = {
    "over in the first rung": (
        classifier(early_stopping=True, n_iter_no_change=1, tol=10, max_epochs=16),
        {},
    ),
    "the first rung again": (
        classifier(max_epochs=16),
        {"aggressive_elimination": True, "min_resources": 8},
    ),
    "rungs of the same length": (
        classifier(max_epochs=16),
        {"factor": 1.2, "min_resources": "exhaust"},
    ),
}


@pytest.mark.usefixtures("always_stacked")
@pytest.mark.parametrize("case", IDLE)
def test_fits_go_on_after_rungs_without_an_epoch(iris, case):
    estimator, rungs = IDLE[case]
    settings = {"cv": 3, "refit": False, "scoring": log_likelihood}
    search = halving(estimator, {"lr": LRS}, **settings, **rungs).fit(*iris)
    with joblib.parallel_config("sktorch"):
        full = GridSearchCV(estimator, {"lr": LRS}, **settings).fit(*iris)
    assert search.n_iterations_ > 2
    results = pd.DataFrame(search.cv_results_)
    last = results[results["iter"] == search.n_iterations_ - 1]
    expected = full.cv_results_["mean_test_score"][last["candidate"]]
    np.testing.assert_array_equal(last["mean_test_score"], expected)


class Classifying(ClassifierMixin, BaseEstimator):
    """Fits several nets, each candidate with another factor of their rates."""

    def __init__(self, net=None, factor=1):
        self.net, self.factor = net, factor

    def net_with(self, lr):
        return clone(self.net).set_params(lr=self.factor * lr)

    def predict_proba(self, X):
        return self.net_.predict_proba(X)


class BestRate(Classifying):
    """Calls one cross-validation after the other on the same rows."""

    def fit(self, X, y):
        nets = [self.net_with(lr) for lr in (0.001, 0.01, 0.1)]
        self.scores_ = [
            cross_val_score(net, X, y, cv=2, scoring=log_likelihood).mean() for net in nets
        ]
        self.net_ = nets[np.argmax(self.scores_)].fit(X, y)
        self.classes_ = self.net_.classes_
        return self


class ChangesItsMind(Classifying):
    """Fits with another rate in the last rung, as a search inside that finds another winner."""

    def fit(self, X, y):
        n_epochs = self.net_with(0.01).fit(X, y).n_epochs_
        self.net_ = self.net_with(0.1 if n_epochs < 8 else 0.001).fit(X, y)
        self.classes_ = self.net_.classes_
        self.scores_ = []
        return self


@pytest.mark.usefixtures("always_stacked")
@pytest.mark.parametrize("kind", [BestRate, ChangesItsMind])
def test_a_fit_goes_on_only_from_one_with_the_same_parameters(iris, kind):
    def scoring(estimator, X, y):
        return sum(estimator.scores_, log_likelihood(estimator, X, y))

    settings = {"cv": 3, "refit": False, "scoring": scoring}
    model, candidates = kind(classifier()), {"factor": [1, 0.5, 0.2, 0.1]}
    search = halving(model, candidates, **settings).fit(*iris)
    with joblib.parallel_config("sktorch"):
        full = GridSearchCV(model, candidates, **settings).fit(*iris)
    best = search.cv_results_["candidate"][search.best_index_]
    np.testing.assert_allclose(
        search.best_score_, full.cv_results_["mean_test_score"][best], rtol=1e-6
    )


@pytest.mark.parametrize(
    ("active", "n_jobs"),
    [
        ({"n_jobs": 1}, None),
        ({"backend": "sktorch", "n_jobs": 1}, None),
        ({"backend": "sktorch"}, -256),
        ({"backend": "loky", "n_jobs": 1}, 1),
    ],
)
def test_fits_train_side_by_side_whatever_number_is_configured(iris, active, n_jobs):
    with joblib.parallel_config(**active):
        search = halving(classifier(), {"lr": LRS}, n_jobs=n_jobs, refit=False).fit(*iris)
    assert search.n_iterations_ == 3


def test_regression_and_several_candidates_that_stop_early(diabetes):
    model = TorchRegressor(max_epochs=8, early_stopping=True, n_iter_no_change=1, random_state=0)
    search = halving(model, {"lr": [0.1, 1e-2, 1e-3, 1e-9]}).fit(*diabetes)
    assert search.best_score_ == search.cv_results_["mean_test_score"][search.best_index_]
    assert search.best_estimator_.n_epochs_ <= 8


@pytest.mark.parametrize("random_state", [None, np.random.RandomState(0)])
def test_fits_go_on_whose_seed_is_drawn(iris, random_state):
    curves = []

    def scoring(estimator, X, y):
        curves.append(estimator.loss_curve_)
        return estimator.score(X, y)

    search = halving(classifier(random_state=random_state), {"lr": [0.1, 0.01]}, cv=2)
    search.set_params(refit=False, scoring=scoring).fit(*iris)
    longest = [curve for curve in curves if len(curve) == 8]
    assert len(longest) == 2
    for curve in longest:
        assert any(curve[:2] == other for other in curves if len(other) == 2)


def test_a_net_does_not_go_on_with_other_features(iris):
    # Every fit of the projection draws another one: what was learnt of the last is of no use.
    seen = []

    def scoring(estimator, X, y):
        seen.append((estimator[-1].n_epochs_, estimator.score(X, y)))
        return seen[-1][1]

    model = make_pipeline(
        StandardScaler(),
        GaussianRandomProjection(4),
        classifier(max_epochs=40, lr=0.03, module__hidden=(32,)),
    )
    candidates = {"torchclassifier__optimizer__weight_decay": [0, 1e-5, 1e-4, 1e-3]}
    halving(model, candidates, min_resources=20, refit=False, scoring=scoring).fit(*iris)
    last = [score for n_epochs, score in seen if n_epochs == 40]
    assert len(last) == 6
    assert min(last) > 0.8


def test_the_tournament():
    # Translated from scikit-learn: random scores, so that no two are equal.
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 2)), np.arange(40) % 2
    candidates = {"lr": [0.1, 0.01, 0.001], "optimizer__weight_decay": [*np.linspace(0, 1, 10)]}
    search = halving(
        classifier(max_epochs=16), candidates, scoring=lambda *_: rng.random(), n_jobs=1, cv=2
    ).fit(X, y)
    assert search.n_candidates_ == [30, 15, 8, 4]
    assert search.n_resources_ == [2, 4, 8, 16]
    assert (search.n_iterations_, search.n_remaining_candidates_) == (4, 2)
    assert (search.min_resources_, search.max_resources_) == (2, 16)
    results = search.cv_results_
    assert isinstance(results["iter"], np.ndarray)
    assert isinstance(results["n_resources"], np.ndarray)
    table = pd.DataFrame(results).pivot(index="candidate", columns="iter", values="mean_test_score")
    assert len(table) == 30
    for rung in range(3):
        before, after = table[rung].dropna(), table[rung + 1].dropna()
        assert set(after.index) == set(before.nlargest(len(after)).index)
    best = results["candidate"][search.best_index_]
    assert best == table[3].idxmax()
    assert search.best_params_ == results["params"][search.best_index_]
    assert search.best_score_ == table[3].max()


def test_of_equal_candidates_the_first_go_on(iris):
    search = halving(classifier(), {"lr": LRS}, scoring=lambda *_: 0.5, refit=False).fit(*iris)
    results = search.cv_results_
    assert [*results["candidate"]] == [0, 1, 2, 3, 4, 5, 0, 1, 2, 0, 1]
    assert results["candidate"][search.best_index_] == 0


def test_the_best_is_looked_for_in_the_last_rung():
    results = {
        "iter": np.array([0, 0, 0, 0, 1, 1, 2, 2, 2]),
        "mean_test_score": np.array([4, 3, 5, 1, 11, 10, 5, 6, 9]),
        "params": np.array(["a", "b", "c", "d", "e", "f", "g", "h", "i"]),
    }
    assert HalvingSearchCV._select_best_index(None, None, results) == 8
    assert HalvingSearchCV._select_best_index(lambda _: 2, None, results) == 2


def failing_fit(X, fail=False):
    if fail:
        raise ValueError("can't be fitted")
    return X


def maybe_failing(fail_at):
    def score(estimator, X, y):
        if estimator[0].kw_args["fail"] and fail_at == "score":
            raise ValueError("can't be scored")
        return estimator.score(X, y)

    function = failing_fit if fail_at == "fit" else (lambda X, fail: X)
    step = FunctionTransformer(function, kw_args={"fail": False})
    return make_pipeline(step, classifier()), score


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning")
@pytest.mark.filterwarnings("ignore:Scoring failed:UserWarning")
@pytest.mark.filterwarnings("ignore:One or more of the:UserWarning")
@pytest.mark.parametrize("fail_at", ["fit", "score"])
def test_candidates_that_fail_never_go_on(iris, fail_at):
    model, scoring = maybe_failing(fail_at)
    candidates = {
        "functiontransformer__kw_args": [{"fail": True}, {"fail": False}],
        "torchclassifier__lr": [0.1, 0.01, 0.001],
    }
    search = halving(model, candidates, scoring=scoring, factor=1.5).fit(*iris)
    assert search.n_candidates_[:2] == [6, 3]  # four would go on, and three have a score
    assert not search.best_params_["functiontransformer__kw_args"]["fail"]
    scores, ranks = search.cv_results_["mean_test_score"], search.cv_results_["rank_test_score"]
    assert np.isnan(scores).sum() == 3
    assert {*ranks[np.isnan(scores)]} == {ranks.max()}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning")
@pytest.mark.filterwarnings("ignore:Scoring failed:UserWarning")
@pytest.mark.filterwarnings("ignore:One or more of the:UserWarning")
def test_the_end_is_clear_when_no_candidate_is_left(iris):
    failing = {"functiontransformer__kw_args": [{"fail": True}], "torchclassifier__lr": LRS}
    model, scoring = maybe_failing("score")
    with pytest.raises(ValueError, match=r"None of 6 candidates has a score after 2 epochs"):
        halving(model, failing, scoring=scoring).fit(*iris)
    with pytest.raises(ValueError, match="can't be scored"):
        halving(model, failing, scoring=scoring, error_score="raise").fit(*iris)
    model, scoring = maybe_failing("fit")
    with pytest.raises(ValueError, match="All the 18 fits failed"):
        halving(model, failing, scoring=scoring).fit(*iris)
    search = halving(model, failing, scoring=scoring, error_score="raise")
    with pytest.raises(ValueError, match="can't be fitted"):
        search.fit(*iris)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning")
@pytest.mark.filterwarnings("ignore:Scoring failed:UserWarning")
@pytest.mark.filterwarnings("ignore:One or more of the:UserWarning")
def test_where_a_refit_would_fail_its_error_says_why(iris):
    X, y = iris
    X = np.where(np.arange(len(X))[:, None] == 0, np.nan, X)  # in the test rows of a fold, too
    with pytest.raises(ValueError, match="NaN") as caught:
        halving(classifier(), {"lr": LRS}).fit(X, y)
    assert "has a score after" in str(caught.value.__context__)
    with pytest.raises(ValueError, match="None of 6 candidates has a score"):
        halving(classifier(), {"lr": LRS}, refit=False).fit(X, y)


@pytest.mark.filterwarnings("ignore:One or more of the:UserWarning")
@pytest.mark.parametrize("min_resources", [2, "max"])
def test_the_end_is_clear_when_the_last_rung_has_no_score(iris, min_resources):
    def scoring(estimator, X, y):
        return 1.0 if estimator.n_epochs_ < 8 else np.nan

    search = halving(classifier(), {"lr": LRS}, scoring=scoring, min_resources=min_resources)
    with pytest.raises(ValueError, match="candidates has a score after 8 epochs"):
        search.fit(*iris)


WRONG = [
    ({"factor": 1}, "factor=1 must be a number above 1"),
    ({"factor": "two"}, "factor='two' must be a number"),
    ({"min_resources": 0}, "min_resources=0 must be a positive number of epochs"),
    ({"min_resources": "smallest"}, "min_resources='smallest' must be"),
    ({"min_resources": 9}, "min_resources=9 is more than the 8 epochs of the last rung"),
    ({"max_resources": 0}, "max_resources=0 must be a positive number"),
    ({"max_resources": "most"}, "max_resources='most' must be"),
    ({"n_candidates": 0}, "n_candidates=0 must be a positive integer"),
    ({"n_candidates": "exhaust"}, "n_candidates='exhaust' must be"),
    ({"param_distributions": {"lr": loguniform(1e-3, 1)}}, "Set n_candidates to sample"),
    ({"param_distributions": {"rate": [1]}}, "rate"),
    ({"param_distributions": {"lr": []}}, "lr"),
    ({"estimator": LogisticRegression(), "param_distributions": {"C": [1]}}, "no parameter max_ep"),
    (
        {
            "estimator": LogisticRegression(),
            "param_distributions": {"C": [1, 2]},
            "max_resources": 8,
        },
        "No fit of LogisticRegression has paused",
    ),
    ({"scoring": ["accuracy", "f1_macro"], "refit": False}, "Set refit .* to its name"),
    ({"scoring": ["accuracy", "f1_macro"], "refit": True}, "Set refit .* to its name"),
    ({"scoring": lambda *_: {"a": 1.0, "b": 2.0}, "refit": False}, "does not name the metric"),
]


@pytest.mark.parametrize(("parameters", "message"), WRONG)
def test_wrong_parameters(iris, parameters, message):
    search = halving(classifier(), {"lr": LRS}).set_params(**parameters)
    with pytest.raises((ValueError, TypeError), match=message):
        search.fit(*iris)


def test_sampled_candidates(iris):
    space = [
        {"lr": loguniform(1e-3, 1e-1), "optimizer__weight_decay": expon(scale=0.1)},
        {"optimizer": ["SGD"], "lr": [0.1, 0.2]},
    ]
    search = halving(classifier(), space, n_candidates=5, random_state=1, refit=False)
    first, second = (clone(search).fit(*iris).cv_results_ for _ in range(2))
    assert (first["iter"] == 0).sum() == 5
    assert first["params"] == second["params"]
    assert {"param_lr", "param_optimizer", "param_optimizer__weight_decay"} <= first.keys()


def test_a_single_rung_trains_all_in_full_whatever_they_are(iris):
    search = halving(LogisticRegression(), {"C": [0.1, 1, 10]}, min_resources="max").fit(*iris)
    full = GridSearchCV(LogisticRegression(), {"C": [0.1, 1, 10]}, cv=3).fit(*iris)
    assert search.n_candidates_ == [3]
    np.testing.assert_array_equal(
        search.cv_results_["mean_test_score"], full.cv_results_["mean_test_score"]
    )


def test_untrained_nets_have_one_rung(iris):
    search = halving(classifier(max_epochs=0), {"lr": [0.1, 0.01]}, min_resources=1).fit(*iris)
    assert search.n_candidates_ == [2]


def test_candidates_with_epochs_of_their_own(iris):
    search = halving(classifier(), {"max_epochs": [1, 4, 16]}, refit=False).fit(*iris)
    assert search.max_resources_ == 16
    curves = pd.DataFrame(search.learning_curves_)
    assert curves[curves["candidate"] == 0]["epoch"].max() == 1
    whole = halving(make_pipeline(classifier()), {"torchclassifier": [classifier(max_epochs=5)]})
    assert whole.set_params(refit=False).fit(*iris).max_resources_ == 8


def test_several_metrics_and_a_callable_refit(iris):
    search = halving(classifier(), {"lr": LRS}, scoring=["accuracy", "neg_log_loss"])
    search.set_params(refit="neg_log_loss").fit(*iris)
    results = search.cv_results_
    rows = results["iter"] == search.n_iterations_ - 1
    assert search.best_score_ == results["mean_test_neg_log_loss"][rows].max()
    assert search.multimetric_
    chosen = halving(classifier(), {"lr": LRS}, refit=lambda results: len(results["params"]) - 1)
    assert chosen.fit(*iris).best_index_ == 10


def test_groups_and_shuffling_splitters(iris):
    X, y = iris
    groups = np.arange(len(y)) % 5
    for splitter in (LeaveOneGroupOut(), GroupKFold(3)):
        search = halving(classifier(), {"lr": [0.1, 0.01]}, cv=splitter, refit=False)
        with pytest.raises(ValueError, match="groups"):
            search.fit(X, y)
        search.fit(X, y, groups=groups)
    # Without a seed every call of split() draws other folds: here all rungs have the same.
    for splitter in (StratifiedShuffleSplit(2), KFold(2, shuffle=True), StratifiedKFold(2)):
        search = halving(classifier(), {"lr": [1e-9, 2e-9]}, cv=splitter, refit=False)
        search.set_params(scoring=log_likelihood).fit(X, y)
        scores = pd.DataFrame(search.cv_results_).pivot(
            index="candidate", columns="iter", values="split0_test_score"
        )
        assert abs(scores[0][scores[1].notna()] - scores[1].dropna()).max() < 1e-4


def test_sample_weights_reach_the_fits(iris):
    X, y = iris
    weights = (y != 2).astype(float)

    def scoring(estimator, X, y):
        return accuracy_score(y, estimator.predict(X))

    search = halving(classifier(lr=0.03), {"lr": [0.03, 0.01]}, refit=False, scoring=scoring)
    with pytest.warns(UserWarning, match="does not support sample_weight"):
        search.fit(X, y, sample_weight=weights)
    assert search.best_score_ < 0.7


def test_learning_curves(iris):
    search = halving(classifier(early_stopping=True), {"lr": LRS}, refit=False).fit(*iris)
    curves = pd.DataFrame(search.learning_curves_)
    assert {"candidate", "split", "epoch", "train_loss", "valid_loss"} <= {*curves}
    lengths = curves.groupby("candidate")["epoch"].max()
    results = search.cv_results_
    ended = pd.DataFrame(results).groupby("candidate")["n_resources"].max()
    assert (lengths == ended).all()
    assert len(curves) == 3 * ended.sum()


@pytest.mark.parametrize("backend", ["sktorch", "threading", "sequential"])
def test_a_search_inside_another(iris, backend):
    search = halving(classifier(), {"lr": LRS})
    with joblib.parallel_config(backend):
        scores = cross_val_score(search, *iris, cv=2)
    np.testing.assert_allclose(scores, cross_val_score(search, *iris, cv=2), atol=0.03)


class Searching(Callback):
    """Searches, once, while another fit trains."""

    def __init__(self, search, data):
        self.search, self.data = search, data

    def on_train_end(self, net, **kwargs):
        self.search.fit(*self.data)


def test_a_search_inside_a_callback_is_refused(iris):
    search = halving(classifier(), {"lr": LRS}, error_score="raise")
    with pytest.raises(RuntimeError, match="one task after the other, as in a callback"):
        classifier(callbacks=[Searching(search, iris)]).fit(*iris)


def test_an_interrupt_leaves_nothing_behind(iris, pressing):
    before = threading.active_count()
    candidates = {"callbacks": [None, [pressing]], "lr": LRS}
    search = halving(classifier(max_epochs=10_000), candidates, min_resources=1_000)
    with pytest.raises(KeyboardInterrupt):
        search.fit(*iris)
    assert threading.active_count() == before
    assert not hasattr(search, "cv_results_")
    assert paused_fit() is None
    halving(classifier(), {"lr": LRS}).fit(*iris)


def test_searches_are_cloned_pickled_and_used_as_models(iris):
    X, y = iris
    search = halving(classifier(), {"lr": LRS})
    search.fit(X, y)
    copied = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(copied.predict_proba(X), search.predict_proba(X))
    assert not hasattr(clone(search), "cv_results_")
    assert search.score(X, y) > 0.8
    assert search.get_params(deep=False)["n_jobs"] is None


def test_checkpoints_in_files_go_on_as_well(iris, tmp_path):
    candidates = {"lr": LRS}
    settings = {"refit": False, "scoring": log_likelihood}
    plain = halving(classifier(), candidates, **settings).fit(*iris)
    model = classifier(checkpoint=tmp_path, checkpoint_every=1)
    search = halving(model, candidates, **settings).fit(*iris)
    np.testing.assert_allclose(
        search.cv_results_["mean_test_score"], plain.cv_results_["mean_test_score"], rtol=1e-9
    )
    assert len([*tmp_path.iterdir()]) == 18
    assert len(search.learning_curves_["epoch"]) == len(plain.learning_curves_["epoch"])


def test_the_ensemble_of_the_last_rung(scaled):
    X, y = scaled("wine")
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
    search = halving(classifier(), {"lr": LRS}, refit="ensemble").fit(X_train, y_train)
    ensemble = search.best_estimator_
    assert isinstance(ensemble, FoldEnsembleClassifier)
    assert ensemble.score_ >= ensemble.best_score_ - 1e-9
    assert all(len(models) == 3 for models in ensemble.estimators_)
    assert {model.n_epochs_ for models in ensemble.estimators_ for model in models} == {8}
    np.testing.assert_allclose(search.predict_proba(X_test).sum(axis=1), 1)
    assert search.score(X_test, y_test) > 0.9
    assert search.best_params_ in search.cv_results_["params"]
    assert "_models" not in vars(search)
    assert not isinstance(search.scorer_, ModelLeavingScorer)
    copied = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(copied.predict(X_test), search.predict(X_test))


def test_ensembles_by_a_metric_with_weights_and_of_other_estimators(scaled, diabetes):
    X, y = scaled("breast_cancer")
    search = halving(classifier(), {"lr": LRS}, refit="ensemble", scoring="roc_auc").fit(X, y)
    assert search.best_estimator_.score_ >= search.best_score_ - 0.01
    with pytest.warns(UserWarning, match="does not support sample_weight"):
        halving(classifier(), {"lr": LRS}, refit="ensemble").set_params(scoring=log_likelihood).fit(
            X, y, sample_weight=np.ones(len(y))
        )
    forest = halving(Ridge(), {"alpha": [0.1, 10]}, refit="ensemble", min_resources="max")
    assert isinstance(forest.fit(*diabetes).best_estimator_, FoldEnsembleRegressor)
    with pytest.raises(ValueError, match="several metrics"):
        halving(classifier(), {"lr": LRS}, refit="ensemble", scoring=["accuracy"]).fit(X, y)
