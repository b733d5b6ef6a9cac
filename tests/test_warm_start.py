"""What training that goes on takes over, and what it keeps and warns of."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, LRScheduler
from torch import nn

from sktorch import TorchClassifier, TorchRegressor
from sktorch.modules import MLP

SETTINGS = {"max_epochs": 2, "lr": 0.01, "random_state": 0, "device": "cpu", "warm_start": True}
IRIS_WEIGHTS = torch.tensor([1.0, 2.0, 3.0])

GO_ON = {
    "fit": lambda estimator, X, y: estimator.fit(X, y),
    "partial_fit": lambda estimator, X, y: estimator.partial_fit(X, y),
}


def classifier(**parameters):
    return TorchClassifier(**(SETTINGS | parameters))


# What is given first, and what then
KEPT = [
    ({}, {"module": nn.Linear(4, 3)}),
    ({"module": MLP}, {"module": None}),
    ({}, {"criterion": "multi_margin"}),
    ({}, {"initializer": "orthogonal"}),
    ({"initializer": {"*.bias": "zeros"}}, {"initializer": {"*.bias": "ones"}}),
    ({}, {"callbacks": [Callback()]}),
    ({}, {"device": "auto"}),
    ({}, {"module__hidden": (3,)}),
    ({"module__hidden": (7,)}, {"module__hidden": (7, 7)}),
    ({}, {"criterion__label_smoothing": 0.1}),
    ({"criterion__weight": IRIS_WEIGHTS}, {"criterion__weight": 2 * IRIS_WEIGHTS}),
    ({"criterion__weight": IRIS_WEIGHTS}, {"criterion__weight": None}),
    ({"criterion__weight": IRIS_WEIGHTS}, {"criterion__weight": torch.ones(2)}),
    (
        {"callbacks": [("halved", LRScheduler("StepLR", step_size=1))]},
        {"callbacks__halved__step_size": 2},
    ),
]


@pytest.mark.parametrize("method", GO_ON)
@pytest.mark.parametrize(("first", "then"), KEPT)
def test_what_the_net_is_made_of_is_kept_and_said(iris, first, then, method):
    fitted, same = classifier(**first).fit(*iris), classifier(**first).fit(*iris)
    module = fitted.module_
    fitted.set_params(**then)
    (name,) = then
    with pytest.warns(UserWarning, match=f"{name} changed since the first fit") as warned:
        GO_ON[method](fitted, *iris)
    assert [warning.filename for warning in warned] == [__file__]
    assert fitted.module_ is module
    GO_ON[method](same, *iris)
    assert fitted.loss_curve_ == same.loss_curve_


def test_all_that_changed_is_named_at_once(iris):
    fitted = classifier().fit(*iris)
    fitted.set_params(module__hidden=(3,), criterion="multi_margin", lr=0.1)
    with pytest.warns(UserWarning, match=r"^criterion, module__hidden changed since.*warm_start=F"):
        fitted.fit(*iris)
    fitted.set_params(warm_start=False).fit(*iris)
    assert fitted.module_[1].out_features == 3
    fitted.set_params(warm_start=True).fit(*iris)  # It is made of what is set.


def test_scaling_of_the_target_is_kept_and_said(iris):
    X, y = iris
    fitted = TorchRegressor(**SETTINGS).fit(X, y).set_params(scale_target=False)
    with pytest.warns(UserWarning, match="scale_target changed since the first fit"):
        fitted.fit(X, y)


# Nothing here is about what the net is made of.
TAKEN_OVER = [
    {"lr": 0.1},
    {"max_epochs": 1},
    {"batch_size": 7},
    {"optimizer": "sgd"},
    {"optimizer__weight_decay": 0.1},
    {"lr_schedule": "cosine"},
    {"early_stopping": True},
    {"scoring": "accuracy"},
    {"augment": torch.clone},
    {"gradient_clip": 1.0},
    {"precision": "bfloat16"},
    {"class_weight": {0: 2}},
    {"iterator_train__drop_last": True},
    {"random_state": 3},
]


@pytest.mark.parametrize("method", GO_ON)
@pytest.mark.parametrize("then", TAKEN_OVER)
def test_what_training_goes_by_may_change(iris, then, method):
    fitted = classifier().fit(*iris)
    n_epochs = fitted.n_epochs_
    GO_ON[method](fitted.set_params(**then), *iris)
    assert fitted.n_epochs_ > n_epochs


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
def test_copies_go_on_without_a_warning(iris, duplicate):
    parts = {
        "module": nn.Linear(4, 3).double(),
        "criterion__weight": IRIS_WEIGHTS,
        "initializer": {"weight": nn.init.ones_},
        "callbacks": [("quiet", Callback())],
    }
    fitted = classifier(**parts).fit(*iris)
    copied = duplicate(fitted).fit(*iris)
    assert copied.loss_curve_ == fitted.fit(*iris).loss_curve_
    assert copied.partial_fit(*iris).n_epochs_ == 5


def test_equal_values_are_no_change(iris):
    fitted = classifier(module__hidden=(5,), criterion__weight=IRIS_WEIGHTS).fit(*iris)
    fitted.set_params(module__hidden=(5,), criterion__weight=IRIS_WEIGHTS.clone()).fit(*iris)
    assert fitted.n_epochs_ == 4


def test_a_warning_inside_a_pipeline(iris):
    X, y = iris
    pipeline = make_pipeline(StandardScaler(), classifier()).fit(X, y)
    pipeline.set_params(torchclassifier__module__hidden=(3,))
    with pytest.warns(UserWarning, match="module__hidden changed"):
        pipeline.fit(X, y)
    assert np.mean(pipeline.predict(X) == y) == pipeline.score(X, y)
