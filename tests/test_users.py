"""TorchClassifier in the hands of scikit-learn's users: searches, ensembles, pipelines, scoring."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_selection import SequentialFeatureSelector
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    KFold,
    RandomizedSearchCV,
    StratifiedKFold,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    train_test_split,
    validation_curve,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier

from sktorch import TorchClassifier

FOLDS = StratifiedKFold(3, shuffle=True, random_state=0)


def net(**parameters):
    defaults = {"lr": 0.02, "max_epochs": 10, "batch_size": 32, "random_state": 0}
    return TorchClassifier(**(defaults | parameters))


def flowers():
    """Iris, unscaled, with names for labels."""
    iris = load_iris()
    return iris.data, iris.target_names[iris.target]


def standard_flowers():
    X, y = flowers()
    return StandardScaler().fit_transform(X), y


def tumours():
    """Breast cancer, standardised, with names for labels; malignant is the first of the two."""
    data = load_breast_cancer()
    return StandardScaler().fit_transform(data.data), data.target_names[data.target]


def in_steps():
    return make_pipeline(StandardScaler(), net())


# Estimators that are made of classifiers: data, how it is built, and the accuracy that it must
# reach on rows it has not seen. Those that take n_jobs are built with 1 and with 2.
META_ESTIMATORS = {
    "Pipeline": (flowers, in_steps, 0.9),
    "ColumnTransformer": (
        flowers,
        lambda: make_pipeline(
            ColumnTransformer([("length", StandardScaler(), [0, 2])], remainder="passthrough"),
            net(),
        ),
        0.9,
    ),
    "GridSearchCV": (
        flowers,
        lambda n_jobs: GridSearchCV(
            in_steps(),
            {
                "torchclassifier__lr": [1e-5, 0.02],
                "torchclassifier__module__hidden": [(), (20,)],
            },
            cv=FOLDS,
            n_jobs=n_jobs,
        ),
        0.9,
    ),
    "RandomizedSearchCV": (
        standard_flowers,
        lambda n_jobs: RandomizedSearchCV(
            net(),
            {"lr": [1e-5, 0.02], "optimizer__weight_decay": [0.0, 0.1, 1.0]},
            n_iter=3,
            cv=FOLDS,
            random_state=0,
            n_jobs=n_jobs,
        ),
        0.9,
    ),
    "HalvingGridSearchCV": (
        standard_flowers,
        lambda n_jobs: HalvingGridSearchCV(
            net(),
            {"lr": [1e-5, 1e-4, 0.02], "module__activation": ["relu", "tanh"]},
            resource="max_epochs",
            min_resources=3,
            max_resources=12,
            factor=2,
            cv=FOLDS,
            random_state=0,
            n_jobs=n_jobs,
        ),
        0.9,
    ),
    "CalibratedClassifierCV": (
        standard_flowers,
        lambda n_jobs: CalibratedClassifierCV(net(), cv=FOLDS, n_jobs=n_jobs),
        0.85,
    ),
    "AdaBoostClassifier": (
        standard_flowers,
        lambda: AdaBoostClassifier(net(max_epochs=4), n_estimators=4, random_state=0),
        0.85,
    ),
    "BaggingClassifier": (
        standard_flowers,
        lambda n_jobs: BaggingClassifier(
            net(), n_estimators=4, max_samples=0.8, random_state=0, n_jobs=n_jobs
        ),
        0.85,
    ),
    "VotingClassifier": (
        standard_flowers,
        lambda n_jobs: VotingClassifier(
            [("net", net()), ("linear", LogisticRegression())], voting="soft", n_jobs=n_jobs
        ),
        0.9,
    ),
    "StackingClassifier": (
        standard_flowers,
        lambda n_jobs: StackingClassifier(
            [("wide", net()), ("linear", net(module__hidden=()))], cv=FOLDS, n_jobs=n_jobs
        ),
        0.9,
    ),
    "OneVsRestClassifier": (
        standard_flowers,
        lambda n_jobs: OneVsRestClassifier(net(), n_jobs=n_jobs),
        0.85,
    ),
    "OneVsOneClassifier": (
        standard_flowers,
        lambda n_jobs: OneVsOneClassifier(net(), n_jobs=n_jobs),
        0.85,
    ),
    "SelfTrainingClassifier": (
        lambda: (standard_flowers()[0], load_iris().target),
        lambda: _LabelsHidden(SelfTrainingClassifier(net())),
        0.85,
    ),
    "SequentialFeatureSelector": (
        standard_flowers,
        lambda n_jobs: make_pipeline(
            SequentialFeatureSelector(
                net(max_epochs=5), n_features_to_select=2, cv=FOLDS, n_jobs=n_jobs
            ),
            net(),
        ),
        0.85,
    ),
    "TunedThresholdClassifierCV": (
        tumours,
        lambda n_jobs: TunedThresholdClassifierCV(
            net(max_epochs=4), scoring="balanced_accuracy", cv=FOLDS, n_jobs=n_jobs
        ),
        0.92,
    ),
}


class _LabelsHidden:
    """Fits with two labels in three hidden, as semi-supervised learning finds them."""

    def __init__(self, estimator):
        self.estimator = estimator

    def fit(self, X, y):
        hidden = np.where(np.arange(len(y)) % 3 == 0, y, -1)
        self.estimator.fit(X, hidden)
        assert (self.estimator.labeled_iter_ > 0).any()  # Some labels were added.
        return self

    def predict(self, X):
        return self.estimator.predict(X)


@pytest.mark.parametrize("name", META_ESTIMATORS)
def test_meta_estimators(name):
    load, build, least = META_ESTIMATORS[name]
    X, y = load()
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    takes_jobs = build.__code__.co_argcount
    built = [build(n_jobs) for n_jobs in (1, 2)] if takes_jobs else [build()]
    predicted, probabilities = [], []
    for estimator in built:
        estimator.fit(X_train, y_train)
        predicted.append(estimator.predict(X_test))
        if hasattr(estimator, "predict_proba"):
            probabilities.append(estimator.predict_proba(X_test))

    assert set(predicted[0]) <= set(y)
    assert accuracy_score(y_test, predicted[0]) >= least
    for p in probabilities:
        assert p.shape == (len(X_test), len(set(y)))
        np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)
    np.testing.assert_array_equal(predicted[0], predicted[-1])
    if probabilities:
        # Bagging adds its members' probabilities per job: the last bit is the order's.
        np.testing.assert_allclose(probabilities[0], probabilities[-1], rtol=1e-14)
    if name.endswith("SearchCV"):
        one, two = (_without_times(estimator.cv_results_) for estimator in built)
        pd.testing.assert_frame_equal(one, two, check_exact=True)
        assert built[0].best_params_ == built[1].best_params_
        lr = next(value for key, value in built[0].best_params_.items() if key.endswith("lr"))
        assert lr == 0.02


def _without_times(results):
    return pd.DataFrame({k: v for k, v in results.items() if "_time" not in k})


def test_column_transformer_on_a_data_frame():
    # Measurements to scale and a category to encode: sparse rows where the encoder gives them.
    X, y = flowers()
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    frame["petal"] = np.where(frame.pop("c") > 3, "long", "short")
    for sparse_threshold in (0.0, 1.0):
        model = make_pipeline(
            ColumnTransformer(
                [
                    ("number", StandardScaler(), ["a", "b", "d"]),
                    ("text", OneHotEncoder(), ["petal"]),
                ],
                sparse_threshold=sparse_threshold,
            ),
            net(),
        )
        assert cross_val_score(model, frame, y, cv=FOLDS).min() >= 0.85


def multi_output(n_jobs, X, Y):
    return MultiOutputClassifier(net(), n_jobs=n_jobs).fit(X, Y).predict(X)


def chain(n_jobs, X, Y):
    return ClassifierChain(net(), order=[1, 0]).fit(X, Y).predict(X)


@pytest.mark.parametrize("use", [multi_output, chain], ids=lambda use: use.__name__)
def test_several_outputs(use):
    X, y = standard_flowers()
    Y = np.column_stack([y == "setosa", y == "virginica"]).astype(int)
    one, two = use(1, X, Y), use(2, X, Y)
    np.testing.assert_array_equal(one, two)
    assert (one[:, 0] == Y[:, 0]).mean() > 0.95
    assert (one[:, 1] == Y[:, 1]).mean() > 0.85


# Functions of model_selection and inspection; each returns what must be equal with n_jobs 1 and 2,
# and a score with the least it must be.
def with_cross_validate(n_jobs, X, y):
    result = cross_validate(
        net(),
        X,
        y,
        cv=FOLDS,
        scoring=["accuracy", "neg_log_loss", "roc_auc_ovr"],
        return_train_score=True,
        return_estimator=True,
        n_jobs=n_jobs,
    )
    assert all(estimator.n_epochs_ == 10 for estimator in result["estimator"])
    assert result["test_neg_log_loss"].min() > -0.5
    assert result["test_roc_auc_ovr"].min() > 0.95
    names = [name for name in result if name.startswith(("test", "train"))]
    return {name: result[name] for name in names}, result["test_accuracy"].min(), 0.9


def with_cross_val_predict(n_jobs, X, y):
    labels = cross_val_predict(net(), X, y, cv=FOLDS, n_jobs=n_jobs)
    return labels, accuracy_score(y, labels), 0.9


def with_cross_val_predict_proba(n_jobs, X, y):
    p = cross_val_predict(net(), X, y, cv=FOLDS, method="predict_proba", n_jobs=n_jobs)
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)
    return p, accuracy_score(y, np.unique(y)[p.argmax(1)]), 0.9


def with_learning_curve(n_jobs, X, y):
    sizes, train, test = learning_curve(net(), X, y, train_sizes=[20, 100], cv=FOLDS, n_jobs=n_jobs)
    np.testing.assert_array_equal(sizes, [20, 100])
    assert test[1].mean() > test[0].mean()
    return (train, test), test[1].min(), 0.9


def with_incremental_learning_curve(n_jobs, X, y):
    # One epoch of partial_fit over each increment.
    _, train, test = learning_curve(
        net(batch_size=8),
        X,
        y,
        train_sizes=[20, 60, 100],
        cv=FOLDS,
        exploit_incremental_learning=True,
        shuffle=True,
        random_state=0,
        n_jobs=n_jobs,
    )
    return (train, test), test[2].mean(), 0.8


def with_validation_curve(n_jobs, X, y):
    train, test = validation_curve(
        net(), X, y, param_name="lr", param_range=[1e-5, 0.02], cv=FOLDS, n_jobs=n_jobs
    )
    assert test[0].mean() < 0.8
    return (train, test), test[1].min(), 0.9


def with_permutation_importance(n_jobs, X, y):
    fitted = net().fit(X, y)
    importance = permutation_importance(fitted, X, y, n_repeats=4, random_state=0, n_jobs=n_jobs)
    mean = importance.importances_mean
    # A petal tells more of an iris than a sepal does.
    return importance.importances, mean[2:].min() - mean[:2].max(), 0.05


def with_frozen_estimator(n_jobs, X, y):
    fitted = net().fit(X[::2], y[::2])
    before = fitted.predict_proba(X)
    calibrated = CalibratedClassifierCV(FrozenEstimator(fitted), cv=FOLDS, n_jobs=n_jobs)
    calibrated.fit(X[1::2], y[1::2])
    np.testing.assert_array_equal(fitted.predict_proba(X), before)
    return calibrated.predict_proba(X), calibrated.score(X, y), 0.85


@pytest.mark.parametrize(
    "use",
    [
        with_cross_validate,
        with_cross_val_predict,
        with_cross_val_predict_proba,
        with_learning_curve,
        with_incremental_learning_curve,
        with_validation_curve,
        with_permutation_importance,
        with_frozen_estimator,
    ],
    ids=lambda use: use.__name__.removeprefix("with_"),
)
def test_functions(use):
    X, y = standard_flowers()
    one, score, least = use(1, X, y)
    two, _, _ = use(2, X, y)
    np.testing.assert_equal(one, two)
    assert score >= least


def test_a_tuned_threshold_is_worth_it():
    X, y = tumours()
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    # A net that sees few malignant tumours calls too few malignant.
    kept = (y_train == "benign") | (np.arange(len(y_train)) % 12 == 0)
    tuned = TunedThresholdClassifierCV(net(max_epochs=4), cv=FOLDS)
    tuned.fit(X_train[kept], y_train[kept])
    plain = net(max_epochs=4).fit(X_train[kept], y_train[kept])
    tuned_score, plain_score = (
        balanced_accuracy_score(y_test, model.predict(X_test)) for model in (tuned, plain)
    )
    assert tuned_score > plain_score
    assert list(tuned.classes_) == ["benign", "malignant"]


def half_spoilt(y):
    """Which labels are right, two in five, and labels of which the others are wrong."""
    counts = np.arange(len(y)) % 5 < 2
    return counts, np.where(counts, y, np.roll(y, 50))


@pytest.mark.parametrize(
    "build",
    [
        lambda: CalibratedClassifierCV(net(), cv=FOLDS),
        lambda: AdaBoostClassifier(net(), n_estimators=2, random_state=0),
        lambda: BaggingClassifier(net(), n_estimators=3, random_state=0),
        lambda: VotingClassifier([("net", net())], voting="soft"),
    ],
    ids=["calibration", "boosting", "bagging", "voting"],
)
def test_weights_reach_the_net(build):
    X, y = standard_flowers()
    counts, spoilt = half_spoilt(y)
    weight = np.where(counts, 1.0, 1e-6)
    assert build().fit(X, spoilt, sample_weight=weight).score(X, y) > 0.8
    assert build().fit(X, spoilt).score(X, y) < 0.6


def test_metadata_routing_of_weights():
    X, y = standard_flowers()
    counts, spoilt = half_spoilt(y)
    weight = counts.astype(float)
    with sklearn.config_context(enable_metadata_routing=True):
        model = make_pipeline(
            StandardScaler().set_fit_request(sample_weight=False),
            net(max_epochs=100)
            .set_fit_request(sample_weight=True)
            .set_score_request(sample_weight=True),
        )
        weighted = cross_validate(model, X, spoilt, cv=FOLDS, params={"sample_weight": weight})
    assert weighted["test_score"].min() > 0.8  # Spoilt rows count in neither fit nor score.
    assert cross_val_score(net(), X, spoilt, cv=FOLDS).max() < 0.7


# scikit-learn says that a fold has fewer classes than the whole; that is what is tested.
@pytest.mark.filterwarnings("ignore:Number of classes in training fold:RuntimeWarning")
def test_a_class_missing_from_a_fold():
    X, y = standard_flowers()
    folds = KFold(3)  # The rows are sorted: each fold lacks the class that it is tested on.
    p = cross_val_predict(net(), X, y, cv=folds, method="predict_proba")
    assert p.shape == (150, 3)
    np.testing.assert_array_equal(p[range(150), np.repeat([0, 1, 2], 50)], 0)
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)

    fitted = net().fit(X[50:], y[50:])
    assert list(fitted.classes_) == ["versicolor", "virginica"]
    assert fitted.predict_proba(X).shape == (150, 2)
    assert fitted.score(X[50:], y[50:]) > 0.85
