"""What the code of a layer or a loss reads beside its arguments."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sktorch.losses.adapters import FunctionLoss
from sktorch.modules import MLP
from sktorch.training.code_reads import is_library_code, reads_of_function, reads_of_layer
from sktorch.training.fingerprint import NotStackable, Snapshot, fingerprint

RATE = 0.5
SETTINGS = {"scale": 1.0}
NUMBERS = np.random.default_rng(0)


def scaled(x):
    return x * SETTINGS["scale"]


class Plain(nn.Module):
    def forward(self, x):
        return torch.relu(x)


class ReadsAGlobal(nn.Module):
    def forward(self, x):
        return x * RATE


class ReadsByAFunction(nn.Module):
    def forward(self, x):
        return scaled(x)


class ReadsByAMethod(nn.Module):
    def helper(self, x):
        return [part * RATE for part in x]

    def forward(self, x):
        return self.helper(x)


class ReadsByAProperty(nn.Module):
    @property
    def rate(self):
        return RATE

    def forward(self, x):
        return x * self.rate


class ReadsItsClass(nn.Module):
    calls = 0

    def forward(self, x):
        return x * self.calls


class OverridesALayer(nn.Linear):
    def extra_repr(self):
        return str(RATE)


class Draws(nn.Module):
    def forward(self, x):
        return x * NUMBERS.random()


def closure():
    rate = [0.5]

    def loss(output, y):
        return output * rate[0]

    return loss, rate


@pytest.mark.parametrize(
    ("layer", "names"),
    [
        (nn.Linear(2, 2), set()),
        (Plain(), {"torch"}),
        (ReadsAGlobal(), {"RATE"}),
        (ReadsByAFunction(), {"scaled", "SETTINGS"}),
        (ReadsByAMethod(), {"RATE"}),
        (ReadsByAProperty(), {"RATE"}),
        (ReadsItsClass(), {"calls"}),
        (OverridesALayer(2, 2), {"RATE"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_layer_reads(layer, names):
    assert {name for name, _ in reads_of_layer(layer).values()} == names


def change_of_global(monkeypatch):
    monkeypatch.setattr(f"{__name__}.RATE", 0.25)


def change_of_entry(monkeypatch):
    monkeypatch.setitem(SETTINGS, "scale", 2.0)


def change_of_class(monkeypatch):
    monkeypatch.setattr(ReadsItsClass, "calls", 1)


def change_of_method(monkeypatch):
    monkeypatch.setattr(Plain, "forward", lambda self, x: x)


@pytest.mark.parametrize(
    ("module", "change"),
    [
        (ReadsAGlobal(), change_of_global),
        (ReadsByAMethod(), change_of_global),
        (ReadsByAProperty(), change_of_global),
        (ReadsByAFunction(), change_of_entry),
        (ReadsItsClass(), change_of_class),
        (Plain(), change_of_method),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_a_change_of_what_is_read_shows(module, change, monkeypatch):
    before, snapshot = fingerprint(module), Snapshot(module)
    assert snapshot.holds()
    assert fingerprint(module) == before
    change(monkeypatch)
    assert fingerprint(module) != before
    assert not snapshot.holds() or change is change_of_method  # made between two fits


def test_a_change_of_a_closure_shows():
    loss, rate = closure()
    assert [*reads_of_function(loss).values()] == [("closure", rate)]
    before = fingerprint(loss)
    rate[0] = 2.0
    assert fingerprint(loss) != before


def test_what_draws_by_a_global_generator_can_not_be_compared():
    with pytest.raises(NotStackable, match="Generator"):
        fingerprint(Draws())


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.ReLU()), True),
        (MLP(2, 2), True),
        (FunctionLoss(F.cross_entropy), True),
        (FunctionLoss(scaled), False),
        (nn.Sequential(nn.Linear(2, 2), Plain()), False),
        (nn.TransformerEncoderLayer(4, 2, activation=scaled), False),
    ],
)
def test_library_code(module, expected):
    assert is_library_code(module) == expected


def test_names_of_attributes_are_no_variables():
    global weight
    weight = object()
    try:
        assert not [*reads_of_layer(nn.Linear(2, 2)).values()]
        assert "weight" not in {name for name, _ in reads_of_layer(HasAWeight()).values()}
    finally:
        del weight


class HasAWeight(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))

    def forward(self, x):
        return x * self.weight
