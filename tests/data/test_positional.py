"""A list or tuple of arrays: several inputs by position, or rows."""

import numpy as np
import pandas as pd
import pytest
import torch
from skorch.callbacks import Callback
from torch import nn

from sktorch import TorchClassifier, TorchRegressor
from sktorch.data import make_loaders
from sktorch.data.positional import Positional
from sktorch.data.source import Settings

RNG = np.random.default_rng(0)
N = 40
A = RNG.random((N, 4), dtype=np.float32)
B = RNG.random((N, 3), dtype=np.float32)
y = np.arange(N) % 2


class TwoInputs(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.output = nn.Linear(7, n_outputs)

    def forward(self, A, B):
        return self.output(torch.cat([A, B], dim=1))


def net(module=TwoInputs, kind=TorchClassifier, **parameters):
    return kind(module, **{"max_epochs": 2, "random_state": 0} | parameters)


IN_ORDER = {
    "tuple": (A, B),
    "list": [A, B],
    "tuple of tensors": (torch.from_numpy(A), torch.from_numpy(B)),
    "list of tensors": [torch.from_numpy(A), torch.from_numpy(B)],
    "array and DataFrame": [A, pd.DataFrame(B, columns=[*"abc"])],
}


@pytest.mark.parametrize("given", IN_ORDER.values(), ids=IN_ORDER.keys())
@pytest.mark.parametrize("kind", [TorchClassifier, TorchRegressor])
def test_arrays_in_a_row_are_inputs_in_their_order(given, kind):
    expected = net(kind=kind).fit({"A": A, "B": B}, y)
    fitted = net(kind=kind).fit(given, y)
    np.testing.assert_array_equal(fitted.predict(given), expected.predict({"A": A, "B": B}))
    np.testing.assert_array_equal(
        fitted.predict(type(given)(part[:1] for part in given)), fitted.predict(given)[:1]
    )


def test_two_arrays_of_one_shape_are_inputs_where_y_has_as_many_rows():
    class Sum(nn.Module):
        def __init__(self, n_outputs):
            super().__init__()
            self.output = nn.Linear(4, n_outputs)

        def forward(self, A, B):
            return self.output(A + B)

    fitted = net(Sum).fit([A, 1 - A], y)
    assert fitted.predict([A, 1 - A]).shape == (N,)


def test_a_list_of_as_many_arrays_as_y_has_rows_is_their_rows():
    fitted = net(None).fit([*A], y)
    np.testing.assert_array_equal(fitted.predict([*A]), net(None).fit(A, y).predict(A))


def test_inputs_of_several_lengths_are_refused():
    with pytest.raises(ValueError, match="sample"):
        net().fit((A, B[:-1]), y)


class Told(Callback):
    """Predicts what the net hands out."""

    def on_train_begin(self, net, X, y):
        self.begun = net.predict(X)

    def on_epoch_end(self, net, dataset_train, dataset_valid):
        self.shapes = [x.shape for x in dataset_valid[0][0]]


def test_inputs_by_position_are_held_out_and_told_to_callbacks():
    fitted = net(early_stopping=True, validation_fraction=0.25, callbacks=[Told()]).fit((A, B), y)
    assert fitted.net_.callbacks_[1][1].begun.shape == (N,)
    assert fitted.net_.callbacks_[1][1].shapes == [(4,), (3,)]
    assert len(fitted.validation_scores_) == 2


def test_inputs_by_position_are_validated_on():
    assert len(net(validation=((A, B), y)).fit((A, B), y).validation_scores_) == 2
    assert len(net(validation=([A, B], y)).fit([A, B], y).validation_scores_) == 2


def test_inputs_by_position_make_loaders():
    train, valid = make_loaders([A, B], y, batch_size=10)
    (a, b), target = next(iter(train))
    assert (a.shape, b.shape, target.shape) == ((10, 4), (10, 3), (10,))
    assert len(valid) == 1


@pytest.mark.parametrize(
    ("X", "settings", "accepted"),
    [
        ([A, B], {"n_rows": N}, True),
        ((A, B), {}, True),
        ([A, B], {}, False),
        ((A, B[:-1]), {"n_rows": N}, True),
        ([A, B[:-1]], {"n_rows": N}, False),
        ([*A], {"n_rows": N}, False),
        (tuple(A), {"n_rows": N}, False),
        ([A], {"n_rows": N}, True),
        ([A[0]], {"n_rows": 1}, False),
        ([A[:1], B[:1]], {"fitted_shape": ((4,), (3,))}, True),
        ([A[0], B[0]], {"fitted_shape": ((4,), (3,))}, False),
        ([A], {"fitted_shape": (4,)}, True),
        ([*A[:1]], {"fitted_shape": (4,)}, False),
        ([A, B], {"fitted_shape": (4,)}, False),
        ([A, B], {"fitted_shape": {"a": (4,), "b": (3,)}}, False),
        ([A, None], {"n_rows": N}, False),
        ([], {"n_rows": N}, False),
        ((), {}, False),
        (((1, 2), (3, 4)), {"n_rows": 2}, False),
        (A, {"n_rows": N}, False),
    ],
)
def test_what_is_inputs_by_position(X, settings, accepted):
    assert Positional.accepts(X, Settings(**settings)) is accepted
