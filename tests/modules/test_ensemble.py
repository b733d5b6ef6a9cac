"""`Ensemble` against its members, made and called one by one."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.func import functional_call

from sktorch.modules import (
    MLP,
    ConvNet,
    Ensemble,
    PeriodicEmbedding,
    ScaleLayer,
    TabularMLP,
    initialize,
)

X = torch.randn(6, 4)


def embedded(n_features, n_outputs):
    embedding = PeriodicEmbedding(n_features)
    return nn.Sequential(ScaleLayer(n_features), embedding, MLP(embedding.n_outputs, n_outputs))


class Tied(nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.first = self.second = nn.Linear(n_features, n_features)

    def forward(self, X):
        return self.second(self.first(X).relu())


class OneNumber(nn.Linear):
    def __init__(self, n_features):
        super().__init__(n_features, 1)

    def forward(self, X):
        return super().forward(X)[:, 0]


CASES = {
    "mlp": (partial(MLP, 4, 3, hidden=(8, 5)), X),
    "batch normalisation": (partial(MLP, 4, 3, normalization="batch"), X),
    "embeddings": (partial(embedded, 4, 3), X),
    "codes": (partial(TabularMLP, (0, 3), 2), torch.tensor([[0.1, 2.0], [0.3, 1.0]])),
    "pictures": (partial(ConvNet, (1, 8, 8), 3), torch.randn(2, 1, 8, 8)),
    "tied": (partial(Tied, 4), X),
}


@pytest.mark.parametrize(("module", "inputs"), CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("training", [False, True])
def test_outputs_are_those_of_members_made_one_by_one(module, inputs, training):
    torch.manual_seed(0)
    ensemble = Ensemble(module, n_members=3).train(training)
    torch.manual_seed(0)
    members = [module().train(training) for _ in range(3)]
    expected = torch.stack([member(inputs) for member in members], dim=1)
    torch.testing.assert_close(ensemble(inputs), expected)
    names = [name for name, _ in members[0].named_parameters()]
    assert [name.removeprefix("member.") for name, _ in ensemble.named_parameters()] == names
    for name, stack in ensemble.member.state_dict().items():  # statistics of batches, too
        own = torch.stack([member.state_dict()[name] for member in members])
        torch.testing.assert_close(stack, own)


@pytest.mark.parametrize(("module", "inputs"), CASES.values(), ids=CASES.keys())
def test_rows_of_their_own_have_the_outputs_of_rows_that_are_shared(module, inputs):
    ensemble = Ensemble(module, n_members=3).eval()
    own = torch.stack([inputs.roll(shift, dims=0) for shift in range(3)])
    apart = ensemble.forward_apart(own)
    for k in range(3):
        torch.testing.assert_close(apart[:, k], ensemble(own[k])[:, k])


def test_one_number_a_row_is_one_column_a_member():
    assert Ensemble(OneNumber, 3, n_features=4)(X).shape == (6, 3, 1)


def test_members_drop_units_of_their_own():
    torch.manual_seed(0)
    ensemble = Ensemble(lambda: nn.Sequential(ScaleLayer(50), nn.Dropout(0.5)), 4)
    outputs = ensemble(torch.ones(1, 50))[0]
    assert len({tuple(row.tolist()) for row in outputs}) == 4
    assert (ensemble.eval()(torch.ones(1, 50)) == 1).all()


def test_a_module_gets_what_it_takes():
    ensemble = Ensemble(MLP, 2, n_features=4, n_outputs=3, input_shape=(4,), hidden=(7,))
    assert ensemble(X).shape == (6, 2, 3)
    assert ensemble.member[1].weight.shape == (2, 7, 4)
    assert Ensemble(MLP, 2, 4, 3, dtype=torch.float64).member[1].weight.dtype == torch.float64
    assert "n_members=2" in repr(ensemble)


def test_several_inputs_and_names():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.randn(4))

        def forward(self, left, right):
            return left * self.scale + right

    ensemble = Ensemble(Sum, 2)
    assert torch.equal(ensemble(X, right=X), ensemble(left=X, right=X))
    assert torch.equal(ensemble(X, X)[:, 1], X * ensemble.member.scale[1] + X)


def test_a_member_can_be_taken_out():
    ensemble = Ensemble(MLP, 3, n_features=4, n_outputs=2)
    state = {name: stack[1] for name, stack in ensemble.member.state_dict().items()}
    alone = MLP(4, 2)
    alone.load_state_dict(state)
    torch.testing.assert_close(alone(X), ensemble(X)[:, 1])
    torch.testing.assert_close(functional_call(ensemble.member, state, X), ensemble(X)[:, 1])


@pytest.mark.parametrize("initializer", ["kaiming_normal", {"*.weight": "orthogonal"}])
def test_an_initializer_sets_each_member_as_alone(initializer):
    torch.manual_seed(0)
    ensemble = initialize(Ensemble(MLP, 2, n_features=4, n_outputs=3), initializer)
    torch.manual_seed(0)
    members = [MLP(4, 3) for _ in range(2)]
    for layer in (1, 3):  # It goes through a layer's members, then the next layer's.
        for member in members:
            initialize(member, {f"{layer}.weight": _of(initializer), "*": None})
    expected = torch.stack([member(X) for member in members], dim=1)
    torch.testing.assert_close(ensemble(X), expected)


def _of(initializer):
    return initializer["*.weight"] if isinstance(initializer, dict) else initializer


@pytest.mark.parametrize("n_members", [0, -1, 2.5, "3", None])
def test_a_wrong_number_of_members_is_refused(n_members):
    with pytest.raises(ValueError, match=r"n_members=.* must be a positive whole number"):
        Ensemble(partial(MLP, 4, 3), n_members)


@pytest.mark.parametrize("module", [MLP(4, 3), "mlp", None])
def test_what_makes_no_members_is_refused(module):
    with pytest.raises(TypeError, match=r"of Ensemble must be an nn.Module subclass or a function"):
        Ensemble(module)


def test_members_that_differ_are_refused():
    widths = iter([3, 4])
    with pytest.raises(ValueError, match="differ in their parameters"):
        Ensemble(lambda: nn.Linear(4, next(widths)), 2)
