"""Tensors of several sizes in one stack, and models of several sizes trained in it."""

from functools import partial

import pytest
import torch
from torch import nn

from sktorch.fused import trial
from sktorch.fused.padding import corner, largest, n_elements, padding_mask, stack_into, stacked
from tests.fused.training import (
    OPTIMIZERS,
    Attending,
    Recurrent,
    assert_same_training,
    batches_of,
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
        (lambda width: Attending() if width < 8 else Attending(), None),
        (Grouped, False),
        (Looking, False),
        (Recurring, False),
    ],
    ids="relu silu tanh sigmoid norm sigmoid-norm layer-norm softmax same number table gru".split(),
)
def test_models_of_several_widths_are_those_trained_alone(make, is_padded):
    lines = lines_of_widths(make)
    assert ("train padded together" in lines) == (is_padded is True), lines
    assert ("not padded: " in lines) == (is_padded is False), lines
    assert "after an error" not in lines


@pytest.mark.usefixtures("always_worth")
@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "lbfgs"])
def test_any_optimizer_leaves_the_padding_at_zero(name):
    lines = lines_of_widths(partial(mlp, activation=nn.Sigmoid), name, clip_norm=None)
    assert "train padded together" in lines


@pytest.mark.usefixtures("always_worth")
def test_the_norm_of_gradients_is_that_of_the_own_ones():
    assert "padded together" in lines_of_widths(partial(mlp, activation=nn.ReLU), clip_norm=0.1)


@pytest.mark.usefixtures("always_worth")
def test_gradients_of_zero_without_an_epsilon_would_be_nan(monkeypatch):
    monkeypatch.setitem(OPTIMIZERS, "bare", lambda p, lr: torch.optim.Adam(p, lr, eps=0.0))
    assert "padded" not in lines_of_widths(partial(mlp, activation=nn.Tanh), "bare")
