"""TorchRegressor: against a hand-written loop, whatever the shape, scale and weights of y."""

import math

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from sktorch import TorchRegressor
from sktorch.modules import MLP

SEED, EPOCHS, BATCH_SIZE = 3, 4, 64


def net(**parameters):
    defaults = {"lr": 0.01, "max_epochs": 5, "random_state": 0, "device": "cpu"}
    return TorchRegressor(**(defaults | parameters))


# A hand-written loop


def make_module(n_outputs):
    return nn.Sequential(nn.Linear(10, 16), nn.Tanh(), nn.Dropout(0.2), nn.Linear(16, n_outputs))


def gaussian(output, target):
    mean, raw = output.chunk(2, dim=1)
    return F.gaussian_nll_loss(mean, target, F.softplus(raw))


LOOPS = {  # name of the loss: its function for the loop, outputs a target, whether y is scaled
    "mse": (F.mse_loss, 1, True),
    "l1": (F.l1_loss, 1, True),
    "smooth_l1": (F.smooth_l1_loss, 1, True),
    "huber": (F.huber_loss, 1, True),
    "poisson_nll": (F.poisson_nll_loss, 1, False),
    "gaussian_nll": (gaussian, 2, True),
    "quantile": (lambda o, t: torch.maximum(0.5 * (t - o), 0.5 * (o - t)).mean(), 1, True),
}


def hand_written(loss, X, y, n_outputs, scaled):
    """The classic script: a scaler, a DataLoader and a loop; losses and outputs."""
    scaler = StandardScaler(with_mean=scaled, with_std=scaled).fit(y)
    target = torch.as_tensor(scaler.transform(y), dtype=torch.float32)
    torch.manual_seed(SEED)
    module = make_module(n_outputs)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.01, fused=True)
    loader = DataLoader(TensorDataset(X, target), batch_size=BATCH_SIZE, shuffle=True)
    losses = []
    for _ in range(EPOCHS):
        module.train()
        total = 0.0
        for batch, batch_target in loader:
            optimizer.zero_grad()
            value = loss(module(batch), batch_target)
            value.backward()
            optimizer.step()
            total += value.item() * len(batch)
        losses.append(total / len(X))
    module.eval()
    with torch.no_grad():
        return losses, module(X), scaler


@pytest.mark.parametrize("n_targets", [1, 2])
@pytest.mark.parametrize("name", LOOPS)
def test_the_hand_written_loop_gives_the_same_model(diabetes, name, n_targets):
    X, y = diabetes
    X = X.astype("float32")
    y = np.column_stack([y, y[::-1] / 7])[:, :n_targets]
    loss, width, scaled = LOOPS[name]
    losses, outputs, scaler = hand_written(loss, torch.from_numpy(X), y, width * n_targets, scaled)
    regressor = net(
        module=make_module,
        criterion=name,
        max_epochs=EPOCHS,
        batch_size=BATCH_SIZE,
        random_state=SEED,
    ).fit(X, y)

    assert regressor.loss_curve_ == losses
    mean = outputs[:, :n_targets]
    expected = scaler.inverse_transform(mean) if scaled else mean.exp()
    np.testing.assert_allclose(regressor.predict(X), expected, rtol=1e-6)
    if name == "gaussian_nll":
        _, deviation = regressor.predict(X, return_std=True)
        expected = F.softplus(outputs[:, n_targets:]).sqrt().numpy() * scaler.scale_
        np.testing.assert_allclose(deviation, expected, rtol=1e-6)


def test_the_loop_with_validation(diabetes):
    X, y = diabetes
    train, valid = train_test_split(np.arange(len(y)), test_size=0.1, random_state=SEED)
    # The mean of rows in another order differs in its last bits: a module without statistics.
    settings = {"early_stopping": True, "random_state": SEED, "max_epochs": 30, "module": MLP}
    held_out = net(**settings).fit(X, y)
    given = net(**settings)
    given.set_params(validation=(X[valid], y[valid])).fit(X[train], y[train])
    np.testing.assert_array_equal(held_out.predict(X), given.predict(X))
    best = max(held_out.validation_scores_)
    assert held_out.validation_scores_[held_out.best_epoch_ - 1] == best
    assert best == pytest.approx(r2_score(y[valid], held_out.predict(X[valid])))
    assert held_out.history_[-1, "valid_r2"] == held_out.validation_scores_[-1]


# Shapes and kinds of y

CONTAINERS = {
    "list": np.ndarray.tolist,
    "DataFrame": lambda y: pd.DataFrame(y),
    "DataFrame in another order": lambda y: pd.DataFrame(y, index=np.arange(len(y))[::-1]),
    "polars": lambda y: pl.DataFrame({str(i): column for i, column in enumerate(y.T)}),
    "tensor": torch.from_numpy,
    "tensor with gradients": lambda y: torch.from_numpy(y).requires_grad_(),
    "Fortran": np.asfortranarray,
    "object": lambda y: y.astype(object),
    "big-endian": lambda y: y.astype(">f8"),
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_containers_of_numbers(diabetes, kind):
    X, y = diabetes
    y = np.column_stack([y, -y])
    expected = net().fit(X, y).predict(X)
    np.testing.assert_array_equal(net().fit(X, CONTAINERS[kind](y)).predict(X), expected)


@pytest.mark.parametrize("criterion", ["mse", "gaussian_nll", "quantile", "poisson_nll"])
@pytest.mark.parametrize("shape", [(442,), (442, 1), (442, 3)])
def test_predictions_have_the_shape_of_y(diabetes, shape, criterion):
    X, y = diabetes
    y = np.broadcast_to(y.reshape(442, *(1 for _ in shape[1:])), shape)
    regressor = net(criterion=criterion, early_stopping=True).fit(X, y)
    assert regressor.predict(X).shape == shape
    assert np.isfinite(regressor.score(X, y))
    assert len(regressor.validation_scores_) == 5


def test_a_column_is_its_vector(diabetes):
    X, y = diabetes
    vector, column = net().fit(X, y), net().fit(X, y[:, None])
    np.testing.assert_array_equal(vector.predict(X), column.predict(X)[:, 0])
    assert vector.loss_curve_ == column.loss_curve_


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool", "float32", "float16"])
def test_dtypes_of_numbers(diabetes, dtype):
    X, y = diabetes
    y = (y // 2 if dtype != "bool" else y > 100).astype(dtype)
    expected = net().fit(X, y.astype("float64")).predict(X)
    predicted = net().fit(X, y).predict(X)
    assert predicted.dtype == np.float64  # the module's, which is that of X
    np.testing.assert_array_equal(predicted, expected)
    assert net().fit(X.astype("float32"), y).predict(X.astype("float32")).dtype == np.float32


def test_a_module_with_one_dimension_of_output(diabetes):
    X, y = diabetes
    flat = nn.Sequential(nn.Linear(10, 1, dtype=torch.float64), nn.Flatten(0))
    column = nn.Sequential(nn.Linear(10, 1, dtype=torch.float64))
    column.load_state_dict(flat.state_dict())
    for target in (y, y[:, None]):
        one = net(module=flat, early_stopping=True).fit(X, target)
        two = net(module=column, early_stopping=True).fit(X, target)
        np.testing.assert_allclose(one.predict(X), two.predict(X), rtol=1e-12)
        assert one.predict(X).shape == target.shape


# Scale


@pytest.mark.parametrize(("factor", "shift"), [(1e30, 0), (1e-30, 0), (1, 1e9), (5, 3)])
def test_the_scale_of_y_does_not_matter(diabetes, factor, shift):
    X, y = diabetes
    plain, other = net().fit(X, y), net().fit(X, factor * y + shift)
    np.testing.assert_allclose(plain.loss_curve_, other.loss_curve_, rtol=1e-4)
    np.testing.assert_allclose(factor * plain.predict(X) + shift, other.predict(X), rtol=1e-6)


@pytest.mark.parametrize("value", [0.0, 7.0, -1e12])
def test_a_constant_target(diabetes, value):
    X, y = diabetes
    regressor = net(max_epochs=60).fit(X, np.column_stack([np.full(len(y), value), y]))
    predicted = regressor.predict(X)
    np.testing.assert_allclose(predicted[:, 0], value, atol=max(0.3, 1e-9 * abs(value)))
    assert r2_score(y, predicted[:, 1]) > 0.4


def test_the_scale_is_that_of_the_training_rows(diabetes):
    X, y = diabetes
    far = np.append(y, [1e9] * 5)
    held_out = np.append(np.full(len(y), -1), [0] * 5)
    rows = np.arange(len(far)) % len(y)
    predicted = [
        net(validation=(X[:5], target)).fit(X, y).predict(X) for target in (y[:5], far[-5:])
    ]
    np.testing.assert_array_equal(*predicted)
    weighted = net(batch_size=1000).fit(X[rows], far, sample_weight=(held_out < 0).astype(float))
    plain = net(batch_size=1000).fit(X, y)
    np.testing.assert_allclose(weighted.predict(X), plain.predict(X), rtol=1e-9)


def test_targets_as_they_are(diabetes):
    X, y = diabetes
    unscaled = net(scale_target=False).fit(X, y)
    assert unscaled.loss_curve_[0] > 10_000  # squares of numbers about 150
    z = (y - y.mean()) / y.std()
    np.testing.assert_allclose(
        net(scale_target=False).fit(X, z).predict(X) * y.std() + y.mean(),
        net().fit(X, y).predict(X),
        rtol=1e-7,
    )


# Weights


def test_a_zero_weight_is_absence(diabetes):
    X, y = diabetes
    weight = np.random.RandomState(0).randint(0, 2, len(y)).astype(float)
    kept = weight > 0
    wild = np.where(kept, y, 1e6)
    weighted = net(early_stopping=True).fit(X, wild, sample_weight=weight)
    absent = net(early_stopping=True).fit(X[kept], y[kept], sample_weight=weight[kept])
    np.testing.assert_array_equal(weighted.predict(X), absent.predict(X))


@pytest.mark.parametrize("n_targets", [1, 2])
@pytest.mark.parametrize("criterion", [*LOOPS])
def test_a_weight_of_two_is_the_row_twice(diabetes, criterion, n_targets):
    X, y = diabetes[0], np.column_stack([diabetes[1]] * n_targets)
    repetitions = np.random.RandomState(0).randint(0, 4, len(y))
    settings = {"criterion": criterion, "batch_size": 2000, "tol": -math.inf}
    weighted = net(**settings).fit(X, y, sample_weight=repetitions)
    repeated = net(**settings).fit(np.repeat(X, repetitions, 0), np.repeat(y, repetitions, 0))
    np.testing.assert_allclose(weighted.loss_curve_, repeated.loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), rtol=1e-7)


def test_scores_are_weighted(diabetes):
    X, y = diabetes
    weight = np.arange(len(y)) % 3 + 1
    regressor = net().fit(X, y)
    expected = r2_score(y, regressor.predict(X), sample_weight=weight)
    assert regressor.score(X, y, sample_weight=weight) == expected
    valid = net(validation=(X, y, weight)).fit(X, y)
    expected = r2_score(y, valid.predict(X), sample_weight=weight)
    assert valid.validation_scores_[-1] == pytest.approx(expected)


# Training goes on


def test_partial_fit_keeps_the_first_scale(diabetes):
    X, y = diabetes
    parts = net().partial_fit(X[:200], y[:200])
    mean, scale = parts.codec_.mean, parts.codec_.scale
    np.testing.assert_allclose([mean[0], scale[0]], [y[:200].mean(), y[:200].std()])
    for _ in range(30):
        parts.partial_fit(X[200:], y[200:] + 100)
    assert parts.n_epochs_ == 31
    assert (parts.codec_.mean, parts.codec_.scale) == (mean, scale)
    assert parts.score(X[200:], y[200:] + 100) > 0.4


def test_epochs_of_partial_fit_are_those_of_fit(diabetes):
    X, y = diabetes
    parts = net()
    for _ in range(4):
        parts.partial_fit(X, y)
    whole = net(max_epochs=4).fit(X, y)
    np.testing.assert_array_equal(parts.predict(X), whole.predict(X))


def test_warm_start_goes_on(diabetes):
    X, y = diabetes
    warm = net(warm_start=True, max_epochs=2).fit(X, y).fit(X, y)
    whole = net(max_epochs=4).fit(X, y)
    np.testing.assert_array_equal(warm.predict(X), whole.predict(X))
    assert warm.set_params(warm_start=False).fit(X, y[:, None]).predict(X).shape == (442, 1)


@pytest.mark.parametrize("resume", ["partial_fit", "fit"])
def test_another_number_of_targets_is_refused(diabetes, resume):
    X, y = diabetes
    fitted = net(warm_start=True).fit(X, y)
    before = fitted.predict(X)
    with pytest.raises(ValueError, match=r"y has 2 targets, but 1 in the first fit"):
        getattr(fitted, resume)(X, np.column_stack([y, y]))
    np.testing.assert_array_equal(fitted.predict(X), before)
