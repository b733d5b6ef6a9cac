"""TorchRegressor in the hands of scikit-learn's users: searches, ensembles, pipelines, scoring."""

import copy
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from sklearn.base import clone, is_regressor
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_diabetes
from sklearn.ensemble import (
    AdaBoostRegressor,
    BaggingRegressor,
    StackingRegressor,
    VotingRegressor,
)
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_selection import RFE, SequentialFeatureSelector
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.linear_model import LinearRegression
from sklearn.metrics import make_scorer, mean_pinball_loss, r2_score
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    KFold,
    RandomizedSearchCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    train_test_split,
    validation_curve,
)
from sklearn.multioutput import MultiOutputRegressor, RegressorChain
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktorch import TorchRegressor

FOLDS = KFold(3, shuffle=True, random_state=0)


def net(**parameters):
    defaults = {"lr": 0.01, "max_epochs": 10, "batch_size": 64, "random_state": 0}
    return TorchRegressor(**(defaults | parameters))


def patients():
    X, y = load_diabetes(return_X_y=True, scaled=False)
    return X, y


def standard_patients():
    X, y = load_diabetes(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def in_steps(**parameters):
    return make_pipeline(StandardScaler(), net(**parameters))


# Estimators that are made of regressors: data, how it is built, and the R² that it must reach on
# rows it has not seen. Those that take n_jobs are built with 1 and with 2.
META_ESTIMATORS = {
    "Pipeline": (patients, in_steps, 0.25),
    "ColumnTransformer": (
        patients,
        lambda: make_pipeline(
            ColumnTransformer([("blood", StandardScaler(), slice(2, 10))]),
            net(),
        ),
        0.25,
    ),
    "TransformedTargetRegressor": (
        standard_patients,
        lambda: TransformedTargetRegressor(net(), func=np.log, inverse_func=np.exp),
        0.25,
    ),
    "GridSearchCV": (
        patients,
        lambda n_jobs: GridSearchCV(
            in_steps(),
            {
                "torchregressor__lr": [1e-6, 0.01],
                "torchregressor__criterion": ["mse", "huber"],
            },
            cv=FOLDS,
            n_jobs=n_jobs,
        ),
        0.25,
    ),
    "RandomizedSearchCV": (
        standard_patients,
        lambda n_jobs: RandomizedSearchCV(
            net(),
            {"lr": [1e-6, 0.01], "scale_target": [True], "lr_schedule": [None, "cosine"]},
            n_iter=3,
            cv=FOLDS,
            random_state=0,
            n_jobs=n_jobs,
        ),
        0.25,
    ),
    "HalvingGridSearchCV": (
        standard_patients,
        lambda n_jobs: HalvingGridSearchCV(
            net(),
            {"lr": [1e-6, 1e-5, 0.01]},
            resource="max_epochs",
            min_resources=3,
            max_resources=12,
            factor=2,
            cv=FOLDS,
            random_state=0,
            n_jobs=n_jobs,
        ),
        0.25,
    ),
    "AdaBoostRegressor": (
        standard_patients,
        lambda: AdaBoostRegressor(net(), n_estimators=4, random_state=0),
        0.2,
    ),
    "BaggingRegressor": (
        standard_patients,
        lambda n_jobs: BaggingRegressor(net(), n_estimators=4, random_state=0, n_jobs=n_jobs),
        0.25,
    ),
    "VotingRegressor": (
        standard_patients,
        lambda n_jobs: VotingRegressor(
            [("net", net()), ("linear", LinearRegression())], n_jobs=n_jobs
        ),
        0.25,
    ),
    "StackingRegressor": (
        standard_patients,
        lambda n_jobs: StackingRegressor(
            [("wide", net()), ("linear", net(module__hidden=()))], cv=FOLDS, n_jobs=n_jobs
        ),
        0.25,
    ),
    "SequentialFeatureSelector": (
        standard_patients,
        lambda n_jobs: make_pipeline(
            SequentialFeatureSelector(
                net(max_epochs=3), n_features_to_select=2, cv=FOLDS, n_jobs=n_jobs
            ),
            net(),
        ),
        0.25,
    ),
    "RFE": (
        standard_patients,
        lambda: make_pipeline(
            RFE(
                net(module__hidden=()),
                n_features_to_select=4,
                importance_getter=lambda fitted: fitted.module_[1].weight.detach().numpy()[0],
            ),
            net(),
        ),
        0.25,
    ),
}


@pytest.mark.parametrize("name", META_ESTIMATORS)
def test_meta_estimators(name):
    load, build, least = META_ESTIMATORS[name]
    X, y = load()
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    takes_jobs = build is not in_steps and build.__code__.co_argcount
    built = [build(n_jobs) for n_jobs in (1, 2)] if takes_jobs else [build()]
    predicted = [estimator.fit(X_train, y_train).predict(X_test) for estimator in built]

    assert is_regressor(built[0])
    assert predicted[0].shape == y_test.shape
    assert r2_score(y_test, predicted[0]) >= least
    # Bagging adds its members' predictions per job: the last bit is the order's.
    np.testing.assert_allclose(predicted[0], predicted[-1], rtol=1e-13)
    if name.endswith("SearchCV"):
        one, two = (_without_times(estimator.cv_results_) for estimator in built)
        pd.testing.assert_frame_equal(one, two, check_exact=True)
        lr = next(value for key, value in built[0].best_params_.items() if key.endswith("lr"))
        assert lr == 0.01


def _without_times(results):
    return pd.DataFrame({k: v for k, v in results.items() if "_time" not in k})


@pytest.mark.parametrize("build", [MultiOutputRegressor, RegressorChain])
def test_one_net_a_target_or_one_for_all(build):
    X, y = standard_patients()
    Y = np.column_stack([y, -2 * y])
    wrapped = build(net()).fit(X, Y)
    assert wrapped.score(X, Y) > 0.4
    assert net().fit(X, Y).score(X, Y) > 0.4
    if build is MultiOutputRegressor:
        expected = np.column_stack([net().fit(X, column).predict(X) for column in Y.T])
        np.testing.assert_array_equal(wrapped.predict(X), expected)


# Functions of model_selection and inspection; each returns what must be equal with n_jobs 1 and 2,
# and a score with the least it must be.
def with_cross_validate(n_jobs, X, y):
    result = cross_validate(
        net(),
        X,
        y,
        cv=FOLDS,
        scoring=["r2", "neg_max_error", "neg_mean_absolute_error"],
        return_train_score=True,
        n_jobs=n_jobs,
    )
    names = [name for name in result if name.startswith(("test", "train"))]
    return {name: result[name] for name in names}, result["test_r2"].min(), 0.3


def with_cross_val_predict(n_jobs, X, y):
    predicted = cross_val_predict(net(), X, y, cv=FOLDS, n_jobs=n_jobs)
    assert predicted.shape == y.shape
    return predicted, r2_score(y, predicted), 0.4


def with_cross_val_predict_of_columns(n_jobs, X, y):
    Y = np.column_stack([y, y**2])
    predicted = cross_val_predict(net(), X, Y, cv=FOLDS, n_jobs=n_jobs)
    assert predicted.shape == Y.shape
    return predicted, r2_score(Y, predicted), 0.35


def with_learning_curve(n_jobs, X, y):
    _, train, test = learning_curve(net(), X, y, train_sizes=[30, 250], cv=FOLDS, n_jobs=n_jobs)
    return (train, test), test[1].mean() - test[0].mean(), 0.1


def with_incremental_learning_curve(n_jobs, X, y):
    _, train, test = learning_curve(
        net(batch_size=8),
        X,
        y,
        train_sizes=[50, 150, 290],
        cv=FOLDS,
        exploit_incremental_learning=True,
        n_jobs=n_jobs,
    )
    return (train, test), test[2].mean(), 0.35


def with_validation_curve(n_jobs, X, y):
    train, test = validation_curve(
        net(), X, y, param_name="lr", param_range=[1e-6, 0.01], cv=FOLDS, n_jobs=n_jobs
    )
    assert test[0].mean() < 0.1
    return (train, test), test[1].mean(), 0.35


def with_permutation_importance(n_jobs, X, y):
    fitted = net().fit(X, y)
    importance = permutation_importance(fitted, X, y, n_repeats=3, random_state=0, n_jobs=n_jobs)
    mean = importance.importances_mean
    # The body mass index (2) and s5 (8) tell most of how the disease goes on, age (0) little.
    return importance.importances, mean[[2, 8]].min() - mean[0], 0.05


@pytest.mark.parametrize(
    "use",
    [
        with_cross_validate,
        with_cross_val_predict,
        with_cross_val_predict_of_columns,
        with_learning_curve,
        with_incremental_learning_curve,
        with_validation_curve,
        with_permutation_importance,
    ],
    ids=lambda use: use.__name__.removeprefix("with_"),
)
def test_functions(use):
    X, y = standard_patients()
    one, score, least = use(1, X, y)
    two, _, _ = use(2, X, y)
    np.testing.assert_equal(one, two)
    assert score >= least


def test_partial_dependence():
    X, y = standard_patients()
    curve = partial_dependence(net().fit(X, y), X, [2], grid_resolution=5)["average"][0]
    assert curve[-1] > curve[0] + 30  # The body mass index raises what is predicted.


def test_a_search_over_quantiles_by_their_own_score():
    X, y = standard_patients()
    scorer = make_scorer(mean_pinball_loss, greater_is_better=False, alpha=0.9)
    search = GridSearchCV(
        net(criterion="quantile"),
        {"criterion__quantile": [0.1, 0.5, 0.9]},
        scoring=scorer,
        cv=FOLDS,
    )
    assert search.fit(X, y).best_params_ == {"criterion__quantile": 0.9}


def half_spoilt(y):
    """Which targets are right, and targets of which the others are far off."""
    counts = np.arange(len(y)) % 5 < 2
    return counts, np.where(counts, y, 1000 - 3 * y)


@pytest.mark.parametrize(
    "build",
    [
        lambda: BaggingRegressor(net(), n_estimators=3, random_state=0),
        lambda: VotingRegressor([("net", net())]),
        lambda: MultiOutputRegressor(net()),
    ],
    ids=["bagging", "voting", "multi-output"],
)
def test_weights_reach_the_net(build):
    X, y = standard_patients()
    counts, spoilt = half_spoilt(y)
    weight = np.where(counts, 1.0, 1e-6)
    if isinstance(build(), MultiOutputRegressor):
        y, spoilt = y[:, None], spoilt[:, None]
    assert build().fit(X, spoilt, sample_weight=weight).score(X, y) > 0.3
    assert build().fit(X, spoilt).score(X, y) < 0


def test_metadata_routing_of_weights():
    X, y = standard_patients()
    counts, spoilt = half_spoilt(y)
    with sklearn.config_context(enable_metadata_routing=True):
        model = make_pipeline(
            StandardScaler().set_fit_request(sample_weight=False),
            net().set_fit_request(sample_weight=True).set_score_request(sample_weight=True),
        )
        weight = {"sample_weight": counts.astype(float)}
        weighted = cross_validate(model, X, spoilt, cv=FOLDS, params=weight)
    assert weighted["test_score"].min() > 0.2
    assert cross_val_score(net(), X, spoilt, cv=FOLDS).max() < 0.2


ESTIMATORS = {
    "default": lambda: net(),
    "gaussian": lambda: net(criterion="gaussian_nll", early_stopping=True),
    "quantiles": lambda: net(criterion="quantile", criterion__quantile=[0.1, 0.9]),
    "poisson": lambda: net(criterion="poisson_nll", lr_schedule="one_cycle", scoring="r2"),
    "unscaled": lambda: net(scale_target=False, initializer="orthogonal"),
}
COPIES = {
    "deepcopy": lambda estimator, _: copy.deepcopy(estimator),
    "pickle": lambda estimator, _: pickle.loads(pickle.dumps(estimator)),
    "joblib": lambda estimator, path: joblib.load(*joblib.dump(estimator, path / "it")),
}


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_copies_predict_the_same_bits_and_go_on(tmp_path, name, copied):
    X, y = standard_patients()
    fitted = ESTIMATORS[name]().fit(X, y)
    other = COPIES[copied](fitted, tmp_path)
    np.testing.assert_array_equal(other.predict(X), fitted.predict(X))
    other.partial_fit(X, y)
    fitted.partial_fit(X, y)
    np.testing.assert_array_equal(other.predict(X), fitted.predict(X))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_clone_trains_the_same(name):
    X, y = standard_patients()
    fitted = ESTIMATORS[name]().fit(X, y)
    fresh = clone(fitted)
    assert not hasattr(fresh, "net_")
    np.testing.assert_array_equal(fresh.fit(X, y).predict(X), fitted.predict(X))


def test_data_frames_keep_their_names():
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    fitted = net().fit(X, y)
    assert [*fitted.feature_names_in_] == [*X.columns]
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.predict(X[X.columns[::-1]])


@pytest.mark.parametrize("columns", [1, 2])
def test_tensors_stay_in_torch_and_agree_with_numpy(columns):
    X, y = standard_patients()
    y = y if columns == 1 else np.column_stack([y, -y])
    tensors = torch.from_numpy(X), torch.from_numpy(y)
    with sklearn.config_context(array_api_dispatch=True):
        in_torch = cross_val_predict(in_steps(), *tensors, cv=FOLDS)
        scores = cross_val_score(in_steps(), *tensors, cv=FOLDS)
        _, deviation = net(criterion="gaussian_nll").fit(*tensors).predict(tensors[0], True)
    assert isinstance(in_torch, torch.Tensor)
    assert isinstance(deviation, torch.Tensor)
    in_numpy = cross_val_predict(in_steps(), X, y, cv=FOLDS)
    np.testing.assert_allclose(in_torch.numpy(), in_numpy, rtol=1e-4)
    np.testing.assert_allclose(scores, cross_val_score(in_steps(), X, y, cv=FOLDS), rtol=1e-4)
    assert isinstance(net().fit(*tensors).predict(tensors[0]), np.ndarray)
