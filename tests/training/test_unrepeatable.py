"""What can't be repeated stays eager, for a named reason, and gives what it gives eagerly."""

import random
import re
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from sktorch.training.programs import program_of
from tests.training.readers import READERS, Inherits, Reads
from tests.training.replays import (
    assert_same_bits,
    assert_trains_alike,
    decide_without_clock,
    in_batches,
    in_blocks,
    table,
    trained,
)
from tests.training.unrepeatable import REASONS, HooksAnActivation, Net


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, fused=True)


def adam(parameters):
    return torch.optim.Adam(parameters, lr=0.05, fused=True)


@pytest.fixture(autouse=True)
def without_clock(monkeypatch):
    decide_without_clock(monkeypatch)
    program_of.cache_clear()
    yield
    program_of.cache_clear()


class Seeded:
    """A module's class; numpy and Python are seeded when one is made."""

    def __init__(self, make):
        self.make = make

    def __call__(self):
        np.random.seed(0)
        random.seed(0)
        return self.make()


@pytest.mark.parametrize(("accumulate", "rows"), [(1, in_batches), (3, in_batches), (1, in_blocks)])
@pytest.mark.parametrize("module", REASONS, ids=lambda module: module.__name__)
def test_a_module_gives_what_it_gives_eagerly(module, accumulate, rows):
    """In a second fit, too, which finds what the first has learned of the kind."""
    make_optimizer = adam if "Sparse" not in module.__name__ else lambda p: torch.optim.SGD(p, 0.1)
    for _ in range(2):
        training = assert_trains_alike(
            Seeded(module),
            lambda: rows(*table()),
            make_optimizer=make_optimizer,
            gradient_accumulation=accumulate,
        )
        reason = training.engine.eager_reason
        if REASONS[module] is None:
            assert reason is None
            assert training.n_replays
        elif accumulate == 1 and "train other" not in REASONS[module]:
            assert reason is not None
            assert re.match(REASONS[module], reason)


def set_rate(owner, name, value):
    if isinstance(owner, dict | list):
        owner[name] = value
    else:
        setattr(owner, name, value)


@pytest.fixture(params=READERS)
def reader(request):
    read, owner, name = READERS[request.param]
    yield read, owner, name
    if request.param == "hidden base":
        del Inherits.rate
    elif owner is not None:
        set_rate(owner, name, 1.0)


def test_what_changes_between_epochs(reader):
    read, owner, name = reader

    def change(epoch, module, optimizer):
        set_rate(module if owner is None else owner, name, 1.0 if epoch < 3 else 0.5)

    for _ in range(2):
        assert_trains_alike(lambda: Reads(read), before_epoch=change)


class Changing:
    """Batches between which code of the user changes what a module reads, as a dataset's may."""

    def __init__(self, owner, name):
        self.batches, self.owner, self.name = in_batches(*table()), owner, name

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        for number, batch in enumerate(self.batches):
            set_rate(self.owner, self.name, 0.5 if number == 2 else 1.0)
            yield batch


@pytest.mark.parametrize("name", ["global", "class", "other file", "closure"])
def test_what_changes_between_batches(name):
    read, *place = READERS[name]
    assert_trains_alike(lambda: Reads(read), lambda: Changing(*place))


def freeze(module, optimizer):
    module.first.requires_grad_(False)


def give_other_memory(module, optimizer):
    for parameter in module.parameters():
        parameter.data = parameter.data.clone()


def give_the_state_other_memory(module, optimizer):
    for state in optimizer.state.values():
        for value in state.values():
            value.data = value.data.clone()


def load_state_twice(module, optimizer):
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.load_state_dict(optimizer.state_dict())


def forget_the_state(module, optimizer):
    optimizer.state.clear()


def change_the_lr(module, optimizer):
    optimizer.param_groups[0]["lr"] = 0.3


def decay(module, optimizer):
    optimizer.param_groups[0]["weight_decay"] = 0.3


def reset_weights(module, optimizer):
    with torch.no_grad():
        module.last.weight.fill_(0.1)


def replace_a_layer(module, optimizer):
    torch.manual_seed(9)
    module.last = nn.Linear(8, 3)
    optimizer.state.clear()
    optimizer.param_groups[0]["params"] = [*module.parameters()]


def add_a_group(module, optimizer):
    extra = nn.Parameter(torch.ones(3))
    module.last.register_parameter("extra", extra)
    optimizer.add_param_group({"params": [extra], "lr": 0.5})


def hook_the_optimizer(module, optimizer):
    def halve(*args):
        for parameter in module.parameters():
            parameter.grad = parameter.grad / 2

    optimizer.register_step_pre_hook(halve)


def hook_a_layer(module, optimizer):
    module.first.register_forward_pre_hook(lambda layer, args: (2 * args[0],))


def hook_all_gradients(module, optimizer):
    def negate(parameter):
        parameter.grad.neg_()

    module.last.bias.register_post_accumulate_grad_hook(negate)


def replace_forward(module, optimizer):
    module.between = lambda hidden: 2 * hidden


def change_the_class(module, optimizer):
    module.__class__ = HooksAnActivation


def drop_out_more(module, optimizer):
    module.dropout.p = 0.9


class DropsOut(Net):
    def between(self, hidden):
        return self.dropout(hidden)


CHANGES = [
    freeze,
    give_other_memory,
    give_the_state_other_memory,
    load_state_twice,
    forget_the_state,
    change_the_lr,
    decay,
    reset_weights,
    replace_a_layer,
    add_a_group,
    hook_the_optimizer,
    hook_a_layer,
    hook_all_gradients,
    replace_forward,
    change_the_class,
    drop_out_more,
]


@pytest.mark.parametrize(
    ("change", "make_optimizer", "rows"),
    [*product(CHANGES, [sgd, adam], [in_batches, in_blocks])],
    ids=lambda f: f.__name__,
)
def test_what_callbacks_change(change, make_optimizer, rows):
    def before_epoch(epoch, module, optimizer):
        if epoch == 3:
            change(module, optimizer)

    assert_trains_alike(
        DropsOut,
        lambda: rows(*table()),
        before_epoch=before_epoch,
        make_optimizer=make_optimizer,
        gradient_clip=0.5,
    )


@pytest.fixture
def handles():
    """Handles of hooks, which are removed."""
    kept = []
    yield kept
    for handle in kept:
        handle.remove()


@pytest.mark.parametrize("rows", [in_batches, in_blocks])
def test_hooks_of_all_modules(rows, handles):
    def double(layer, args, output):
        return 2 * output if isinstance(layer, nn.Linear) else None

    def before_epoch(epoch, module, optimizer):
        if epoch == 2:
            handles.append(nn.modules.module.register_module_forward_hook(double))
        if epoch == 4:
            handles.pop().remove()

    assert_trains_alike(Net, lambda: rows(*table()), before_epoch=before_epoch)


class CountsItsSteps(torch.optim.SGD):
    """Keeps a number of Python."""

    n_steps = 0

    def step(self, closure=None):
        self.n_steps += 1
        for group in self.param_groups:
            group["lr"] = 0.1 / self.n_steps
        return super().step(closure)


class CountsItsZeros(torch.optim.SGD):
    """Does more than it says."""

    n_zeros = 0

    def zero_grad(self, set_to_none=True):
        self.n_zeros += 1
        for group in self.param_groups:
            group["lr"] = 0.1 / self.n_zeros
        return super().zero_grad(set_to_none)


@pytest.mark.parametrize("kind", [CountsItsSteps, CountsItsZeros])
def test_optimizers_of_others(kind):
    assert_trains_alike(Net, make_optimizer=lambda p: kind(p, lr=0.1))


class ZeroAtFirst(nn.Module):
    """Divides by the number of rows; of a margin that is met, nothing shows."""

    def forward(self, output, y):
        return nn.functional.multi_margin_loss(output, y, reduction="sum") / len(y)


def test_a_trial_in_which_nothing_shows():
    X, _ = table()
    X[24:] *= 1e5  # the last, short batch, that is classified well until the weights turn
    with torch.random.fork_rng():
        torch.manual_seed(0)
        y = nn.Linear(4, 3)(X).argmax(dim=1)

    def turn(epoch, module, optimizer):
        if epoch == 3:
            with torch.no_grad():
                module.weight.neg_()

    assert_trains_alike(
        lambda: nn.Linear(4, 3),
        lambda: in_batches(X, y),
        make_criterion=ZeroAtFirst,
        make_optimizer=lambda p: torch.optim.SGD(p, lr=1e-6),
        before_epoch=turn,
    )


@pytest.mark.parametrize("make_module", [lambda: nn.Linear(4, 3), DropsOut])
def test_a_training_that_diverges_does_not_spoil_the_next(make_module):
    diverged = assert_trains_alike(
        make_module, make_optimizer=lambda p: torch.optim.SGD(p, float("inf"))
    )
    assert diverged.losses[-1] != diverged.losses[-1]
    training = assert_trains_alike(make_module, make_optimizer=adam)
    assert training.engine.eager_reason is None


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
def test_batches_that_are_not_dense():
    def sparse():
        return [(X.to_sparse_csr(), y, w) for X, y, w in in_batches(*table())]

    training = assert_trains_alike(lambda: nn.Linear(4, 3), sparse)
    assert training.engine.eager_reason == "a batch holds something else than dense tensors"


def test_the_settings_of_torch_belong_to_a_kind():
    def make():
        return nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3))

    assert_trains_alike(make)
    with torch.autocast("cpu", torch.bfloat16):
        assert_trains_alike(make)
    assert assert_trains_alike(make).engine.eager_reason is None


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, one, two):
        return self.one(one) - self.two(two)


def test_the_order_of_inputs_belongs_to_a_kind():
    X, y = table()
    for inputs in ({"one": X, "two": 2 * X}, {"two": 2 * X, "one": X}, (X, 2 * X)):
        training = assert_trains_alike(Two, lambda: in_batches(inputs, y))  # noqa: B023
        assert training.engine.eager_reason is None


def test_a_redefined_class_is_another_kind():
    def define(factor):
        class Defined(Net):
            def between(self, hidden):
                return hidden * factor

        return Defined

    first, second = (trained(define(factor), replayed=True) for factor in (1.0, 2.0))
    expected = trained(define(2.0), replayed=False)
    assert first.losses != second.losses
    assert_same_bits(second.tensors, expected.tensors)
