"""The default module standardises its inputs by the training rows; others are left alone."""

import pickle

import joblib
import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.datasets import load_diabetes, load_digits, load_wine
from sklearn.model_selection import KFold, PredefinedSplit, cross_val_score, cross_validate
from torch import nn
from torch.utils.data import TensorDataset

from sktorch import TorchClassifier, TorchRegressor, load, save
from sktorch.modules import MLP, Ensemble, Standardize
from tests.data.samples import Items, ItemStream

X, y = load_wine(return_X_y=True)  # unscaled: from 0.1 to 1,680
SETTINGS = {"max_epochs": 2, "random_state": 0, "device": "cpu"}


def net(**parameters):
    return TorchClassifier(**(SETTINGS | parameters))


def statistics(fitted):
    layer = next(m for m in fitted.module_.modules() if isinstance(m, Standardize))
    return layer.mean.numpy(), layer.scale.numpy()


def assert_standardizes(fitted, rows, weights=None):
    """Assert that the buffers are of the rows; the scale by a factor that all columns share."""
    mean, scale = statistics(fitted)
    expected = np.average(rows, axis=0, weights=weights)
    deviation = np.sqrt(np.average((rows - expected) ** 2, axis=0, weights=weights))
    tolerance = 1e-9 if mean.dtype == np.float64 else 1e-5
    np.testing.assert_allclose(mean, expected, rtol=tolerance, atol=tolerance)
    factor = (X.shape[1] / 4) ** 0.5
    np.testing.assert_allclose(scale, deviation * factor, rtol=tolerance)


# Raw numbers


@pytest.mark.parametrize("module", [None, MLP])
def test_only_the_default_net_learns_a_raw_table(module):
    score = cross_val_score(TorchClassifier(module, random_state=0), X, y).mean()
    assert score > 0.95 if module is None else score < 0.8


def test_raw_numbers_of_a_regression():
    X, y = load_diabetes(return_X_y=True, scaled=False)
    model = TorchRegressor(max_epochs=40, random_state=0)
    assert cross_val_score(model, X, y, cv=KFold(5, shuffle=True, random_state=0)).mean() > 0.4


@pytest.mark.parametrize(
    ("factor", "offset"),
    [(1e6, 0), (1e-6, 0), (1, 1e6), (1e3, 2e9), (10.0 ** np.arange(-6, 7), 0)],
)
def test_offset_and_scale_change_nothing(factor, offset):
    plain = net(max_epochs=10).fit(X, y).predict_proba(X)
    other = X * factor + offset
    np.testing.assert_allclose(net(max_epochs=10).fit(other, y).predict_proba(other), plain, 1e-4)


def test_pictures_of_bytes():
    digits = load_digits()
    pictures = (digits.images / 16 * 255).astype(np.uint8)[:, None]
    model = net(max_epochs=100).fit(pictures[::2], digits.target[::2])
    assert model.score(pictures[1::2], digits.target[1::2]) > 0.93
    assert statistics(model)[0].shape == (1, 8, 8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_columns_that_are_new_or_far_out_in_prediction(dtype):
    train = np.column_stack([X, np.zeros(len(X)), np.full(len(X), 7.0)]).astype(dtype)
    model = net(max_epochs=20).fit(train, y)
    far = train.copy()
    far[:, -2:] = [1.0, 8.0]
    far[:, 0] = 1e30
    assert np.isfinite(model.decision_function(far)).all()
    assert np.abs(model.decision_function(far)).max() < 20


# The rows that count


def test_statistics_are_of_all_rows_and_weighted():
    weights = np.arange(len(y)) % 4
    assert_standardizes(net().fit(X, y), X)
    assert_standardizes(net().fit(X, y, sample_weight=weights), X, weights)
    assert_standardizes(net(class_weight={0: 5, 1: 1, 2: 0}).fit(X, y), X, np.array([5, 1, 0])[y])


def test_rows_held_out_do_not_count():
    fold = np.where(np.arange(len(y)) % 3, -1, 0)
    model = net(validation=PredefinedSplit(fold)).fit(X, y)
    assert_standardizes(model, X[fold < 0])
    assert_standardizes(net(validation=(X * 9, y)).fit(X, y), X)


@pytest.mark.parametrize("warm", [False, True])
def test_the_first_call_decides(warm):
    model = net(warm_start=warm)
    model = model.fit(X[::2], y[::2]) if warm else model.partial_fit(X[::2], y[::2], [0, 1, 2])
    (model.fit if warm else model.partial_fit)(X * 5, y)
    assert_standardizes(model, X[::2])
    assert_standardizes(net().fit(X[::2], y[::2]).fit(X * 5, y), X * 5)


KINDS = {
    "csr": (sparse.csr_array(X), y),
    "tensor": (torch.from_numpy(X), y),
    "float32": (X.astype("float32"), y),
    "dict of one": ({"table": X}, y),
    "dataset": (TensorDataset(torch.from_numpy(X), torch.from_numpy(y)), None),
    "dataset and targets": (Items([*X]), y),
    "stream": (ItemStream([*zip(X, y, strict=True)]), None),
    "stream and targets": (ItemStream([*X]), y),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_data(kind):
    assert_standardizes(net().fit(*KINDS[kind]), X)


# Modules of one's own


class Own(nn.Module):
    def __init__(self, n_features, n_outputs, input_mean, input_scale, dtype=None):
        super().__init__()
        self.given = input_mean, input_scale, dtype
        self.layers = nn.Sequential(
            Standardize(input_mean, input_scale), nn.Linear(n_features, n_outputs, dtype=dtype)
        )

    def forward(self, X):
        return self.layers(X)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_module_that_asks_is_given_statistics_in_its_dtype(dtype):
    mean, scale, given = net(module=Own).fit(X.astype(dtype), y).module_.given
    assert mean.dtype is scale.dtype is given
    np.testing.assert_allclose(mean, X.mean(0), rtol=1e-5)
    np.testing.assert_allclose(scale, X.std(0), rtol=1e-5)


def test_what_the_user_gives_is_not_filled_in():
    parameters = {"module__input_mean": torch.zeros(13), "module__input_scale": torch.ones(13)}
    module = net(module=Own, **{k: v.double() for k, v in parameters.items()}).fit(X, y).module_
    assert not module.given[0].any()
    one = net(module__input_mean=np.zeros(13)).fit(X, y)
    assert not statistics(one)[0].any()
    assert (statistics(one)[1] != 1).any()


@pytest.mark.parametrize("module", [MLP, MLP(13, 3, dtype=torch.float64)])
def test_other_modules_get_numbers_as_they_are(module):
    assert not [*net(module=module).fit(X, y).module_.buffers()]


# Copies of fitted nets


def saved(model, path):
    save(model, path)
    return load(path)


@pytest.mark.parametrize(
    "copied", [lambda model, path: pickle.loads(pickle.dumps(model)), saved], ids=["pickle", "save"]
)
def test_copies_predict_and_go_on_as_the_original(copied, tmp_path):
    model = net().fit(X, y)
    other = copied(model, tmp_path / "net.safetensors")
    for _ in range(2):
        np.testing.assert_array_equal(other.predict_proba(X), model.predict_proba(X))
        model.partial_fit(X, y)
        other.partial_fit(X, y)


def test_statistics_are_kept_once():
    assert not [name for name in vars(net().fit(X, y).net_) if "module__input" in name]


def test_the_module_alone_predicts_from_raw_numbers():
    model = net().fit(X, y)
    np.testing.assert_array_equal(
        model.to_module()(torch.from_numpy(X)).detach(), model.predict_proba(X)
    )


# As one program


def test_folds_have_statistics_of_their_own_in_one_stack():
    model = TorchClassifier(max_epochs=10, random_state=0, device="cpu")
    options = {"cv": KFold(5, shuffle=True, random_state=0), "return_estimator": True}
    alone = cross_validate(model, X, y, **options)
    with joblib.parallel_config("sktorch"):
        together = cross_validate(model, X, y, **options)
    for one, other in zip(alone["estimator"], together["estimator"], strict=True):
        for found, expected in zip(statistics(other), statistics(one), strict=True):
            np.testing.assert_array_equal(found, expected)
        np.testing.assert_allclose(other.predict_proba(X), one.predict_proba(X), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("inside", [False, True], ids=["alone", "in an ensemble"])
def test_a_module_without_dtype_gets_statistics_of_its_own(dtype, inside):
    def make_net(n_features, n_outputs, input_mean, input_scale):
        return nn.Sequential(Standardize(input_mean, input_scale), nn.Linear(n_features, n_outputs))

    module = {"module": Ensemble, "module__module": make_net} if inside else {"module": make_net}
    model = TorchClassifier(**module, max_epochs=2, random_state=0).fit(X.astype(dtype), y)
    assert all(tensor.dtype == torch.float32 for tensor in model.module_.state_dict().values())
