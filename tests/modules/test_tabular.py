"""The multi-layer perceptron of numbers and embedded categories."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from torch.func import functional_call, stack_module_state, vmap

from sktorch import TorchClassifier
from sktorch.modules import MLP, TabularMLP
from sktorch.modules._tabular import default_embedding_dim
from tests.modules.searches import check_stacked_as_alone

MIXED = (0, 4, 0, 0, 7, 0)  # numbers in columns 0, 2, 3, 5


def rows(n=5, dtype=torch.float32):
    """Rows for MIXED: numbers and codes."""
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(n, 6, generator=generator, dtype=dtype)
    for column in (1, 4):
        X[:, column] = torch.randint(0, MIXED[column], (n,), generator=generator)
    return X


def test_output_is_that_of_the_formula():
    module = TabularMLP(MIXED, 2, hidden=(3,), activation="tanh", dtype=torch.float64)
    X = rows(dtype=torch.float64)
    first, second = (embedding.weight for embedding in module.embeddings)
    expected = []
    for row in X:
        numbers = torch.stack([row[0], row[2], row[3], row[5]])
        expected.append(torch.cat([numbers, first[int(row[1])], second[int(row[4])]]))
    torch.testing.assert_close(module(X), module.mlp(torch.stack(expected)))


def test_numbers_alone_are_an_mlp():
    torch.manual_seed(0)
    module = TabularMLP((0, 0, 0), 2)
    torch.manual_seed(0)
    mlp = MLP(3, 2)
    X = torch.randn(5, 3)
    assert len(module.embeddings) == 0
    assert torch.equal(module(X), mlp(X))


def test_categories_alone():
    module = TabularMLP((3, 5), 2, embedding_dim=4)
    assert module.mlp[1].in_features == 8
    assert module(torch.tensor([[2.0, 4.0], [0.0, 0.0]])).shape == (2, 2)


@pytest.mark.parametrize("code", [-1.0, 4.0, 1e9, -1e9, np.nan, np.inf])
def test_codes_outside_the_table_are_unknown(code):
    module = TabularMLP(MIXED, 2)
    X, unknown = rows(), rows()
    X[:, 1], unknown[:, 1] = 0, code
    assert torch.equal(module(unknown), module(X))


@pytest.mark.parametrize(
    ("cardinality", "dim"), [(1, 2), (2, 3), (10, 6), (42, 13), (400, 46), (1000, 50), (10**6, 50)]
)
def test_default_length_of_embeddings(cardinality, dim):
    assert default_embedding_dim(cardinality) == dim
    assert TabularMLP((cardinality,), 2).embeddings[0].embedding_dim == dim


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_dtype(dtype):
    module = TabularMLP(MIXED, 2, dtype=dtype)
    assert {parameter.dtype for parameter in module.parameters()} == {dtype}
    assert module(rows(dtype=dtype)).dtype is dtype


def test_parameters_of_the_mlp_go_through():
    module = TabularMLP(MIXED, 2, hidden=(4, 3), activation="gelu", dropout=0.3)
    like = MLP(module.mlp[1].in_features, 2, hidden=(4, 3), activation="gelu", dropout=0.3)
    assert str(module.mlp) == str(like)


def test_pickle_and_deepcopy():
    module = TabularMLP(MIXED, 2)
    for twin in (pickle.loads(pickle.dumps(module)), copy.deepcopy(module)):
        assert torch.equal(twin(rows()), module(rows()))


def test_stacked_models_give_what_each_gives_and_the_same_gradients():
    modules = [TabularMLP(MIXED, 2, hidden=(8,)) for _ in range(3)]
    parameters, buffers = stack_module_state(modules)
    skeleton = copy.deepcopy(modules[0]).to("meta")
    X = rows()

    def outputs(parameters, buffers):
        return functional_call(skeleton, (parameters, buffers), (X,))

    stacked = vmap(outputs)(parameters, buffers)
    torch.testing.assert_close(stacked, torch.stack([module(X) for module in modules]))
    stacked.square().sum().backward()
    for position, module in enumerate(modules):
        module(X).square().sum().backward()
        for name, parameter in module.named_parameters():
            torch.testing.assert_close(parameters[name].grad[position], parameter.grad)


def test_a_search_trains_it_stacked(monkeypatch, capsys):
    X, y = load_iris(return_X_y=True)
    X[:, 3] = (X[:, 3] * 4).round()  # codes
    parameters = {"module__cardinalities": (0, 0, 0, 11), "module__hidden": (8,)}
    check_stacked_as_alone(TabularMLP, parameters, (X, y), monkeypatch)
    assert "train together" in capsys.readouterr().out


def test_each_epoch_of_codes_alone_tells_the_classes_apart():
    X, y = load_iris(return_X_y=True)
    codes = (X * 10).round() - (X * 10).round().min(axis=0)
    cardinalities = tuple(int(top) + 1 for top in codes.max(axis=0))
    net = TorchClassifier(
        TabularMLP, module__cardinalities=cardinalities, lr=1e-2, max_epochs=30, random_state=0
    )
    assert net.fit(codes, y).score(codes, y) > 0.95


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"cardinalities": ()}, r"cardinalities=\[\] must hold a whole number for each column"),
        ({"cardinalities": (0, -1)}, r"cardinalities=\[0, -1\] must hold"),
        ({"cardinalities": (0, 2.5)}, r"cardinalities=\[0, 2.5\] must hold"),
        ({"embedding_dim": 0}, "embedding_dim=0 must be a positive whole number, or None"),
        ({"embedding_dim": 1.5}, "embedding_dim=1.5 must be a positive whole number"),
        ({"activation": "rolu"}, "activation='rolu' is not known"),
        ({"hidden": 0}, "must hold positive layer widths"),
    ],
)
def test_wrong_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        TabularMLP(**{"cardinalities": MIXED, "n_outputs": 2} | parameters)


def test_a_table_of_other_width():
    with pytest.raises((IndexError, RuntimeError)):
        TabularMLP(MIXED, 2)(torch.zeros(3, 4))
