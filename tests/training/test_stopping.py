"""When to stop, and which weights to keep."""

import math

import pytest
import torch
from torch import nn

from sktorch.training.stopping import BestWeights, Plateau
from tests.training.interrupting import interrupted_everywhere


def stopped_at(values, **settings):
    """Number of the epoch after which training stops, or None."""
    plateau = Plateau(**({"patience": 2, "tol": 0.0, "sign": 1} | settings))
    for epoch, value in enumerate(values, start=1):
        if plateau.update(value):
            return epoch
    return None


@pytest.mark.parametrize(
    ("values", "settings", "expected"),
    [
        ([1, 2, 3, 4], {}, None),
        ([1, 2, 2, 2, 5], {}, 4),
        ([1, 2, 1, 3, 2, 2.5], {}, 6),
        ([4, 3, 2, 1], {}, 3),
        ([4, 3, 2, 1], {"sign": -1}, None),
        ([4, 3, 3, 3], {"sign": -1}, 4),
        ([1, 1, 1], {"patience": 1}, 2),
        ([1, 1, 1, 1], {"patience": 3}, 4),
        ([1] * 50, {"patience": math.inf}, None),
        # By tol or less is no improvement, but the best moves along with small steps all the same.
        ([1, 1.5, 2], {"tol": 0.5}, 3),
        ([1, 1.75, 2.5], {"tol": 0.5}, None),
        ([1, 1.4, 1.8], {"tol": 0.5}, 3),
        ([1, 0, -1, -2], {"tol": -math.inf}, None),
        ([1, 0.75, 0.5], {"tol": -0.5}, None),
        ([1, 0.4, 0.4], {"tol": -0.5}, 3),
        ([math.inf, 5, 4], {"sign": -1}, None),
    ],
)
def test_plateau(values, settings, expected):
    assert stopped_at(values, **settings) == expected


def test_a_plateau_does_not_take_the_first_epoch_for_stale():
    assert not Plateau(1, 1e9, -1).update(123.0)


@pytest.fixture
def module():
    return nn.BatchNorm1d(2)


def set_all(module, value):
    with torch.no_grad():
        for tensor in module.state_dict().values():
            tensor.fill_(value)


@pytest.mark.parametrize(
    ("scores", "best"),
    [([0.1, 0.3, 0.2], 2), ([0.5, 0.5, 0.5], 1), ([-3, -2, -1], 3), ([0.0], 1), ([0, 1, 1, 0], 2)],
)
def test_the_earliest_best_weights_come_back_with_their_buffers(module, scores, best):
    kept = BestWeights()
    for epoch, score in enumerate(scores, start=1):
        set_all(module, epoch)
        kept.update(score, epoch, module)
    set_all(module, 99)
    assert (kept.epoch, kept.score) == (best, scores[best - 1])
    kept.restore(module)
    for name, tensor in module.state_dict().items():
        assert (tensor == best).all(), name


def test_nothing_is_best_at_first():
    assert BestWeights().epoch is None
    assert BestWeights().score == -math.inf


def test_kept_weights_can_be_restored_again(module):
    kept = BestWeights()
    set_all(module, 1)
    kept.update(1.0, 1, module)
    for _ in range(2):
        set_all(module, 5)
        kept.restore(module)
        assert (module.weight == 1).all()
        assert module.weight.requires_grad


def test_an_interrupt_leaves_the_old_best_whole_or_the_new_one(module):
    bests = []

    def update():
        kept = BestWeights()
        for epoch in (1, 2):
            set_all(module, epoch)
            bests[:] = [kept]
            kept.update(float(epoch), epoch, module)

    for _ in interrupted_everywhere(update, ("stopping.py",)):
        (kept,) = bests or [BestWeights()]
        if kept.epoch is None:
            continue
        assert kept.score == kept.epoch
        kept.restore(module)
        assert (module.weight == kept.epoch).all()
    assert bests[0].epoch == 2
