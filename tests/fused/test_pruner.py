"""Searches that prune, against the rule applied by hand to the curves of those that do not."""

import re
import threading
import warnings

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    RandomizedSearchCV,
    cross_validate,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktorch import TorchClassifier, TorchRegressor
from sktorch._private.search_tasks import search_task
from sktorch.fused.backend import FusedBackend
from sktorch.model_selection import HalvingRule, HalvingSearchCV, MedianRule
from tests.fused.searches import Raising, n_task_threads

pytestmark = pytest.mark.usefixtures("no_step_is_large")

LRS = [0.1, 0.03, 0.01, 0.003, 0.001, 0.0001]
RULES = {"median": MedianRule(warm_up=2), "halving": HalvingRule(min_epochs=2, factor=2)}
SAID = "of 18 fits were pruned: their candidates could not win"


def classifier(**parameters):
    defaults = {"max_epochs": 9, "module__hidden": (8,), "random_state": 0, "tol": -1}
    return TorchClassifier(**defaults | {"early_stopping": True} | parameters)


def grid(estimator=None, name="lr", **parameters):
    estimator = classifier() if estimator is None else estimator
    return GridSearchCV(estimator, {name: LRS}, **{"cv": 3, "refit": False} | parameters)


def keeping(kept):
    """Return a scoring that keeps every fitted net, by its learning rate."""

    def score(estimator, X, y):
        net = estimator[-1] if hasattr(estimator, "steps") else estimator
        kept.setdefault(net.lr, []).append(net)
        return estimator.score(X, y)

    return score


def fitted_nets(search, X, y, rule):
    """Return the nets of each candidate by learning rate, and the search."""
    kept = {}
    with joblib.parallel_config("sktorch", prune=rule), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        search.set_params(scoring=keeping(kept)).fit(X, y)
    return kept


def epochs_by_hand(curves, rule):
    """Apply a rule to the whole curves of all candidates, as arrays of folds × epochs."""
    best = {
        lr: np.maximum.accumulate(np.array(of_folds), 1).mean(0) for lr, of_folds in curves.items()
    }
    ended = {}
    n_epochs = len(next(iter(best.values())))
    for epoch in filter(rule.judges, range(1, n_epochs)):
        going = [lr for lr in best if lr not in ended]
        scores = [best[lr][epoch - 1] for lr in going]
        stopped = [best[lr][ended[lr] - 1] for lr in ended]
        falling = [lr for lr in going if rule.stops(best[lr][epoch - 1], scores, stopped)]
        ended |= dict.fromkeys(falling, epoch)
    return {lr: ended.get(lr, n_epochs) for lr in best}


@pytest.mark.parametrize("rule", RULES)
def test_the_rule_is_applied_to_the_mean_curves_of_candidates(scaled, rule):
    X, y = scaled("wine")
    whole = fitted_nets(grid(), X, y, None)
    expected = epochs_by_hand(
        {lr: [net.validation_scores_ for net in nets] for lr, nets in whole.items()}, RULES[rule]
    )
    assert len({*expected.values()}) > 1
    pruned = fitted_nets(grid(), X, y, RULES[rule])
    for lr, nets in pruned.items():
        assert [net.n_epochs_ for net in nets] == [expected[lr]] * 3
        assert {net.pruned_ for net in nets} == {expected[lr] < 9}
        curves = sorted(net.validation_scores_ for net in nets)  # Folds end in any order.
        full = sorted(net.validation_scores_[: expected[lr]] for net in whole[lr])
        np.testing.assert_allclose(curves, full)
        assert all(net.best_epoch_ <= net.n_epochs_ for net in nets)
    assert not any(net.pruned_ for nets in whole.values() for net in nets)


@pytest.mark.parametrize("rule", ["median", "halving"])
@pytest.mark.parametrize("name", ["wine", "breast_cancer"])
def test_the_winner_stays_and_the_search_says_so(scaled, rule, name):
    X, y = scaled(name)
    search = grid(scoring="neg_log_loss")
    with joblib.parallel_config("sktorch"):
        best = search.fit(X, y).best_params_
    with joblib.parallel_config("sktorch", prune=rule), pytest.warns(UserWarning, match=SAID):
        assert search.fit(X, y).best_params_ == best
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all()


def test_every_run_prunes_alike(scaled):
    X, y = scaled("wine")
    runs = [fitted_nets(grid(), X, y, "halving") for _ in range(3)]
    epochs = [{lr: [n.n_epochs_ for n in nets] for lr, nets in run.items()} for run in runs]
    assert epochs[0] == epochs[1] == epochs[2]


def test_pipelines_random_searches_and_losses_of_regression(scaled, diabetes):
    X, y = scaled("wine")
    pipeline = make_pipeline(StandardScaler(), classifier())
    with joblib.parallel_config("sktorch", prune="halving"):
        with pytest.warns(UserWarning, match=SAID):
            grid(pipeline, "torchclassifier__lr").fit(X, y)
        sampled = RandomizedSearchCV(classifier(), {"lr": LRS}, n_iter=6, cv=3, random_state=0)
        with pytest.warns(UserWarning, match=SAID):
            sampled.fit(X, y)
        assert not sampled.best_estimator_.pruned_
        model = TorchRegressor(
            max_epochs=9, early_stopping=True, monitor="valid_loss", random_state=0, tol=-1
        )
        with pytest.warns(UserWarning, match=SAID):
            grid(model).fit(*diabetes)


def test_what_is_not_compared_is_not_pruned(scaled, recwarn):
    X, y = scaled("wine")
    halving = HalvingSearchCV(classifier(), {"lr": LRS}, cv=2, factor=2, min_resources=2)
    with joblib.parallel_config("sktorch", prune="halving"):
        classifier().fit(X, y)
        cross_validate(classifier(), X, y)
        grid(OneVsRestClassifier(classifier()), "estimator__lr", cv=2).fit(X, y)
        GridSearchCV(LogisticRegression(), {"C": [0.1, 1, 10]}).fit(X, y)
        halving.fit(X, y)
    assert halving.n_candidates_ == [6, 3, 2]
    assert not [w for w in recwarn if "pruned" in str(w.message)]


def test_fits_without_held_out_rows_can_not_be_pruned(scaled):
    X, y = scaled("wine")
    message = "18 of 18 fits could not be pruned: they hold no rows out .* Set early_stopping=True"
    with joblib.parallel_config("sktorch", prune="median"), pytest.warns(match=message):
        grid(classifier(early_stopping=False)).fit(X, y)


def test_failing_and_early_stopping_candidates_disturb_no_other(scaled):
    X, y = scaled("wine")
    candidates = {
        "lr": LRS,
        "callbacks": [None, [Raising(ValueError("broken"))]],
        "n_iter_no_change": [1, 20],
    }
    search = GridSearchCV(classifier(tol=0.001), candidates, cv=3, refit=False)
    with (
        joblib.parallel_config("sktorch", prune="halving"),
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        search.fit(X, y)
    scores = search.cv_results_["mean_test_score"].reshape(2, len(LRS), 2)
    assert np.isnan(scores).any(axis=2).sum() <= len(LRS) * 2
    assert np.isfinite(scores).any()
    pruned = [w for w in caught if re.search(r"\d+ of \d+ fits were pruned", str(w.message))]
    assert len(pruned) == 1
    assert n_task_threads() == 0


def test_an_error_ends_a_search_that_prunes(scaled):
    X, y = scaled("wine")
    candidates = {"lr": LRS, "callbacks": [None, [Raising(SystemExit("ended"))]]}
    before = threading.active_count()
    with joblib.parallel_config("sktorch", prune="median"), pytest.raises(SystemExit):
        GridSearchCV(classifier(), candidates, cv=3).fit(X, y)
    assert threading.active_count() == before


@pytest.mark.parametrize(("prune", "error"), [("middle", ValueError), (3, TypeError)])
def test_wrong_options(prune, error):
    with pytest.raises(error, match="prune"), joblib.parallel_config("sktorch", prune=prune):
        joblib.Parallel()(joblib.delayed(abs)(number) for number in range(2))


def test_the_tasks_of_searches_are_known(monkeypatch):
    seen, submit = [], FusedBackend.submit

    def watched(self, task, callback):
        seen.append(search_task(task))
        return submit(self, task, callback)

    monkeypatch.setattr(FusedBackend, "submit", watched)
    with joblib.parallel_config("sktorch"):
        GridSearchCV(LogisticRegression(), {"C": [1, 2]}, cv=3).fit(np.eye(6), [0, 1] * 3)
        joblib.Parallel()(joblib.delayed(abs)(number) for number in range(2))
    *of_search, first, second = seen
    found = [(task.candidate, task.fold, task.n_candidates, task.n_folds) for task in of_search]
    assert found == [(candidate, fold, 2, 3) for candidate in range(2) for fold in range(3)]
    assert {type(task.estimator) for task in of_search} == {LogisticRegression}
    assert first is second is None
