"""Which models are alike, and which changes a snapshot sees."""

import weakref
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from sktorch.training.fingerprint import NotStackable, Snapshot, fingerprint


class Holding(nn.Linear):
    """Holds something in an attribute."""

    def __init__(self, make=lambda layer: None):
        super().__init__(3, 2)
        self.held = make(self)


def hooked_parameter():
    layer = nn.Linear(3, 2)
    layer.weight.register_hook(lambda gradient: gradient * 0)
    return layer


def hooked_layer():
    layer = nn.Linear(3, 2)
    layer.register_forward_hook(lambda *args: None)
    return layer


def normed():
    return weight_norm(nn.Linear(3, 2))


def frozen():
    return nn.Linear(3, 2).requires_grad_(False)


ALIKE = [
    partial(nn.Linear, 3, 2),
    lambda: nn.GRU(3, 2),
    lambda: nn.MultiheadAttention(4, 2),
    partial(Holding, lambda layer: [layer.weight, layer.bias]),
    partial(Holding, lambda layer: [layer, weakref.ref(layer)]),
    partial(Holding, lambda layer: {"activation": torch.tanh, "size": (1, 2.0, None)}),
    partial(Holding, lambda layer: [nn.ReLU()]),
    partial(Holding, lambda layer: partial(torch.relu)),
]
OTHERS = [
    lambda: nn.Linear(3, 2, bias=False),
    lambda: nn.Linear(2, 3),
    lambda: nn.Linear(3, 2).double(),
    lambda: nn.Linear(3, 2).eval(),
    frozen,
    lambda: nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.1)),
    lambda: nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.2)),
    partial(Holding, lambda layer: [layer.weight, layer.bias]),
    partial(Holding, lambda layer: [layer.bias, layer.weight]),
    partial(Holding, lambda layer: 1),
    partial(Holding, lambda layer: 1.0),
    partial(Holding, lambda layer: True),
]
UNLIKE = {
    "has hooks": [hooked_parameter, hooked_layer, normed],
    "not registered": [partial(Holding, lambda layer: [nn.Linear(2, 2)])],
    "Tensor": [partial(Holding, lambda layer: torch.zeros(2))],
    "object": [partial(Holding, lambda layer: object())],
}


@pytest.mark.parametrize("make", ALIKE)
def test_modules_made_the_same_way_are_alike(make):
    one, two = make(), make()
    assert fingerprint(one) == fingerprint(two)
    assert hash(fingerprint(one)) == hash(fingerprint(two))


def test_modules_made_otherwise_are_not():
    prints = [fingerprint(make()) for make in OTHERS]
    assert len(set(prints)) == len(prints)


@pytest.mark.parametrize("message", UNLIKE)
def test_what_cannot_be_compared(message):
    for make in UNLIKE[message]:
        with pytest.raises(NotStackable, match=message):
            fingerprint(make())


def set_attribute(layer):
    layer.held = 2


def write_in_a_list(layer):
    layer.held[1][0] = 2


def hook_a_layer(layer):
    layer.register_forward_hook(lambda *args: None)


def hook_a_parameter(layer):
    layer.weight.register_hook(lambda gradient: gradient)


def hook_after_accumulation(layer):
    layer.weight.register_post_accumulate_grad_hook(lambda parameter: None)


def freeze(layer):
    layer.bias.requires_grad_(False)


def replace_a_parameter(layer):
    layer.bias = nn.Parameter(torch.zeros(2))


def cast_in_place(layer):
    layer.weight.data = layer.weight.data.double()


def remove_a_parameter(layer):
    layer.bias = None


def add_a_layer(layer):
    layer.more = nn.ReLU()


def rename_an_attribute(layer):
    layer.other = layer.held
    del layer.held


def change_class(layer):
    layer.__class__ = nn.Linear


def change_mode(layer):
    layer.eval()


CHANGES = [
    set_attribute,
    write_in_a_list,
    hook_a_layer,
    hook_a_parameter,
    hook_after_accumulation,
    freeze,
    replace_a_parameter,
    cast_in_place,
    remove_a_parameter,
    add_a_layer,
    rename_an_attribute,
    change_class,
    change_mode,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_snapshot_holds_until_somebody_changes_the_module(change):
    layer = Holding(lambda layer: [1, [3, layer.weight], {}, torch.tanh, nn.Linear])
    module = nn.Sequential(layer, nn.ReLU(), nn.GRU(2, 2))
    snapshot = Snapshot(module)
    module(torch.zeros(4, 3))
    with torch.no_grad():
        layer.weight.add_(1)  # Values are no part of a fingerprint.
    assert snapshot.holds()
    hook_a_layer(nn.ReLU())  # Hooks of others change nothing.
    assert snapshot.holds()
    change(layer)
    assert not snapshot.holds()


@pytest.mark.parametrize("make", [object, set, lambda: torch.zeros(2), lambda: nn.Linear(2, 2)])
def test_where_something_may_change_unseen_a_snapshot_never_holds(make):
    assert not Snapshot(Holding(lambda layer: [make()])).holds()


def test_a_list_that_holds_itself_is_looked_at_once():
    layer = Holding(lambda layer: [1])
    layer.held.append(layer.held)
    assert Snapshot(layer).holds()
