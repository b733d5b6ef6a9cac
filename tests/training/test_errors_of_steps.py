"""An error is the eager step's own, whether a step is recorded, tried or replayed."""

import pytest
import torch
from torch import nn

from sktorch.training.programs import program_of
from tests.training.replays import decide_without_clock, in_batches, table, trained
from tests.training.unrepeatable import Net


@pytest.fixture(autouse=True)
def without_clock(monkeypatch):
    decide_without_clock(monkeypatch)
    program_of.cache_clear()
    yield
    program_of.cache_clear()


def out_of_range(X, y):
    return X, torch.full_like(y, 3)


def too_wide(X, y):
    return X.repeat(1, 2), y


@pytest.mark.parametrize("damage", [out_of_range, too_wide])
@pytest.mark.parametrize("position", [0, 1, 2, 5])
def test_errors_are_the_eager_ones(damage, position):
    """At whatever batch: an eager one, that which is recorded or tried, or a replayed one."""
    batches = in_batches(*table(64))
    X, y, _ = batches[position]
    damaged = [*batches[:position], (*damage(X, y), None), *batches[position + 1 :]]
    trained(lambda: nn.Linear(4, 3), replayed=True, batches=batches)  # so that one is known
    errors = []
    for replayed in (False, True, True):
        with pytest.raises((IndexError, RuntimeError)) as caught:
            trained(lambda: nn.Linear(4, 3), replayed=replayed, batches=damaged, n_epochs=1)
        errors.append((caught.type, str(caught.value)))
        program_of.cache_clear()
    assert len({*errors}) == 1


class Constant(nn.Module):
    def forward(self, output, y):
        return output.detach().mean()


def test_a_loss_without_gradients():
    with pytest.raises(RuntimeError, match="does not require grad"):
        trained(Net, replayed=True, make_criterion=Constant)
