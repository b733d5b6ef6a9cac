"""Tensors stay in torch when scikit-learn dispatches on the array API."""

from functools import partial

import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.metrics import accuracy_score
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktorch import TorchClassifier

FOLDS = StratifiedKFold(3, shuffle=True, random_state=0)


def net(**parameters):
    defaults = {"lr": 0.02, "max_epochs": 10, "batch_size": 32, "random_state": 0}
    return TorchClassifier(**(defaults | parameters))


@pytest.fixture
def dispatch():
    with sklearn.config_context(array_api_dispatch=True):
        yield


def tensors(name):
    X, y = load_iris(return_X_y=True) if name == "iris" else load_breast_cancer(return_X_y=True)
    return torch.from_numpy(X), torch.from_numpy(y)


def in_torch_pipeline():
    return make_pipeline(StandardScaler(), net())


def tensor_cross_val_score(X, y):
    return cross_val_score(in_torch_pipeline(), X, y, cv=FOLDS)


def tensor_cross_val_predict(X, y):
    return cross_val_predict(in_torch_pipeline(), X, y, cv=FOLDS)


def tensor_cross_val_predict_proba(X, y):
    return cross_val_predict(in_torch_pipeline(), X, y, cv=FOLDS, method="predict_proba")


def tensor_methods(X, y, method):
    return getattr(in_torch_pipeline().fit(X, y), method)(X)


def tensor_score(X, y):
    return in_torch_pipeline().fit(X, y).score(X, y)


def tensor_early_stopping(X, y):
    model = make_pipeline(StandardScaler(), net(early_stopping=True))
    return model.fit(X, y).predict_proba(X)


def tensor_grid_search(X, y):
    search = GridSearchCV(
        in_torch_pipeline(), {"torchclassifier__lr": [1e-5, 0.02]}, cv=FOLDS, scoring="accuracy"
    )
    search.fit(X, y)
    assert search.best_params_ == {"torchclassifier__lr": 0.02}
    assert search.best_score_ > 0.9
    return search.predict(X)


@pytest.mark.parametrize("data", ["iris", "breast_cancer"])
@pytest.mark.parametrize(
    ("use", "stays_in_torch"),
    [
        (tensor_cross_val_score, False),
        (tensor_score, False),
        (tensor_cross_val_predict, True),
        (tensor_cross_val_predict_proba, True),
        (partial(tensor_methods, method="predict"), True),
        (partial(tensor_methods, method="predict_proba"), True),
        (partial(tensor_methods, method="predict_log_proba"), True),
        (partial(tensor_methods, method="decision_function"), True),
        (tensor_early_stopping, True),
        (tensor_grid_search, True),
    ],
    ids=lambda value: getattr(value, "__name__", str(getattr(value, "keywords", ""))),
)
def test_tensors_stay_in_torch_and_agree_with_numpy(dispatch, data, use, stays_in_torch):
    X, y = tensors(data)
    in_torch, in_numpy = use(X, y), use(X.numpy(), y.numpy())
    assert isinstance(in_torch, torch.Tensor) == stays_in_torch
    assert not isinstance(in_numpy, torch.Tensor)
    # The scaler's means differ in the last bits between the two libraries, and training spreads
    # that a little.
    np.testing.assert_allclose(np.asarray(in_torch), in_numpy, rtol=1e-4, atol=1e-6)


def test_tensors_give_arrays_without_dispatch():
    X, y = tensors("iris")
    fitted = net().fit(X, y)
    assert isinstance(fitted.predict(X), np.ndarray)
    np.testing.assert_array_equal(
        fitted.predict_proba(X), clone(fitted).fit(X.numpy(), y.numpy()).predict_proba(X.numpy())
    )


def test_tensors_with_names_for_labels(dispatch):
    X, y = tensors("iris")
    labels = load_iris().target_names[y.numpy()]
    fitted = in_torch_pipeline().fit(X, labels)
    assert isinstance(fitted.predict(X), np.ndarray)  # torch has no text.
    assert isinstance(fitted.predict_proba(X), torch.Tensor)
    assert accuracy_score(labels, fitted.predict(X)) > 0.9


def test_tensor_data_accepts_tensor_weights(dispatch):
    X, y = tensors("iris")
    weight = (torch.arange(150) % 3 > 0).to(X.dtype)
    spoilt = torch.where(weight == 0, 0, y)
    fitted = make_pipeline(StandardScaler(), net()).fit(
        X, spoilt, torchclassifier__sample_weight=weight
    )
    assert fitted.score(X, y) > 0.85
