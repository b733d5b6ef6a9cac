"""The state of objects: what they keep from one epoch to the next, there and back."""

import math
import random
from collections import Counter, OrderedDict, deque

import numpy as np
import pytest
import torch
from torch import nn

from sktorch._object_state import (
    NotPlain,
    attributes_left_out,
    copied,
    decoded,
    encoded,
    restore,
    state_of,
)

PLAIN = {
    "scalars": [None, True, 3, 2**200, 0.1, math.inf, "text"],
    "numpy's": [np.float64(0.1), np.int8(3), np.bool_(True)],
    "arrays": [np.arange(3), torch.arange(3), torch.ones(2).bfloat16()],
    "containers": [(1, (2,)), {3}, frozenset({4}), deque([5]), [[6], ()]],
    "many integers": [tuple(range(1000)), tuple(range(2**70, 2**70 + 1000)), (True,) * 1000],
    "dicts": [{}, {"a": [1]}, {1: 2, None: (3,)}, Counter("aab"), OrderedDict(b=1, a=2)],
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_values_come_back(name):
    value = PLAIN[name]
    back = decoded(encoded(value))
    assert str(back) == str(value)
    assert [*map(type, back)] == [*map(type, value)]


@pytest.mark.parametrize("name", PLAIN)
def test_a_copy_is_equal(name):
    tree = encoded(PLAIN[name])
    assert str(copied(tree)) == str(tree)
    assert [*map(type, copied(tree))] == [*map(type, tree)]


def test_a_copy_shares_nothing_that_can_change():
    tensor, array, inner = torch.ones(2), np.ones(2), [1]
    tree = {"tensors": (tensor, array), "lists": [inner], "ordered": OrderedDict(a=tensor)}
    copy, before = copied(tree), str(tree)
    tensor[0], array[0] = 5, 5
    inner.append(2)
    assert str(copy) == before != str(tree)


@pytest.mark.parametrize(
    "value",
    [
        object(),
        len,
        {"a": [nn.Linear(1, 1)]},
        np.array([None]),
        torch.eye(2).to_sparse(),
        int,
        {"__kind__": 1},
    ],
    ids=["object", "function", "module", "objects", "sparse", "class", "own mark"],
)
def test_other_values_are_refused(value):
    with pytest.raises(NotPlain):
        encoded(value)


GENERATORS = {
    "torch": (torch.Generator, lambda g: torch.rand(3, generator=g).tolist()),
    "numpy": (np.random.default_rng, lambda g: g.random(3).tolist()),
    "numpy, old": (np.random.RandomState, lambda g: g.normal(size=3).tolist()),
    "Python": (random.Random, lambda g: [g.gauss(0, 1) for _ in range(3)]),
}


@pytest.mark.parametrize("name", GENERATORS)
def test_generators_go_on(name):
    make, draw = GENERATORS[name]
    one, other = make(), make()
    draw(one)
    state = state_of(one)
    restore(other, state)
    assert draw(other) == draw(one)


class Holder:
    def __init__(self):
        self.count, self.data, self.log, self.rest = 0, np.zeros(2), [], object()
        self.generator, self.layer = random.Random(), nn.Linear(1, 1)


def test_attributes_come_back_in_the_same_containers():
    one, other = Holder(), Holder()
    one.count, one.data, one.late = 3, np.ones(2), {"a": 1}
    one.log += [1, 2]
    log, rest = other.log, other.rest
    restore(other, state_of(one))
    assert (other.count, other.late, other.data.tolist()) == (3, {"a": 1}, [1, 1])
    assert other.log is log == [1, 2]
    assert other.rest is rest
    assert other.generator.random() == one.generator.random()
    assert torch.equal(other.layer.weight, one.layer.weight)
    assert [name for name, _ in attributes_left_out(one)] == ["rest"]


def test_of_data_only_numbers_and_generators_count():
    assert state_of(Holder(), is_data=True).keys() == {"count", "generator"}


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight, self.frozen = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
        self.register_buffer("unsaved", torch.zeros(2), persistent=False)
        self.hidden, self.n_calls, self.extra = torch.zeros(1), 0, []
        self.counts, self.parts = {}, [self.weight, self.unsaved]

    def get_extra_state(self):
        return self.extra

    def set_extra_state(self, state):
        self.extra = state


def test_a_layers_tensors_attributes_and_extra_state():
    one, other = Layer(), Layer()
    with torch.no_grad():
        for tensor in (one.weight, one.frozen, one.unsaved):
            tensor += 1
    one.frozen.requires_grad_(False)
    one.counts[3] = 2
    one.hidden, one.n_calls, one.extra = torch.ones(3), 4, [(1, 2)]
    weight = other.weight
    restore(other, state_of(one))
    assert other.weight is weight
    assert other.weight.tolist() == other.frozen.tolist() == other.unsaved.tolist() == [1, 1]
    assert (other.weight.requires_grad, other.frozen.requires_grad) == (True, False)
    assert other.counts == {3: 2}
    assert other.parts[0] is weight
    assert other.parts[1] is other.unsaved
    assert (other.hidden.tolist(), other.n_calls, other.extra) == ([1, 1, 1], 4, [(1, 2)])


def test_a_layer_of_another_shape_is_told():
    with pytest.raises(ValueError, match="a Linear has other parameters or buffers"):
        restore(nn.Linear(2, 1), state_of(nn.Linear(1, 1)))


def test_what_has_gone_is_told():
    one, other = Holder(), Holder()
    other.layer = None
    with pytest.raises(ValueError, match="NoneType has no state_dict to restore"):
        restore(other, state_of(one))


def test_a_schedule_is_restored_without_its_functions():
    def make():
        optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
        schedules = [
            torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.9**epoch),
            torch.optim.lr_scheduler.MultiStepLR(optimizer, [1, 4]),
        ]
        return optimizer, torch.optim.lr_scheduler.SequentialLR(optimizer, schedules, [3])

    (optimizer, schedule), (other_optimizer, other) = make(), make()

    def rates(optimizer, schedule):
        return [(optimizer.step(), schedule.step(), schedule.get_last_lr())[2] for _ in range(6)]

    rates(optimizer, schedule)
    restore(other_optimizer, state_of(optimizer))
    restore(other, state_of(schedule))
    assert rates(other_optimizer, other) == rates(optimizer, schedule)
