"""Clipping, accumulation and precision, each against the lines of a hand-written step."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from sktorch.training.loop import train_epoch
from sktorch.training.losses import LossFunction
from sktorch.training.precision import Precision
from sktorch.training.step import ClosureStep, TrainStep, demands_closure, make_step

LOSS = LossFunction(nn.CrossEntropyLoss())


def make_module(dtype=torch.float64):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3)).to(dtype)


def make_data(n_rows=24, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    X = torch.randn(n_rows, 4, generator=generator, dtype=dtype)
    return X, torch.randint(3, (n_rows,), generator=generator)


def sgd(module):
    return torch.optim.SGD(module.parameters(), lr=0.5)


def assert_same(one, other, **tolerance):
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, **tolerance)


def test_clipping_is_that_of_torch():
    module, (X, y) = make_module(), make_data()
    by_hand = copy.deepcopy(module)
    optimizer = sgd(by_hand)
    nn.functional.cross_entropy(by_hand(X), y).backward()
    norm = nn.utils.clip_grad_norm_(by_hand.parameters(), 0.01)
    optimizer.step()
    assert norm > 0.01, "something was clipped"

    make_step(module, LOSS, sgd(module), clip_norm=0.01)((X, y, None))
    assert_same(module, by_hand, rtol=0, atol=0)


def test_accumulated_batches_are_one_large_batch():
    module, (X, y) = make_module(), make_data()
    whole = copy.deepcopy(module)
    make_step(whole, LOSS, sgd(whole))((X, y, None))

    batches = [(X[i : i + 8], y[i : i + 8], None) for i in (0, 8, 16)]
    losses, sizes = train_epoch(module, make_step(module, LOSS, sgd(module)), batches, accumulate=3)
    assert sizes == [8, 8, 8]
    expected = [nn.functional.cross_entropy(make_module()(X), y).item() for X, y, _ in batches]
    assert losses == pytest.approx(expected), "all three losses are those of before the step"
    assert_same(module, whole)


def test_a_shorter_last_group_is_averaged_over_its_own_number():
    module, (X, y) = make_module(), make_data()
    by_hand = copy.deepcopy(module)
    step = make_step(by_hand, LOSS, sgd(by_hand))
    step((X[:16], y[:16], None))
    step((X[16:], y[16:], None))

    batches = [(X[i : i + 8], y[i : i + 8], None) for i in (0, 8, 16)]
    train_epoch(module, make_step(module, LOSS, sgd(module)), batches, accumulate=2)
    assert_same(module, by_hand)


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_half_precision_is_autocast_with_a_scaler(name):
    module, (X, y) = make_module(torch.float32), make_data(dtype=torch.float32)
    by_hand = copy.deepcopy(module)
    optimizer, dtype = sgd(by_hand), getattr(torch, name)
    scaler = torch.amp.GradScaler("cpu", enabled=name == "float16")
    step = make_step(module, LOSS, sgd(module), precision=Precision.named(name, "cpu"))
    for _ in range(3):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=dtype):
            output = by_hand(X)
            loss = nn.functional.cross_entropy(output, y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        got, got_output = step((X, y, None))
        assert got == loss
        assert got_output.dtype is dtype
    assert_same(module, by_hand, rtol=0, atol=0)
    assert next(module.parameters()).dtype is torch.float32


def test_float16_is_clipped_after_the_scale_is_taken_out():
    module, (X, y) = make_module(torch.float32), make_data(dtype=torch.float32)
    before = copy.deepcopy(module)
    precision = Precision.named("float16", "cpu")
    make_step(module, LOSS, sgd(module), precision=precision, clip_norm=1e-3)((X, y, None))
    moved = [a - b for a, b in zip(module.parameters(), before.parameters(), strict=True)]
    assert torch.cat([m.flatten() for m in moved]).norm().item() == pytest.approx(
        0.5 * 1e-3, rel=1e-3
    )


def test_a_closure_sees_clipped_gradients():
    module, (X, y) = make_module(), make_data()
    norms = []

    class Watching(torch.optim.SGD):
        def step(self, closure):
            closure()
            gradients = [p.grad.flatten() for p in module.parameters()]
            norms.append(torch.cat(gradients).norm().item())
            super().step()

    step = make_step(module, LOSS, Watching(module.parameters(), lr=0.1), clip_norm=0.01)
    assert isinstance(step, ClosureStep)
    step((X, y, None))
    assert norms == [pytest.approx(0.01, rel=1e-3)]


def test_which_step_an_optimizer_gets():
    assert demands_closure(torch.optim.LBFGS)
    assert not demands_closure(torch.optim.AdamW)
    module = make_module()
    assert type(make_step(module, LOSS, sgd(module))) is TrainStep
    lbfgs = partial(torch.optim.LBFGS, max_iter=2)
    assert type(make_step(module, LOSS, lbfgs(module.parameters()))) is ClosureStep


def test_tf32_is_a_setting_that_is_restored():
    before = torch.get_float32_matmul_precision()
    with Precision.named("tf32", "cuda").autocast():
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == before
