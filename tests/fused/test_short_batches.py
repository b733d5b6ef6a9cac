"""Short batches filled up with rows of weight zero, and who must not see such rows."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sktorch.fused import fuser as fuser_module
from sktorch.fused import trial
from sktorch.fused.fuser import Fuser
from sktorch.fused.short_batches import filled_size, filled_up
from tests.fused.training import (
    MODULES,
    OPTIMIZERS,
    Attending,
    Normed,
    assert_same_training,
    batches_of,
    mlp,
    train_together,
)

pytestmark = pytest.mark.usefixtures("no_step_is_large")


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [([12, 12, 5], 12), ([12, 12], 12), ([5], 32), ([32], 32), ([33], 64)],
)
def test_filled_size(sizes, expected):
    assert filled_size(sizes) == expected


@pytest.mark.parametrize("n_rows", [3, 4, 8])
def test_the_mean_loss_stays(n_rows):
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(2, 3, 4, generator=generator, dtype=torch.float64)
    y = torch.randint(4, (2, 3), generator=generator)
    weights = torch.rand(2, 3, generator=generator, dtype=torch.float64)
    inputs, targets, filled = filled_up([{"a": X}, y, weights], n_rows)
    assert inputs["a"].shape == (2, n_rows, 4)
    assert filled.dtype == weights.dtype
    torch.testing.assert_close(inputs["a"][:, :3], X, rtol=0, atol=0)

    def losses(X, y, weights):
        return [
            (F.cross_entropy(*rows, reduction="none") * w).mean()
            for *rows, w in zip(X, y, weights, strict=True)
        ]

    torch.testing.assert_close(losses(inputs["a"], targets, filled), losses(X, y, weights))


@pytest.fixture
def made(monkeypatch):
    """Return a list of the programs that are made, whatever time they take."""
    programs, make = [], fuser_module.make_program
    monkeypatch.setattr(trial, "MAX_TIME_RATIO", float("inf"))

    def making(*args):
        programs.append(make(*args))
        return programs[-1]

    monkeypatch.setattr(fuser_module, "make_program", making)
    return programs


def weighted(sizes, batch_size):
    weights = torch.rand(60, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    return [batches_of(n, size, batch_size, weights=weights) for n, size in enumerate(sizes)]


@pytest.mark.parametrize("sizes", [[34, 35, 28, 26], [6, 7, 9, 10]], ids=["several", "one_batch"])
@pytest.mark.parametrize(
    ("make", "fills_up"),
    [(mlp, True), (Attending, True), (Normed, False)],
    ids=["mlp", "attention", "batch_norm"],
)
def test_members_with_rows_of_their_own_are_one_stack(make, fills_up, sizes, made):
    assert_same_training(make, OPTIMIZERS["adam"], weighted(sizes, 12), clip_norm=0.1)
    assert made[0].takes_filled_up == fills_up
    if fills_up:
        assert len(made) <= 2, "of all four models, and of the two that train an epoch more"


def test_masks_are_no_reason_to_depend_on_other_rows(made):
    modules = [nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.Dropout()).double() for _ in "123"]
    optimizers = [torch.optim.Adam(m.parameters()) for m in modules]
    criteria = [nn.CrossEntropyLoss()] * 3
    train_together(modules, criteria, optimizers, weighted([30, 31, 32], 12), 1, fuser=Fuser(1))
    assert made[0].takes_filled_up


def test_without_weights_lengths_stay(made):
    batches = [batches_of(number, 30 + number % 2, 12) for number in range(4)]
    assert_same_training(mlp, OPTIMIZERS["adam"], batches)
    assert not any(program.takes_filled_up for program in made)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(["mlp", "normed", "tied", "attention", "gru"]),
    optimizer=st.sampled_from(["adam", "momentum", "adamw", "rmsprop"]),
    sizes=st.lists(st.integers(1, 40), min_size=2, max_size=7),
    batch_size=st.integers(3, 50),
)
def test_any_mixture(name, optimizer, sizes, batch_size):
    sizes = [size + (size % batch_size == 1) for size in sizes]  # Batch norm takes no single row.
    batches = weighted(sizes, batch_size)
    assert_same_training(MODULES[name], OPTIMIZERS[optimizer], batches, n_epochs=2)
