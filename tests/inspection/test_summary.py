"""The summary of a module: its layers as torch names them, and the state that it leaves."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import sktorch
from sktorch import TabularClassifier, TorchClassifier
from sktorch.inspection import ModuleSummary, summary
from sktorch.inspection._summary import MAX_LAYERS, Layer
from sktorch.modules import MLP, ConvNet, RecurrentNet

X, y = load_iris(return_X_y=True)
X = X.astype("float32")
images = load_digits().images[:, None].astype("float32")
digits = load_digits().target


def fitted(module=MLP, data=(X, y), **parameters):
    return TorchClassifier(module, max_epochs=1, random_state=0, **parameters).fit(*data)


class TwoInputs(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.left, self.right = nn.Linear(2, n_outputs), nn.Linear(2, n_outputs)

    def forward(self, a, b):
        return self.left(a) + self.right(b)


class Lazy(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.layers = nn.Sequential(nn.LazyLinear(5), nn.ReLU(), nn.LazyLinear(n_outputs))

    def forward(self, X):
        return self.layers(X)


class Idle(nn.Module):
    """Has a layer that is never called, and one that returns a tuple."""

    def __init__(self, n_outputs):
        super().__init__()
        self.gru, self.idle = nn.GRU(2, 4, batch_first=True), nn.Conv1d(1, 1, 1)
        self.head = nn.Linear(4, n_outputs)

    def forward(self, X):
        return self.head(self.gru(X.reshape(-1, 2, 2))[0][:, -1])


CASES = {
    "perceptron": (MLP, (X, y), {}, {"": (None, 3), "1": (None, 100), "3": (None, 3)}),
    "images": (ConvNet, (images, digits), {}, {"0": (None, 32, 8, 8), "7": (None, 10)}),
    "sequences": (
        RecurrentNet,
        ([row[: 2 + i % 3, None] for i, row in enumerate(X)], y),
        {},
        {"": (None, 3), "head.1": (None, 3)},
    ),
    "two inputs": (
        TwoInputs,
        ({"a": X[:, :2], "b": X[:, 2:]}, y),
        {},
        {"left": (None, 3), "right": (None, 3)},
    ),
    "lazy": (Lazy, (X, y), {}, {"layers.0": (None, 5), "layers.2": (None, 3)}),
    "idle": (Idle, (X, y), {}, {"gru": (None, 2, 4), "idle": None, "head": (None, 3)}),
    "data parallel": (
        lambda n_features, n_outputs: nn.DataParallel(nn.Linear(n_features, n_outputs)),
        (X, y),
        {"device": "cpu"},
        {"module": (None, 3)},
    ),
}


@pytest.mark.parametrize(("module", "data", "given", "shapes"), CASES.values(), ids=CASES)
def test_layers_and_their_shapes(module, data, given, shapes):
    net = fitted(module, data, **given)
    found = summary(net)
    by_name = {layer.name: layer.output_shape for layer in found.layers}
    assert [*by_name] == [name for name, _ in net.module_.named_modules()]
    assert {name: by_name[name] for name in shapes} == shapes
    parameters = [*net.module_.parameters()]
    assert found.n_parameters == sum(layer.n_parameters for layer in found.layers)
    assert found.n_parameters == sum(parameter.numel() for parameter in parameters)
    assert found.multiply_adds == sum(layer.multiply_adds for layer in found.layers)


def test_the_text():
    assert str(summary(fitted(module__hidden=(50,)))).splitlines() == [
        "layer          output  parameters  multiply-adds",
        "MLP            N×3",
        "  (0) Flatten  N×4",
        "  (1) Linear   N×50           250            200",
        "  (2) ReLU     N×50",
        "  (3) Linear   N×3            153            150",
        "403 parameters, 350 multiply-adds a row",
    ]


def test_frozen_and_shared_parameters():
    def tied(n_outputs):
        layer = nn.Linear(4, 4)
        net = nn.Sequential(layer, nn.ReLU(), layer, nn.Linear(4, n_outputs))
        layer.requires_grad_(False)
        return net

    found = summary(fitted(tied))
    assert (found.n_parameters, found.n_trainable) == (20 + 15, 15)
    assert "35 parameters (20 of them frozen), 44 multiply-adds a row" in str(found)


def test_members_of_a_table():
    net = TabularClassifier(n_members=3, hidden=(8,), max_epochs=1, random_state=0).fit(X, y)
    found = summary(net)
    assert found.layers[0].output_shape == (None, 3, 3)
    n_waves = 4 * 2 * len(net.module_.waves.frequencies)
    assert found.multiply_adds == 3 * ((4 + n_waves) * 8 + 8 * 3)
    assert found.n_parameters == sum(parameter.numel() for parameter in net.module_.parameters())


AROUND = {
    "pipeline": lambda: make_pipeline(StandardScaler(), TorchClassifier(MLP, max_epochs=1)),
    "search": lambda: GridSearchCV(TorchClassifier(MLP, max_epochs=1), {"lr": [0.01]}, cv=2),
}


@pytest.mark.parametrize("make", AROUND.values(), ids=AROUND)
def test_estimators_around_a_net(make):
    assert summary(make().fit(X, y)).layers[0].kind == "MLP"


@pytest.mark.parametrize("make", [fitted, lambda: TabularClassifier(max_epochs=1).fit(X, y)])
def test_module_and_random_numbers_stay_as_they_are(make):
    net = make()
    net.module_.train()
    before = copy.deepcopy(net.module_.state_dict())
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    summary(net)
    assert net.module_.training
    assert not any(layer._forward_hooks for layer in net.module_.modules())
    after = net.module_.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(torch.get_rng_state(), states[0])
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])


def test_after_saving_and_loading(tmp_path):
    net = fitted()
    sktorch.save(net, tmp_path / "net.safetensors", training_state=False)
    loaded = [sktorch.load(tmp_path / "net.safetensors"), pickle.loads(pickle.dumps(net))]
    assert [str(summary(other)) for other in loaded] == [str(summary(net))] * 2


def test_a_net_that_was_saved_without_shapes():
    net = fitted()
    del net.net_.work_.__dict__["layers"]
    assert {layer.output_shape for layer in summary(net).layers} == {None}


def test_many_layers_are_cut():
    layers = [Layer(str(n), "ReLU", None, 0, 0, 0.0) for n in range(MAX_LAYERS + 1234)]
    lines = str(ModuleSummary(layers, 0, 0, 0.0)).splitlines()
    assert len(lines) == MAX_LAYERS + 3
    assert lines[-2] == "… 1,234 more"


def test_html_is_escaped():
    found = ModuleSummary([Layer("", "<b>", (None, 2), 3, 3, 4000.0)], 3, 3, 4000.0)
    html = found._repr_html_()
    assert "&lt;b&gt;" in html
    assert "<b>" not in html
    assert "4,000" in html


WRONG = {
    "not fitted": (TorchClassifier(), NotFittedError, "not fitted"),
    "no module": (LogisticRegression(max_iter=500).fit(X, y), TypeError, "LogisticRegression"),
}


@pytest.mark.parametrize(("given", "error", "match"), WRONG.values(), ids=WRONG)
def test_wrong_inputs(given, error, match):
    with pytest.raises(error, match=match):
        summary(given)


def test_a_history_without_a_module():
    other = SGDClassifier().fit(X, y)
    other.history_ = []
    with pytest.raises(TypeError, match="SGDClassifier has no module_"):
        summary(other)
