"""Whatever runs its tasks by joblib has the same results with and without the backend."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from sklearn.datasets import load_diabetes, load_wine
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_selection import RFECV
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    KFold,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    permutation_test_score,
    validation_curve,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import LRScheduler

from sktorch import TorchClassifier, TorchRegressor
from tests.fused.searches import both, classifier, grid_search, nested_search
from tests.test_users import META_ESTIMATORS

pytestmark = pytest.mark.usefixtures("no_step_is_large")


def importance(model):
    weights = [p for p in model.module_.parameters() if p.ndim == 2]
    return weights[0].detach().numpy()


def ensemble_of(kind):
    def fit(X, y):
        return kind.fit(X, y).predict_proba(X)

    return fit


USES = {
    "grid_search": grid_search,
    "one_cycle": lambda X, y: grid_search(X, y, lr_schedule="one_cycle"),
    "plateau": lambda X, y: grid_search(
        X, y, lr_schedule="plateau", lr_schedule__patience=0, max_epochs=8
    ),
    "scoring": lambda X, y: grid_search(
        X, y, early_stopping=True, scoring=["f1_macro", "train_accuracy"], monitor="valid_f1_macro"
    ),
    "sample_weight": lambda X, y: cross_validate(
        classifier(), X, y, params={"sample_weight": 1.0 + np.arange(len(y)) % 3}
    )["test_score"],
    "multilabel": lambda X, y: cross_val_predict(
        classifier(), X, np.stack([y > 0, y > 1], 1).astype(int), method="predict_proba"
    ),
    "rfecv": lambda X, y: RFECV(
        classifier(module__hidden=()), cv=3, importance_getter=importance
    ).fit(X, y).cv_results_["mean_test_score"],
    "early_stopping": lambda X, y: grid_search(
        X, y, early_stopping=True, n_iter_no_change=2, max_epochs=10
    ),
    "class_weight": lambda X, y: grid_search(X, y, class_weight="balanced"),
    "schedule": lambda X, y: grid_search(
        X, y, callbacks=[LRScheduler("StepLR", step_size=2, gamma=0.1)]
    ),
    "halving": lambda X, y: HalvingGridSearchCV(
        classifier(), {"lr": [0.001, 0.01, 0.1]}, cv=3, random_state=0
    ).fit(X, y).predict_proba(X),
    "cross_validate": lambda X, y: cross_validate(
        classifier(), X, y, cv=KFold(7), return_train_score=True
    )["train_score"],
    "cross_val_predict": lambda X, y: cross_val_predict(
        classifier(), X, y, method="predict_proba"
    ),
    "learning_curve": lambda X, y: learning_curve(
        classifier(), X, y, cv=3, shuffle=True, random_state=0, train_sizes=[0.4, 0.7, 1.0]
    )[2],
    "validation_curve": lambda X, y: validation_curve(
        classifier(), X, y, cv=3, param_name="lr", param_range=[0.001, 0.1]
    )[1],
    "permutation_test_score": lambda X, y: permutation_test_score(
        classifier(), X, y, cv=3, n_permutations=3, random_state=0
    )[1],
    "bagging": ensemble_of(BaggingClassifier(classifier(), 5, random_state=0)),
    "one_vs_rest": ensemble_of(OneVsRestClassifier(classifier())),
    "voting": ensemble_of(
        VotingClassifier([("a", classifier()), ("b", classifier(lr=0.1))], voting="soft")
    ),
    "stacking": ensemble_of(
        StackingClassifier([("a", classifier()), ("b", classifier(lr=0.1))], LogisticRegression())
    ),
    "pipeline": lambda X, y: cross_validate(
        make_pipeline(StandardScaler(), classifier()), X, y, cv=5
    )["test_score"],
    "nested": nested_search,
}  # fmt: skip


@pytest.mark.parametrize("name", USES)
def test_results_are_those_without_the_backend(name, iris, met):
    alone, together = both(lambda: USES[name](*iris))
    parts = [alone], [together]
    for first, second in zip(*((alone, together) if type(alone) is tuple else parts), strict=True):
        np.testing.assert_allclose(second, first, rtol=1e-7, atol=1e-9)
    assert max(met) > 1


def test_warm_start(iris):
    def fits():
        model = BaggingClassifier(classifier(warm_start=True), 4, warm_start=True, random_state=0)
        first = model.fit(*iris).predict_proba(iris[0])
        return first, model.set_params(n_estimators=7).fit(*iris).predict_proba(iris[0])

    np.testing.assert_allclose(*both(fits), atol=1e-9)


def test_regression():
    X, y = load_diabetes(return_X_y=True)
    model = TorchRegressor(max_epochs=4, random_state=0)
    uses = [
        lambda: GridSearchCV(model, {"lr": [0.001, 0.01]}, cv=4).fit(X, y).predict(X),
        lambda: cross_val_score(model, X, y, cv=4),
        lambda: BaggingRegressor(model, 4, random_state=0).fit(X, y).predict(X),
    ]
    for use in uses:
        alone, together = both(use)
        np.testing.assert_allclose(together, alone, rtol=1e-7)


TAKING_JOBS = [name for name, entry in META_ESTIMATORS.items() if entry[1].__code__.co_argcount]


@pytest.mark.parametrize("name", TAKING_JOBS)
def test_meta_estimators_of_users(name):
    load, build, _ = META_ESTIMATORS[name]
    X, y = load()
    predicted = [model.predict(X) for model in both(lambda: build(None).fit(X, y))]
    np.testing.assert_array_equal(*predicted)


def test_history_and_epochs_of_each_fit(iris):
    def fitted():
        return cross_validate(
            classifier(early_stopping=True, n_iter_no_change=2, max_epochs=20, tol=0.01),
            *iris, cv=KFold(5, shuffle=True, random_state=0), return_estimator=True,
        )["estimator"]  # fmt: skip

    for alone, together in zip(*both(fitted), strict=True):
        assert together.n_epochs_ == alone.n_epochs_
        assert together.best_epoch_ == alone.best_epoch_
        np.testing.assert_allclose(together.loss_curve_, alone.loss_curve_, rtol=1e-9)
        assert together.validation_scores_ == alone.validation_scores_


SETTINGS = st.fixed_dictionaries(
    {
        "module__hidden": st.sampled_from([(), (5,), (8, 3)]),
        "module__normalization": st.sampled_from([None, "batch", "layer"]),
        "optimizer": st.sampled_from(["adamw", "sgd", "rmsprop", "nadam", "adagrad", "lbfgs"]),
        "criterion": st.sampled_from(["cross_entropy", "multi_margin"]),
        "batch_size": st.integers(5, 60),
        "class_weight": st.sampled_from([None, "balanced"]),
        "early_stopping": st.booleans(),
        "gradient_clip": st.sampled_from([None, 0.1]),
        "lr_schedule": st.sampled_from([None, "one_cycle", "exponential"]),
    }
)


@hypothesis.settings(max_examples=12, deadline=None, derandomize=True)
@hypothesis.given(
    settings=SETTINGS,
    lrs=st.lists(st.sampled_from([1e-4, 1e-3, 1e-2]), min_size=1, max_size=3),
    n_folds=st.integers(2, 5),
    n_rows=st.integers(60, 110),
    weighted=st.booleans(),
)
def test_any_search(settings, lrs, n_folds, n_rows, weighted):
    X, y = load_wine(return_X_y=True)
    order = np.random.default_rng(n_rows).permutation(len(X))[:n_rows]
    X, y = StandardScaler().fit_transform(X[order]), y[order]
    weight = {"sample_weight": 0.5 + np.arange(n_rows) % 3} if weighted else None
    fixed = {"max_epochs": 2, "n_iter_no_change": 1, "random_state": 0}
    if settings["lr_schedule"] == "exponential":
        fixed["lr_schedule__gamma"] = 0.5

    def trained():
        results = []
        for lr in lrs:
            model = TorchClassifier(**settings, **fixed, lr=lr)
            folds = KFold(n_folds)
            results += cross_validate(
                model, X, y, cv=folds, params=weight, return_estimator=True, error_score="raise"
            )["estimator"]
        return results

    for one, other in zip(*both(trained), strict=True):
        np.testing.assert_allclose(other.loss_curve_, one.loss_curve_, rtol=1e-9, atol=1e-9)
        assert other.best_epoch_ == one.best_epoch_
        if settings["module__normalization"] != "batch":  # a bias before it has no true gradient
            np.testing.assert_allclose(
                other.decision_function(X), one.decision_function(X), rtol=1e-9, atol=1e-9
            )
