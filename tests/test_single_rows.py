"""One row left over, one row to predict, one row held out."""

import joblib
import numpy as np
import pytest
import torch
from sklearn.model_selection import KFold, cross_val_score
from torch import nn
from torch.utils.data import IterableDataset, TensorDataset

from sktorch import TorchClassifier, TorchRegressor
from sktorch.modules import ConvNet

RNG = np.random.default_rng(0)


def table(n):
    return RNG.random((n, 4), dtype=np.float32), np.arange(n) % 2


class Normalised(nn.Sequential):
    def __init__(self, n_features, n_outputs):
        layers = nn.Linear(n_features, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, n_outputs)
        super().__init__(*layers)


class Functional(nn.Module):
    """Batch statistics without a layer that a look at the module would find."""

    def __init__(self, n_features, n_outputs):
        super().__init__()
        self.output = nn.Linear(n_features, n_outputs)

    def forward(self, X):
        X = nn.functional.batch_norm(X, None, None, training=True) if self.training else X
        return self.output(X)


NEEDING_TWO = {
    "ready MLP": {"module__normalization": "batch"},
    "own module": {"module": Normalised},
    "function": {"module": Functional},
}
NEEDING_ONE = {
    "MLP": {},
    "layer norm": {"module__normalization": "layer"},
}
needing_two = pytest.mark.parametrize("settings", NEEDING_TWO.values(), ids=NEEDING_TWO.keys())


def net(kind=TorchClassifier, **parameters):
    return kind(**{"max_epochs": 2, "random_state": 0, "tol": -np.inf} | parameters)


def batch_sizes(estimator):
    return [batch["train_batch_size"] for batch in estimator.history_[-1]["batches"]]


@needing_two
@pytest.mark.parametrize(("n", "size"), [(129, 128), (33, 32), (33, 16), (3, 2), (257, 128)])
@pytest.mark.parametrize("kind", [TorchClassifier, TorchRegressor])
def test_a_row_left_over_joins_the_batch_before_it(settings, n, size, kind):
    fitted = net(kind, batch_size=size, **settings).fit(*table(n))
    assert batch_sizes(fitted) == [size] * (n // size - 1) + [size + 1]
    assert np.isfinite(fitted.predict(table(n)[0])).all()


@needing_two
@pytest.mark.parametrize(("n", "size"), [(130, 128), (128, 128), (20, 32), (34, 16)])
def test_batches_of_two_and_more_stay_as_they_are(settings, n, size):
    fitted = net(batch_size=size, **settings).fit(*table(n))
    expected = [size] * (n // size) + [n % size] * (n % size > 0)
    assert batch_sizes(fitted) == expected


@pytest.mark.parametrize("settings", NEEDING_ONE.values(), ids=NEEDING_ONE.keys())
def test_a_module_that_takes_one_row_gets_it_alone(settings):
    assert batch_sizes(net(batch_size=32, **settings).fit(*table(33))) == [32, 1]


@needing_two
def test_a_batch_size_of_one_is_refused_with_what_to_change(settings):
    with pytest.raises(ValueError, match="batch_size"):
        net(batch_size=1, **settings).fit(*table(10))


@needing_two
@pytest.mark.parametrize("call", ["fit", "partial_fit"])
def test_a_table_of_one_row_is_refused_with_what_to_change(settings, call):
    X, y = table(1)
    fresh = net(TorchRegressor, **settings)
    with pytest.raises(ValueError, match=r"batch_size|n_samples=1|1 row|one row"):
        getattr(fresh, call)(X, y)


@needing_two
def test_rows_left_over_of_folds_do_not_fail_a_cross_validation(settings):
    X, y = table(50)  # folds of 33, 33 and 34 rows
    scores = cross_val_score(net(batch_size=16, **settings), X, y, cv=KFold(3), error_score="raise")
    assert np.isfinite(scores).all()
    with joblib.parallel_config("sktorch"):
        fused = cross_val_score(
            net(batch_size=16, **settings), X, y, cv=KFold(3), error_score="raise"
        )
    np.testing.assert_allclose(fused, scores)


@needing_two
def test_drop_last_is_obeyed(settings):
    fitted = net(batch_size=32, iterator_train__drop_last=True, **settings).fit(*table(33))
    assert batch_sizes(fitted) == [32]


class Flow(IterableDataset):
    def __init__(self, X, y):
        self.rows = X, y

    def __iter__(self):
        return ((x, int(y)) for x, y in zip(*self.rows, strict=True))


WAYS = {
    "dataset": (lambda X, y: (TensorDataset(*map(torch.from_numpy, (X, y))),), {}),
    "stream": (lambda X, y: (Flow(X, y),), {}),
    "loader of an array": (lambda X, y: (X, y), {"iterator_train__num_workers": 0}),
    "at the source": (lambda X, y: (X, y), {"data_placement": "source"}),
    "weights": (lambda X, y: (X, y, np.ones(len(y))), {}),
    "accumulated": (lambda X, y: (X, y), {"gradient_accumulation": 2}),
    "augmented": (lambda X, y: (X, y), {"augment": lambda X: X}),
}


@pytest.mark.parametrize(("give", "settings"), WAYS.values(), ids=WAYS.keys())
def test_a_row_left_over_is_trained_on_however_the_rows_come(give, settings):
    fitted = net(module=Normalised, batch_size=16, **settings).fit(*give(*table(33)))
    assert sum(batch_sizes(fitted)) == 33
    assert 1 not in batch_sizes(fitted)


def test_series_of_one_value_a_channel_join_too():
    X = RNG.random((33, 3, 4), dtype=np.float32)
    settings = {"module": ConvNet, "module__normalization": "batch", "batch_size": 16}
    assert sum(batch_sizes(net(**settings).fit(X, np.arange(33) % 2))) == 33


class Ended(nn.Module):
    """Ends in ``.squeeze()``, as many examples do."""

    def __init__(self, n_features, n_outputs, width=None, last=nn.Identity):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_features, width or n_outputs), last())

    def forward(self, X):
        return self.layers(X).squeeze()


# What is fitted: its settings, and the shape of predict_proba or predict for n rows.
SQUEEZED = {
    "one logit": (TorchClassifier, {"criterion": "bce_with_logits"}, 2),
    "a probability": (TorchClassifier, {"criterion": "bce", "module__last": nn.Sigmoid}, 2),
    "two logits": (TorchClassifier, {}, 2),
    "own loss of one logit": (
        TorchClassifier,
        {
            "criterion": lambda o, t: nn.functional.binary_cross_entropy_with_logits(o, t.float()),
            "module__width": 1,
        },
        2,
    ),
    "a number": (TorchRegressor, {}, None),
    "a number by l1": (TorchRegressor, {"criterion": "l1"}, None),
}


@pytest.mark.parametrize(("kind", "settings", "columns"), SQUEEZED.values(), ids=SQUEEZED.keys())
def test_a_module_that_squeezes_predicts_one_row(kind, settings, columns):
    X, y = table(30)
    fitted = net(kind, module=Ended, batch_size=10, **settings).fit(X, y)
    np.testing.assert_allclose(fitted.predict(X[:1]), fitted.predict(X)[:1], rtol=1e-5)
    assert np.isfinite(fitted.score(X[:2], y[:2]))
    if columns:
        p = fitted.predict_proba(X[:1])
        assert p.shape == (1, columns)
        np.testing.assert_allclose(p, fitted.predict_proba(X)[:1], rtol=1e-5)
        assert fitted.decision_function(X[:1]).shape == (1,)


# How one row comes to be alone: number of rows, and settings.
ALONE = {
    "last batch": (11, {"batch_size": 10}),
    "every batch": (6, {"batch_size": 1}),
    "validated on": (10, {"validation": (np.ones((1, 4), np.float32), np.ones(1, int))}),
}


@pytest.mark.parametrize(("kind", "settings", "columns"), SQUEEZED.values(), ids=SQUEEZED.keys())
@pytest.mark.parametrize("alone", ALONE)
@pytest.mark.filterwarnings("ignore:R.2 score")
def test_a_module_that_squeezes_trains_on_one_row(kind, settings, columns, alone):
    n, own = ALONE[alone]
    fitted = net(kind, module=Ended, **settings, **own).fit(*table(n))
    assert np.isfinite(fitted.loss_curve_).all()


def test_a_regressor_that_squeezes_trains_on_a_table_of_one_row():
    assert net(TorchRegressor, module=Ended).fit(*table(1)).predict(table(1)[0]).shape == (1,)


@pytest.mark.parametrize("criterion", ["bce_with_logits", "cross_entropy"])
def test_a_module_that_squeezes_takes_weights_with_one_row(criterion):
    weighted = net(module=Ended, criterion=criterion, batch_size=10)
    X, y = table(11)
    assert np.isfinite(weighted.fit(X, y, sample_weight=np.ones(11)).loss_curve_).all()


@pytest.mark.parametrize("kind", [TorchClassifier, TorchRegressor])
@pytest.mark.filterwarnings("ignore:R.2 score")
def test_a_hold_out_of_one_row_is_validated_on(kind):
    X, y = table(11)
    fitted = net(kind, validation=(X[:1], y[:1]), module=Normalised).fit(X, y)
    assert np.isfinite(fitted.history_[-1, "valid_loss"])


def test_a_last_batch_of_one_row_trains_a_loss_of_probabilities():
    settings = {"criterion": "bce", "module": Ended, "module__last": nn.Sigmoid}
    assert batch_sizes(net(batch_size=10, **settings).fit(*table(11))) == [10, 1]
