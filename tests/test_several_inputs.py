"""Several inputs and ready modules, one input under a name, constructors with own names."""

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from sktorch import TorchClassifier, TorchRegressor
from sktorch.modules import MLP, ConvNet, RecurrentNet, TabularMLP

RNG = np.random.default_rng(0)
N = 40
TABLE = RNG.random((N, 4), dtype=np.float32)
PICTURES = RNG.random((N, 1, 8, 8), dtype=np.float32)
SEQUENCES = RNG.random((N, 5, 3), dtype=np.float32)
y = np.arange(N) % 2


class Sampled(Dataset):
    def __init__(self, *parts):
        self.parts = parts

    def __len__(self):
        return N

    def __getitem__(self, i):
        return (*(part(i) for part in self.parts), int(y[i]))


def net(module, kind=TorchClassifier, **parameters):
    return kind(module, **{"max_epochs": 2, "random_state": 0} | parameters)


READY = {
    "MLP": (MLP, {}, TABLE),
    "default": (None, {}, TABLE),
    "ConvNet": (ConvNet, {"module__hidden": 4}, PICTURES),
    "RecurrentNet": (RecurrentNet, {"module__hidden": 4}, SEQUENCES),
    "TabularMLP": (TabularMLP, {}, TABLE),
}
SINGLE = {
    "dict named X": lambda rows: {"X": rows},
    "dict of another name": lambda rows: {"pixels": rows},
    "dict of a tensor": lambda rows: {"X": torch.from_numpy(rows)},
    "tuple": lambda rows: (rows,),
}


@pytest.mark.parametrize("ready", READY)
@pytest.mark.parametrize("container", SINGLE)
@pytest.mark.parametrize("kind", [TorchClassifier, TorchRegressor])
def test_a_single_entry_is_that_entry(ready, container, kind):
    module, settings, rows = READY[ready]
    given = SINGLE[container](rows)
    fitted, expected = (net(module, kind, **settings).fit(X, y) for X in (given, rows))
    np.testing.assert_array_equal(fitted.predict(given), expected.predict(rows))


@pytest.mark.parametrize("ready", READY)
def test_a_single_entry_in_a_sample_is_that_entry(ready):
    module, settings, rows = READY[ready]
    fitted = net(module, **settings).fit(Sampled(lambda i: {"X": rows[i]}))
    expected = net(module, **settings).fit(Sampled(lambda i: rows[i]))
    np.testing.assert_array_equal(fitted.predict(rows), expected.predict(rows))


SEVERAL = {
    "dict": lambda rows: ({"X": rows, "beside": TABLE}, y),
    "samples of three parts": lambda rows: (
        Sampled(lambda i: rows[i], lambda i: TABLE[i]),
        None,
    ),
    "tensors of three parts": lambda rows: (
        TensorDataset(*map(torch.from_numpy, (rows, TABLE, y))),
        None,
    ),
    "samples of dicts": lambda rows: (Sampled(lambda i: {"X": rows[i], "beside": TABLE[i]}), None),
}


@pytest.mark.parametrize("ready", READY)
@pytest.mark.parametrize("container", SEVERAL)
def test_several_inputs_into_a_module_of_one_are_counted_in_the_error(ready, container):
    module, settings, rows = READY[ready]
    with pytest.raises((ValueError, TypeError), match=r"2 inputs|two inputs|several inputs|beside"):
        net(module, **settings).fit(*SEVERAL[container](rows))


class Both(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.output = nn.Linear(8, n_outputs)

    def forward(self, X, beside):
        return self.output(torch.cat([X, beside], dim=1))


@pytest.mark.parametrize("container", SEVERAL)
def test_several_inputs_go_into_a_module_of_several(container):
    assert net(Both).fit(*SEVERAL[container](TABLE)).classes_.tolist() == [0, 1]


def test_an_entry_of_another_name_than_the_arguments_is_named():
    with pytest.raises(ValueError, match="beside"):
        net(Both).fit({"X": TABLE, "other": TABLE}, y)


class Named(nn.Module):
    """A constructor with names of its own."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.output = nn.Linear(n_in, n_out)

    def forward(self, X):
        return self.output(X)


class OneNamed(Named):
    def __init__(self, input_dim, n_outputs):
        super().__init__(input_dim, n_outputs)


def make_net(d_in, n_outputs):
    return nn.Linear(d_in, n_outputs)


# Constructors, and a parameter that nothing fills in.
UNFILLED = {
    "n_in and n_out": (Named, "n_in"),
    "torch's Linear": (nn.Linear, "in_features"),
    "one of two": (OneNamed, "input_dim"),
    "function": (make_net, "d_in"),
    "partial": (partial(Named, n_out=2), "n_in"),
    "lambda": (lambda dims: nn.Linear(dims, 2), "dims"),
}


@pytest.mark.parametrize(("module", "name"), UNFILLED.values(), ids=UNFILLED.keys())
@pytest.mark.parametrize("kind", [TorchClassifier, TorchRegressor])
def test_a_constructor_parameter_that_nothing_fills_in_is_named(module, name, kind):
    with pytest.raises((ValueError, TypeError)) as caught:
        net(module, kind).fit(TABLE, y)
    message = str(caught.value)
    assert f"module__{name}" in message
    assert "n_features" in message
    assert "n_outputs" in message


@pytest.mark.parametrize("module", [Named, nn.Linear])
def test_a_constructor_parameter_that_is_given_is_not_asked_for(module):
    names = ("n_in", "n_out") if module is Named else ("in_features", "out_features")
    given = {f"module__{names[0]}": 4, f"module__{names[1]}": 2}
    assert net(module, **given).fit(TABLE, y).predict(TABLE).shape == (N,)
    with pytest.raises((ValueError, TypeError), match=f"module__{names[1]}"):
        net(module, **{f"module__{names[0]}": 4}).fit(TABLE, y)


class Difference(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.output = nn.Linear(4, n_outputs)

    def forward(self, a, b):
        return self.output(a - b)


class Flipped(Dataset):
    """Rows of iris as dicts, whose names come in another order in every second batch."""

    X, y = load_iris(return_X_y=True)

    def __init__(self, is_flipped):
        self.is_flipped = is_flipped

    def __len__(self):
        return 150

    def __getitem__(self, row):
        inputs = {"a": self.X[row], "b": self.X[row] ** 2}
        if self.is_flipped and row // 10 % 2:
            inputs = {name: inputs[name] for name in "ba"}
        return inputs, int(self.y[row])


def test_inputs_are_known_by_their_names_whatever_their_order():
    settings = {"max_epochs": 40, "batch_size": 10, "iterator_train__shuffle": False}
    nets = [
        TorchClassifier(Difference, random_state=0, device="cpu", **settings).fit(Flipped(flipped))
        for flipped in (False, True)
    ]
    assert nets[0].eager_reason_ is None  # Steps were replayed, which know tensors by place.
    assert nets[0].loss_curve_ == pytest.approx(nets[1].loss_curve_, rel=1e-6)
