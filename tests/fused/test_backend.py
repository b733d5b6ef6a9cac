"""Whatever runs its tasks by joblib, with and without the backend."""

import _thread
import itertools
import multiprocessing
import pickle
import re
import threading
import time
import warnings
import weakref
from contextlib import nullcontext
from functools import partial

import hypothesis
import joblib
import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
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
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, LRScheduler
from skorch.helper import SliceDict
from torch import nn

import sktorch.fused.backend
from sktorch import TorchClassifier, TorchRegressor
from sktorch.data import SliceableDataset
from sktorch.fused import progress, trial
from sktorch.fused.fuser import Fuser
from sktorch.modules import RecurrentNet
from tests.test_users import META_ESTIMATORS


@pytest.fixture(autouse=True)
def no_step_is_large(monkeypatch):
    """No test depends on the time that a step takes."""
    monkeypatch.setattr(trial, "MAX_ALONE_SECONDS", float("inf"))


def classifier(**parameters):
    return TorchClassifier(
        **{"max_epochs": 4, "batch_size": 32, "random_state": 0, "lr": 0.01} | parameters
    )


@pytest.fixture
def met(monkeypatch):
    """How many passes met each time."""
    numbers = []
    run = Fuser.run

    def counting(self, passes):
        numbers.append(len(passes))
        run(self, passes)

    monkeypatch.setattr(Fuser, "run", counting)
    return numbers


def both(function):
    """What a function returns without the backend and with it."""
    alone = function()
    with joblib.parallel_config("sktorch"):
        return alone, function()


def grid_search(X, y, **parameters):
    grid = {"lr": [0.001, 0.01], "optimizer__weight_decay": [0, 0.1]}
    search = GridSearchCV(classifier(**parameters), grid, cv=KFold(4)).fit(X, y)
    return search.cv_results_["mean_test_score"], search.predict_proba(X)


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
    "nested": lambda X, y: cross_validate(
        GridSearchCV(classifier(), {"lr": [0.01, 0.1]}, cv=3), X, y, cv=3
    )["test_score"],
}  # fmt: skip


@pytest.mark.parametrize("name", USES)
def test_results_are_those_without_the_backend(name, iris, met):
    alone, together = both(lambda: USES[name](*iris))
    parts = [alone], [together]
    for first, second in zip(*((alone, together) if type(alone) is tuple else parts), strict=True):
        np.testing.assert_allclose(second, first, rtol=1e-7, atol=1e-9)
    assert max(met) > 1


def test_every_fit_of_a_search_meets_the_others(iris, met):
    search = GridSearchCV(classifier(), {"lr": [0.001, 0.01]}, cv=5, refit=False)
    with joblib.parallel_config("sktorch"):
        search.fit(*iris)
    assert met == [10] * 4


def test_n_jobs_is_how_many_fits_run_together(iris, met):
    search = GridSearchCV(classifier(), {"lr": [0.001, 0.01]}, cv=5, refit=False)
    with joblib.parallel_config("sktorch", n_jobs=4):
        search.fit(*iris)
    assert max(met) == 4
    assert sum(met) == 40
    with pytest.raises(ValueError, match="n_jobs=0"), joblib.parallel_config("sktorch", n_jobs=0):
        search.fit(*iris)


class Taking(TransformerMixin, BaseEstimator):
    """Takes memory for as long as it lives."""

    taken, lock = [], threading.Lock()

    def __init__(self, size):
        self.size = size

    def fit(self, X, y=None):
        with self.lock:
            self.taken.append(self.size)
        weakref.finalize(self, self.taken.remove, self.size)
        return self

    def transform(self, X):
        return X


def free_of_100(with_unused=False):
    return {"host": 100 - sum(Taking.taken)}


def limited(free_memory=free_of_100, **settings):
    """The backend with a place of 100 bytes, where one task begins at a time."""
    settings = {"inner_max_num_threads": 1, "free_memory": free_memory} | settings
    return joblib.parallel_config("sktorch", **settings)


@pytest.mark.parametrize(
    ("size", "settings", "width"),
    [
        (0, {}, 12),
        (5, {}, 10),
        (17, {}, 2),
        (25, {}, 2),
        (26, {}, 1),
        (200, {}, 1),
        (5, {"n_jobs": -250}, 7),
        (25, {"n_jobs": 6}, 6),  # whoever says how many has them
    ],
)
def test_as_many_run_side_by_side_as_fit_in_half_of_the_memory(iris, met, size, settings, width):
    model = make_pipeline(Taking(size), classifier(max_epochs=3))
    alone = cross_val_score(model, *iris, cv=KFold(12))
    Taking.taken.clear()
    with limited(**settings):
        scores = cross_val_score(model, *iris, cv=KFold(12))
    np.testing.assert_allclose(scores, alone)
    assert max(met) == width
    assert sum(met) == 36
    assert Taking.taken == []


def test_tasks_that_were_held_back_begin_as_soon_as_there_is_memory(iris, met):
    looks = itertools.count()

    def free_memory(with_unused=False):  # Another process ends after the first epoch.
        return {"host": 100 if next(looks) == 0 or met else 10}

    with limited(free_memory):
        cross_val_score(classifier(max_epochs=3), *iris, cv=KFold(12))
    assert met == [1] * 3 + [11] * 3


def test_no_more_than_there_are_cores_begin_before_it_is_measured_what_they_take(iris, met):
    model = make_pipeline(Taking(30), classifier(max_epochs=3))
    with limited(inner_max_num_threads=2):
        cross_val_score(model, *iris, cv=KFold(12))
    assert max(met) <= 1 + 2
    assert sum(met) == 36


def nothing_left():
    """Tells of memory before the first task only."""
    looks = itertools.count()
    return lambda with_unused=False: {"host": 0 if next(looks) else 100}


def test_nested_calls_without_memory_go_on(iris):
    alone = USES["nested"](*iris)
    with limited(lambda with_unused=False: {"host": 0}):
        np.testing.assert_allclose(USES["nested"](*iris), alone)


def test_an_error_of_the_measure_leaves_nobody_waiting(iris):
    looks = itertools.count()

    def failing(with_unused=False):
        if next(looks):
            raise RuntimeError("the device has failed")
        return {"host": 100}

    with limited(failing):
        assert len(cross_val_score(classifier(), *iris, cv=3)) == 3


@pytest.mark.parametrize(
    ("settings", "most", "n_workers"),
    [({}, None, joblib.cpu_count()), ({}, "1", 1), ({"inner_max_num_threads": 3}, "1", 3)],
)
def test_number_of_threads_that_compute(iris, monkeypatch, settings, most, n_workers):
    numbers = []
    run = Fuser.run

    def noting(self, passes):
        numbers.append(self.n_workers)
        run(self, passes)

    monkeypatch.setattr(Fuser, "run", noting)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    if most is not None:
        monkeypatch.setenv("LOKY_MAX_CPU_COUNT", most)
    with joblib.parallel_config("sktorch", **settings):
        cross_val_score(classifier(), *iris, cv=3)
    assert set(numbers) == {n_workers}


def test_no_threads_that_compute(iris):
    with (
        joblib.parallel_config("sktorch", inner_max_num_threads=0),
        pytest.raises(ValueError, match="inner_max_num_threads=0: set at least 1"),
    ):
        cross_val_score(classifier(), *iris)


class Inner(Callback):
    """Fits models of its own."""

    def on_epoch_end(self, net, X=None, **kwargs):
        data = kwargs["dataset_train"]
        X, y = np.stack([data[i][0] for i in range(60)]), [data[i][1] for i in range(60)]
        model = classifier(max_epochs=1)
        self.scores_ = cross_validate(model.fit(X, y), X, y, cv=2)["test_score"]


def test_fits_and_searches_of_a_callback_do_not_deadlock(iris):
    def scores():
        return cross_validate(classifier(callbacks=[Inner()], max_epochs=2), *iris)["test_score"]

    np.testing.assert_array_equal(*both(scores))


def dropout_scores(X, y):
    model = classifier(module__dropout=0.5)
    grid = {"lr": [0.001, 0.01], "callbacks": [None, [Watching()]]}
    return GridSearchCV(model, grid, cv=4, refit=False).fit(X, y).cv_results_["mean_test_score"]


def test_masks_of_dropout_come_again(iris, monkeypatch):
    monkeypatch.setattr(trial, "MAX_TIME_RATIO", float("inf"))
    with joblib.parallel_config("sktorch"):
        np.testing.assert_array_equal(dropout_scores(*iris), dropout_scores(*iris))


def test_models_trained_together_pickle_as_small_as_those_alone(iris):
    def fitted():
        return cross_validate(classifier(), *iris, cv=6, return_estimator=True)["estimator"]

    alone, together = ([len(pickle.dumps(m)) for m in models] for models in both(fitted))
    assert max(together) < 1.02 * max(alone)


def test_users_own_threads_search_at_once(iris):
    def search(results):
        with joblib.parallel_config("sktorch"):
            results.append(grid_search(*iris)[0])

    results = []
    threads = [threading.Thread(target=search, args=(results,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_allclose(results, [grid_search(*iris)[0]] * 2, atol=1e-9)


def test_a_callback_that_interrupts_stops_its_fit_alone(iris):
    grid = {"callbacks": [None, [Raising(KeyboardInterrupt())]]}

    def epochs():
        search = GridSearchCV(classifier(), grid, cv=3, scoring=n_epochs, refit=False)
        return search.fit(*iris).cv_results_["mean_test_score"]

    alone, together = both(epochs)
    np.testing.assert_array_equal(alone, [4, 2])
    np.testing.assert_array_equal(together, alone)


def n_epochs(model, X, y):
    return model.n_epochs_


@pytest.mark.parametrize("name", ["bfloat16", "dict", "sparse", "groups", "amsgrad"])
def test_what_stacks(iris, name, monkeypatch, capsys):
    monkeypatch.setattr(trial, "MAX_TIME_RATIO", float("inf"))
    X, y = iris
    inputs = {"dict": SliceDict(left=X[:, :2], right=X[:, 2:]), "sparse": sparse.csr_array(X)}
    parameters = {
        "bfloat16": {"precision": "bfloat16"},
        "dict": {"module": TwoInputs},
        "groups": {"optimizer__param_groups": [("*.bias", {"weight_decay": 0, "lr": 0.1})]},
        "amsgrad": {"optimizer__amsgrad": True, "optimizer__foreach": True},
    }
    model = classifier(**parameters.get(name, {}))

    def probabilities():
        data = inputs.get(name, X)
        return cross_val_predict(model, data, y, method="predict_proba", verbose=1)

    alone, together = both(probabilities)
    atol = {"bfloat16": 0.02, "dict": 1e-5}.get(name, 1e-9)
    np.testing.assert_allclose(together, alone, atol=atol)
    assert "train together" in capsys.readouterr().out


class TwoInputs(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.left, self.right = nn.Linear(2, 5), nn.Linear(2, n_outputs)
        self.head = nn.Linear(5, n_outputs)

    def forward(self, left, right):
        return self.head(self.left(left).relu()) + self.right(right)


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


def test_ragged_sequences_and_datasets_train_alone(iris, met):
    X, y = iris
    rows = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(y))
    ragged = [row[: 2 + number % 3, None].astype("float32") for number, row in enumerate(X)]
    recurrent = classifier(module=RecurrentNet, max_epochs=2)
    for model, data in ((classifier(), SliceableDataset(rows)), (recurrent, ragged)):
        alone, together = both(lambda m=model, d=data: cross_val_score(m, d, y, cv=3))
        np.testing.assert_array_equal(together, alone)
    assert met == []


TAKING_JOBS = [name for name, entry in META_ESTIMATORS.items() if entry[1].__code__.co_argcount]


@pytest.mark.parametrize("name", TAKING_JOBS)
def test_meta_estimators_of_users(name):
    load, build, _ = META_ESTIMATORS[name]
    X, y = load()
    predicted = [model.predict(X) for model in both(lambda: build(None).fit(X, y))]
    np.testing.assert_array_equal(*predicted)


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


class Freezing(Callback):
    """Trains the first layer for two epochs only."""

    def on_epoch_begin(self, net, **kwargs):
        net.module_.get_submodule("1").requires_grad_(len(net.history) <= 2)


def test_what_a_callback_changes_between_epochs_holds(iris):
    alone, together = both(lambda: grid_search(*iris, callbacks=[Freezing()], max_epochs=5))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


class Annealing(nn.Linear):
    """Its own way into train mode lowers a temperature."""

    temperature = 1.0

    def train(self, mode=True):
        self.temperature = self.temperature * 0.8 if mode else self.temperature
        return super().train(mode)

    def forward(self, X):
        return super().forward(X) / self.temperature


def freezing_scorer(estimator, X, y):
    estimator.net_.module_.get_submodule("1").requires_grad_(False)
    return 0.0


class FreezingMonitor:
    """A callback of scikit-learn's that is handed the net."""

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        if context.task_name == "epoch":
            fitted_estimator.net_.module_.get_submodule("1").requires_grad_(False)

    def teardown(self, estimator, context):
        pass


@pytest.mark.parametrize(
    "parameters",
    [{"module": partial(Annealing, 4, 3)}, {"scoring": {"none": freezing_scorer}}],
)
def test_what_others_change_between_epochs_holds(iris, parameters):
    alone, together = both(lambda: grid_search(*iris, max_epochs=5, **parameters))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_what_callbacks_of_scikit_learn_change_between_epochs_holds(iris):
    def fit():
        model = classifier(max_epochs=5).set_callbacks(FreezingMonitor())
        return [cross_val_predict(model, *iris, method="predict_proba", cv=4)]

    alone, together = both(fit)
    np.testing.assert_allclose(alone[0], together[0], atol=1e-5)
    assert not np.allclose(
        alone[0],
        cross_val_predict(classifier(max_epochs=5), *iris, method="predict_proba", cv=4),
        atol=1e-5,
    )


def threads_here_and_in_a_new_thread():
    numbers = [torch.get_num_threads()]
    thread = threading.Thread(target=lambda: numbers.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return numbers


@pytest.mark.parametrize("settings", [{}, {"pre_dispatch": "2 * x"}])
def test_numbers_of_threads_are_as_before(iris, settings):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with joblib.parallel_config("sktorch"):
            search = GridSearchCV(classifier(), {"lr": [0.1, 0.01]}, cv=3, **settings)
            with pytest.raises(ValueError, match="arithmetic") if settings else nullcontext():
                search.fit(*iris)
        assert threads_here_and_in_a_new_thread() == [3, 3]
    finally:
        torch.set_num_threads(before)


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


class Diverging(nn.Linear):
    def __init__(self, n_features, n_outputs, dtype, scale=1.0):
        super().__init__(n_features, n_outputs, dtype=dtype)
        with torch.no_grad():
            self.weight.mul_(scale)


def test_a_fit_that_fails_gets_its_error_score_and_the_others_go_on(iris):
    grid = {"module__scale": [1.0, float("nan")]}
    search = GridSearchCV(classifier(module=Diverging), grid, cv=3, error_score=-1.0, refit=False)
    with (
        joblib.parallel_config("sktorch"),
        pytest.warns(match="3 fits failed out of a total of 6"),
    ):
        search.fit(*iris)
    scores = search.cv_results_["mean_test_score"]
    assert scores[0] > 0
    assert scores[1] == -1


class Raising(Callback):
    def __init__(self, error):
        self.error = error

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            raise self.error


def n_task_threads():
    return sum("sktorch task" in thread.name for thread in threading.enumerate())


@pytest.mark.parametrize("error", [ValueError("broken"), SystemExit("ended")])
def test_an_error_ends_all_tasks(iris, error):
    grid = {"callbacks": [None, [Raising(error)]]}
    search = GridSearchCV(classifier(), grid, cv=3, error_score="raise")
    with joblib.parallel_config("sktorch"), pytest.raises(type(error), match=str(error)):
        search.fit(*iris)
    assert n_task_threads() == 0
    with joblib.parallel_config("sktorch"):  # and nothing is left behind
        assert len(cross_validate(classifier(), *iris)["test_score"]) == 5


class Pressing(Callback):
    """Presses Ctrl-C, once."""

    pressed = threading.Event()

    def on_epoch_end(self, net, **kwargs):
        if not self.pressed.is_set():
            self.pressed.set()
            _thread.interrupt_main()


@pytest.fixture
def pressing():
    Pressing.pressed.clear()
    return Pressing()


def test_an_interrupt_ends_the_search(iris, pressing):
    grid = {"callbacks": [None, [pressing]]}
    search = GridSearchCV(classifier(max_epochs=10_000, tol=-1), grid, cv=3, refit=False)
    with joblib.parallel_config("sktorch"), pytest.raises(KeyboardInterrupt):
        search.fit(*iris)
    assert n_task_threads() == 0


def test_an_interrupt_ends_a_search_whose_tasks_are_held_back(iris, pressing):
    model = make_pipeline(Taking(0), classifier(callbacks=[pressing], max_epochs=10_000, tol=-1))
    with limited(nothing_left()), pytest.raises(KeyboardInterrupt):
        cross_val_score(model, *iris, cv=KFold(12))
    assert n_task_threads() == 0


def test_an_error_in_a_nested_search_ends_its_own_tasks(iris):
    failing = {"callbacks": [None, [Raising(ValueError("broken"))]]}
    inner = GridSearchCV(classifier(), failing, cv=2, error_score="raise")
    outer = GridSearchCV(
        Pipeline([("model", classifier())]), {"model": [inner, classifier()]}, cv=3, refit=False
    )
    with joblib.parallel_config("sktorch"), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        outer.fit(*iris)
    assert any("3 fits failed out of a total of 6" in str(w.message) for w in caught)
    failed, others = outer.cv_results_["mean_test_score"]
    assert np.isnan(failed)
    assert others > 0


def test_a_time_out_leaves_no_thread_waiting(iris):
    started = threading.Event()

    def task(sleep):
        if sleep:
            started.set()
            time.sleep(0.5)
        else:
            classifier().fit(*iris)

    with joblib.parallel_config("sktorch"), pytest.raises(multiprocessing.TimeoutError):
        joblib.Parallel(timeout=0.1)(joblib.delayed(task)(sleep) for sleep in (True, False))
    assert started.is_set()
    assert n_task_threads() == 0


class InThreads(ClassifierMixin, BaseEstimator):
    """Fits in threads of its own."""

    def fit(self, X, y):
        self.models_ = [classifier(random_state=seed) for seed in range(2)]
        threads = [threading.Thread(target=model.fit, args=(X, y)) for model in self.models_]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.classes_ = self.models_[0].classes_
        return self

    def predict(self, X):
        return self.models_[0].predict(X)


def test_threads_of_the_users_own(iris):
    alone, together = both(lambda: cross_validate(InThreads(), *iris)["test_score"])
    np.testing.assert_array_equal(together, alone)


class Watching(Callback):
    """Listens to batches, so that its fit trains alone."""

    def on_batch_end(self, net, **kwargs):
        self.n_batches_ = getattr(self, "n_batches_", 0) + 1


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param({"callbacks": [Watching()]}, id="callbacks"),
        {"gradient_accumulation": 2},
        {"iterator_train__sampler": None, "iterator_train__num_workers": 0},
        {"optimizer": "lbfgs", "optimizer__max_iter": 3},
        {"precision": "float16"},
        {"module__dropout": 0.5, "batch_size": 1000},
    ],
    ids=str,
)
def test_what_does_not_stack_trains_alone_beside_the_others(iris, parameters):
    def scores():
        return cross_validate(classifier(**parameters), *iris, cv=3)["test_score"]

    alone, together = both(scores)
    np.testing.assert_allclose(together, alone, atol=0.1 if "module__dropout" in parameters else 0)


def test_verbose_tells_how_each_kind_trains(iris, capsys):
    search = GridSearchCV(classifier(), {"lr": [0.001, 0.01]}, cv=3, refit=False)
    with joblib.parallel_config("sktorch", verbose=1):
        search.fit(*iris)
    first, *_, last = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"sktorch: 6 × MLP of 803 parameters: train together, \d in a stack", first)
    assert re.fullmatch(
        r"sktorch: 6 models, 24 epochs of all models trained, lowest training loss 0\.\d+, "
        r"best score 0\.\d+, 6 tasks done",
        last,
    )


def test_progress_every_few_seconds(iris, capsys, monkeypatch):
    monkeypatch.setattr(progress, "INTERVAL", 0)
    ensemble = BaggingClassifier(classifier(optimizer="lbfgs"), 2, random_state=0, verbose=1)
    with joblib.parallel_config("sktorch"):
        ensemble.fit(*iris)
    lines = capsys.readouterr().out.splitlines()
    assert any("2 × MLP of 803 parameters: train alone: LBFGS is not" in line for line in lines)
    assert [line for line in lines if "score" in line] == []  # Bagging tells of none.
    assert sum("epochs of all models trained" in line for line in lines) >= 4


def test_silent_by_default(iris, capsys):
    with joblib.parallel_config("sktorch"):
        cross_validate(classifier(), *iris)
    assert capsys.readouterr().out == ""


def test_the_backend_is_registered():
    with joblib.parallel_config("sktorch"):
        assert joblib.effective_n_jobs() == sktorch.fused.backend.MAX_TASKS
        assert joblib.effective_n_jobs(-2) == sktorch.fused.backend.MAX_TASKS - 1
