"""Tensors of several sizes in one stack, and models of several sizes trained in it."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from sktorch.fused import fuser as fuser_module
from sktorch.fused import trial
from sktorch.fused.fuser import Fuser
from sktorch.fused.padding import corner, largest, n_elements, padding_mask, stack_into, stacked
from tests.fused.epochs import model_of, task_of
from tests.fused.training import (
    OPTIMIZERS,
    Recurrent,
    X,
    assert_same_training,
    batches_of,
    train_alone,
    train_together,
)

SMALL, LARGE = torch.ones(2, 3), torch.full((4, 2), 2.0)


def test_the_largest_shapes_have_room_for_both():
    shapes = (("weight", (2, 3)), ("bias", (2,)))
    others = (("weight", (4, 2)), ("bias", (4,)))
    assert largest(shapes, others) == (("weight", (4, 3)), ("bias", (4,)))
    assert n_elements(shapes) == 8


def test_tensors_stand_in_corners_beside_zeros():
    rows = stacked([SMALL, LARGE], (4, 3))
    assert torch.equal(corner(rows[0], SMALL.shape), SMALL)
    assert torch.equal(corner(rows[1], LARGE.shape), LARGE)
    assert rows.sum() == SMALL.sum() + LARGE.sum()
    stack_into(rows, [SMALL + 1])
    assert rows[0].sum() == 12
    assert torch.equal(corner(rows[1], LARGE.shape), LARGE)


def test_masks_have_zeros_in_the_padding():
    rows = stacked([SMALL, LARGE, SMALL], (4, 3))
    assert padding_mask(rows, [(2, 3), (4, 2)]).sum((1, 2)).tolist() == [6, 8, 6]
    assert padding_mask(torch.stack([SMALL, SMALL]), [(2, 3)] * 2) is None


def mlp(width, activation, *norm, dropout=0.0):
    norms = [layer(width) for layer in norm]
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(16, width),
        *norms,
        activation(),
        *([nn.Dropout(dropout)] if dropout else []),
        nn.Linear(width, width + 1),
        activation(),
        nn.Linear(width + 1, 3),
    )


class Grouped(nn.Module):
    """Has a number that changes what is computed, but looks like a size."""

    def __init__(self, width):
        super().__init__()
        self.n_used = width
        self.first, self.second = nn.Linear(16, 8), nn.Linear(8, width)
        self.head = nn.Linear(8, 3)

    def forward(self, X):
        return self.head(self.first(X.flatten(1)).relu()) / self.n_used + self.second.weight.mean()


class Looking(nn.Module):
    """Looks up rows of a table, of which it may have too few."""

    def __init__(self, width):
        super().__init__()
        self.table, self.head = nn.Embedding(width, 4), nn.Linear(64, 3)

    def forward(self, X):
        return self.head(self.table(X.flatten(1).long().abs().clamp(max=2)).flatten(1))


class Gated(nn.Module):
    """Its first step is the same whatever its second branch computes."""

    def __init__(self, width):
        super().__init__()
        self.first, self.hidden = nn.Linear(16, 16), nn.Linear(16, width)
        self.second, self.head = nn.Linear(width, 16), nn.Linear(16, 3)
        self.gate = nn.Parameter(torch.zeros(()))
        nn.init.zeros_(self.head.weight)

    def forward(self, X):
        X = self.first(X.flatten(1))
        return self.head(X + self.gate * self.second(self.hidden(X).softmax(1)))


class Largest(nn.Module):
    """Passes on the largest of its units, which are all positive at first."""

    def __init__(self, width):
        super().__init__()
        self.hidden, self.head = nn.Linear(16, width), nn.Linear(1, 3)
        nn.init.constant_(self.hidden.bias, 3.0)

    def forward(self, X):
        return self.head(self.hidden(X.flatten(1)).amax(1, keepdim=True))


class Recurring(Recurrent):
    def __init__(self, width):
        super().__init__()
        self.cell, self.head = nn.GRU(4, width, batch_first=True), nn.Linear(width, 3)


@pytest.fixture
def always_worth(monkeypatch):
    monkeypatch.setattr(trial, "MAX_TIME_RATIO", float("inf"))
    monkeypatch.setattr(trial, "MAX_ALONE_SECONDS", float("inf"))


def lines_of_widths(make, optimizer="adam", n_models=8, **settings):
    """Train models of alternating widths together and alone; return what is reported."""
    widths = iter([5, 8, 6, 5, 8, 6, 7, 5, 8] * 2)  # also those of a copy

    def of_next_width():
        return make(next(widths))

    batches = [batches_of(number, 30, 12) for number in range(n_models)]
    return "\n".join(
        assert_same_training(of_next_width, OPTIMIZERS[optimizer], batches, **settings)[0]
    )


@pytest.mark.usefixtures("always_worth")
@pytest.mark.parametrize(
    ("make", "is_padded"),
    [
        (partial(mlp, activation=nn.ReLU), True),
        (partial(mlp, activation=nn.SiLU), True),
        (partial(mlp, activation=nn.Tanh), True),
        (partial(mlp, activation=nn.Sigmoid), True),  # gradients in the padding are masked
        (lambda width: mlp(width, nn.GELU, nn.BatchNorm1d), True),
        (lambda width: mlp(width, nn.Sigmoid, nn.BatchNorm1d), True),
        (lambda width: mlp(width, nn.ReLU, nn.LayerNorm), False),
        (lambda width: mlp(width, partial(nn.Softmax, 1)), False),
        (Grouped, False),
        (Looking, False),
        (Recurring, False),
        (Gated, False),
        (Largest, False),
    ],
    ids=[
        *("relu", "silu", "tanh", "sigmoid", "norm", "sigmoid-norm"),
        *("layer-norm", "softmax", "number", "table", "gru", "gate", "largest"),
    ],
)
def test_models_of_several_widths_are_those_trained_alone(make, is_padded):
    lines = lines_of_widths(make)
    assert ("train padded together" in lines) == (is_padded), lines
    assert ("not padded: " in lines) == (not is_padded), lines
    assert "after an error" not in lines


@pytest.mark.usefixtures("always_worth")
@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "lbfgs"])
def test_any_optimizer_leaves_the_padding_at_zero(name):
    lines = lines_of_widths(partial(mlp, activation=nn.Sigmoid), name, clip_norm=None)
    assert "train padded together" in lines


@pytest.mark.usefixtures("always_worth")
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Sigmoid])  # of Sigmoid padding has gradients
@pytest.mark.parametrize("clip_norm", [0.1, 0.5])
def test_the_norm_of_gradients_is_that_of_the_own_ones(activation, clip_norm):
    make = partial(mlp, activation=activation)
    assert "padded together" in lines_of_widths(make, clip_norm=clip_norm)


@pytest.mark.usefixtures("always_worth")
@pytest.mark.parametrize("eps", [0.0, 1e-320])
def test_gradients_of_zero_without_an_epsilon_would_be_nan(monkeypatch, eps):
    monkeypatch.setitem(OPTIMIZERS, "bare", lambda p, lr: torch.optim.Adam(p, lr, eps=eps))
    assert "padded" not in lines_of_widths(partial(mlp, activation=nn.Tanh), "bare")


@pytest.mark.usefixtures("always_worth")
def test_states_of_optimizers_have_the_own_sizes():
    widths = iter([5, 8, 6] * 4)
    batches = [batches_of(number, 30, 12) for number in range(6)]
    _, own, alone = assert_same_training(
        lambda: mlp(next(widths), nn.ReLU), OPTIMIZERS["amsgrad"], batches
    )
    for first, second in zip(own, alone, strict=True):
        states = first.state_dict()["state"], second.state_dict()["state"]
        torch.testing.assert_close(*states, rtol=1e-7, atol=1e-9)
        tensors = [t for state in first.state.values() for t in state.values()]
        assert all(t.untyped_storage().nbytes() == t.nbytes for t in tensors)


@pytest.mark.usefixtures("always_worth")
def test_an_evaluation_gives_the_outputs_of_each_model():
    torch.manual_seed(0)
    modules = [mlp(width, nn.ReLU, nn.BatchNorm1d).double() for width in (5, 8, 6, 5)]
    lines, drawn = [], [batches_of(0, 30, 12, shuffle=False)] * 4
    tasks = [task_of(model_of(m), b.epoch()) for m, b in zip(modules, drawn, strict=True)]
    Fuser(1, lines.append).run(tasks)
    assert "evaluate padded together" in lines[0]
    for task, module in zip(tasks, modules, strict=True):
        torch.testing.assert_close(torch.cat(task.outputs), module(X[:30]), rtol=1e-9, atol=1e-9)


@pytest.mark.usefixtures("always_worth")
@pytest.mark.parametrize("norm", [(), (nn.LayerNorm,)])
def test_dropout_is_left_out_where_sizes_are_compared(norm):
    torch.manual_seed(0)
    modules = [mlp(width, nn.ReLU, *norm, dropout=0.5).double() for width in (5, 8, 6, 5)]
    optimizers = [torch.optim.Adam(m.parameters()) for m in modules]
    lines, batches = [], [batches_of(0, 30, 12)] * 4
    criteria = [nn.CrossEntropyLoss()] * 4
    train_together(modules, criteria, optimizers, batches, 2, fuser=Fuser(1, lines.append))
    assert ("train padded together" in lines[0]) == (not norm)


@pytest.mark.usefixtures("always_worth")
def test_sizes_that_come_later_are_tried_and_use_the_program(monkeypatch):
    made, make = [], fuser_module.make_program
    monkeypatch.setattr(
        fuser_module, "make_program", lambda *args: made.append(args[0]) or make(*args)
    )
    fuser = Fuser(1)
    for widths in ((8, 5, 6, 8), (7, 8, 5, 8)):
        modules = [mlp(width, nn.ReLU).double() for width in widths]
        alone = copy.deepcopy(modules)
        parts = [
            ([nn.CrossEntropyLoss()] * 4, [torch.optim.SGD(m.parameters(), 0.1) for m in ms])
            for ms in (modules, alone)
        ]
        batches = [batches_of(number, 30, 10) for number in range(4)]
        losses = train_together(modules, *parts[0], batches, 2, fuser=fuser)
        expected = train_alone(alone, *parts[1], batches, 2)
        for got, wanted in zip(losses, expected, strict=True):
            assert got == pytest.approx(wanted, rel=1e-9)
    assert [len(tasks) for tasks in made] == [4, 2], "of all, and of those that stop later"
