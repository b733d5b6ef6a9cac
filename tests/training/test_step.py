"""Clipping, accumulation and precision, each against the lines of a hand-written step."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from sktorch.losses.adapters import LossFunction
from sktorch.training.loop import TrainStep, train_epoch
from sktorch.training.objective import Objective, loss_and_gradients
from sktorch.training.precision import Precision
from sktorch.training.step import ClosureStep, demands_closure, make_step

LOSS = LossFunction(nn.CrossEntropyLoss())


def step_of(module, optimizer, precision="float32", clip_norm=None):
    if isinstance(precision, str):
        precision = Precision.named(precision, "cpu")
    objective = Objective(module, nn.CrossEntropyLoss(), precision.autocast)
    return make_step(objective, optimizer, precision, clip_norm)


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

    step_of(module, sgd(module), clip_norm=0.01)((X, y, None))
    assert_same(module, by_hand, rtol=0, atol=0)


def test_accumulated_batches_are_one_large_batch():
    module, (X, y) = make_module(), make_data()
    whole = copy.deepcopy(module)
    step_of(whole, sgd(whole))((X, y, None))

    batches = [(X[i : i + 8], y[i : i + 8], None) for i in (0, 8, 16)]
    losses, sizes = train_epoch(module, step_of(module, sgd(module)), batches, accumulate=3)
    assert sizes == [8, 8, 8]
    expected = [nn.functional.cross_entropy(make_module()(X), y).item() for X, y, _ in batches]
    assert losses == pytest.approx(expected), "all three losses are those of before the step"
    assert_same(module, whole)


def test_a_shorter_last_group_is_averaged_over_its_own_number():
    module, (X, y) = make_module(), make_data()
    by_hand = copy.deepcopy(module)
    step = step_of(by_hand, sgd(by_hand))
    step((X[:16], y[:16], None))
    step((X[16:], y[16:], None))

    batches = [(X[i : i + 8], y[i : i + 8], None) for i in (0, 8, 16)]
    train_epoch(module, step_of(module, sgd(module)), batches, accumulate=2)
    assert_same(module, by_hand)


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_half_precision_is_autocast_with_a_scaler(name):
    module, (X, y) = make_module(torch.float32), make_data(dtype=torch.float32)
    by_hand = copy.deepcopy(module)
    optimizer, dtype = sgd(by_hand), getattr(torch, name)
    scaler = torch.amp.GradScaler("cpu", enabled=name == "float16")
    step = step_of(module, sgd(module), precision=name)
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
    step_of(module, sgd(module), precision=precision, clip_norm=1e-3)((X, y, None))
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

    step = step_of(module, Watching(module.parameters(), lr=0.1), clip_norm=0.01)
    assert isinstance(step, ClosureStep)
    step((X, y, None))
    assert norms == [pytest.approx(0.01, rel=1e-3)]


def test_a_closure_returns_a_loss_that_is_converted_without_a_warning():
    module, (X, y) = make_module(), make_data()
    losses = []

    class Converting(torch.optim.SGD):
        def step(self, closure):
            losses.append(float(closure()))  # torch warns of it if the loss has a gradient
            super().step()

    loss, _ = step_of(module, Converting(module.parameters(), lr=0.1))((X, y, None))
    assert losses == [loss.item()]
    assert not loss.requires_grad


def test_which_step_an_optimizer_gets():
    assert demands_closure(torch.optim.LBFGS)
    assert not demands_closure(torch.optim.AdamW)
    module = make_module()
    assert type(step_of(module, sgd(module))) is TrainStep
    lbfgs = partial(torch.optim.LBFGS, max_iter=2)
    assert type(step_of(module, lbfgs(module.parameters()))) is ClosureStep


def test_tf32_is_a_setting_that_is_restored():
    before = torch.get_float32_matmul_precision()
    with Precision.named("tf32", "cuda").autocast():
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == before


def hand_written(module, batches, make_optimizer, *, dtype=None, clip=None, accumulate=1):
    """Zero, forward, backward, unscale, clip, step: every part spelled out."""
    optimizer = make_optimizer(module)
    scaler = torch.amp.GradScaler("cpu", enabled=dtype is torch.float16)
    losses = []
    for start in range(0, len(batches), accumulate):
        group = batches[start : start + accumulate]
        optimizer.zero_grad()
        for X, y, weight in group:
            with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
                loss = LOSS(module(X), y, weight)
            scaler.scale(loss / len(group)).backward()
            losses.append(loss.item())
        if clip is not None:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(module.parameters(), clip)
        scaler.step(optimizer)
        scaler.update()
    return losses


OPTIMIZERS = {
    "sgd": lambda module: torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9),
    "adamw, fused": lambda module: torch.optim.AdamW(module.parameters(), lr=0.01, fused=True),
    "nadam": lambda module: torch.optim.NAdam(module.parameters(), lr=0.01),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(
    ("precision", "clip", "accumulate"),
    [
        ("float32", 0.01, 1),
        ("float32", 1e6, 2),
        ("float32", 0.01, 2),
        ("bfloat16", 0.01, 2),
        ("float16", None, 2),
        ("float16", 0.01, 1),
        ("float16", 0.01, 2),
    ],
)
def test_all_together_are_the_hand_written_loop(precision, clip, accumulate, name, weighted):
    module, (X, y) = make_module(torch.float32), make_data(23, torch.float32)
    weight = torch.linspace(0, 2, 23) if weighted else None
    batches = [
        (X[rows], y[rows], None if weight is None else weight[rows])
        for rows in torch.arange(23).split(5)
    ]  # a shorter last batch, in a shorter last group
    by_hand = copy.deepcopy(module)
    dtype = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(precision)
    expected = hand_written(
        by_hand, batches, OPTIMIZERS[name], dtype=dtype, clip=clip, accumulate=accumulate
    )
    step = step_of(module, OPTIMIZERS[name](module), precision, clip)
    losses, sizes = train_epoch(module, step, batches, accumulate=accumulate)
    assert losses == pytest.approx(expected, rel=1e-6)
    assert sizes == [5, 5, 5, 5, 3]
    assert_same(module, by_hand, rtol=1e-5, atol=1e-7)


def test_accumulation_is_neither_a_sum_nor_single_steps():
    X, y = make_data()
    batches = [(X[i : i + 8], y[i : i + 8], None) for i in (0, 8, 16)]
    models = {}
    for name, accumulate, lr in [("mean", 3, 0.5), ("sum", 3, 1.5), ("single", 1, 0.5)]:
        models[name] = make_module()
        optimizer = torch.optim.SGD(models[name].parameters(), lr=lr)
        train_epoch(models[name], step_of(models[name], optimizer), batches, accumulate=accumulate)
    for wrong in ("sum", "single"):
        assert not torch.allclose(models["mean"][0].weight, models[wrong][0].weight, rtol=1e-3)


def test_a_step_after_an_overflow_is_left_out():
    module, (X, y) = make_module(torch.float32), make_data(dtype=torch.float32)
    before = copy.deepcopy(module)
    precision = Precision.named("float16", "cpu")
    step = step_of(module, sgd(module), precision=precision)
    scale = precision.scaler.get_scale()
    step((X * 1e6, y, None))  # float16 ends at 65,504.
    assert_same(module, before, rtol=0, atol=0)
    assert precision.scaler.get_scale() == scale / 2
    step((X, y, None))
    assert not torch.equal(module[0].weight, before[0].weight)


def test_clipped_lbfgs_is_the_hand_written_closure():
    module, (X, y) = make_module(), make_data()
    by_hand = copy.deepcopy(module)
    optimizers = [torch.optim.LBFGS(m.parameters(), lr=0.5, max_iter=4) for m in (module, by_hand)]

    def closure():
        optimizers[1].zero_grad()
        loss = nn.functional.cross_entropy(by_hand(X), y)
        loss.backward()
        nn.utils.clip_grad_norm_(by_hand.parameters(), 0.05)
        return loss.detach()

    step = step_of(module, optimizers[0], clip_norm=0.05)
    for _ in range(3):
        expected = optimizers[1].step(closure)
        assert step((X, y, None))[0] == expected
    assert_same(module, by_hand, rtol=0, atol=0)


class Demanding(torch.optim.SGD):
    """One evaluation, then the step of SGD: what the closure leaves is what is stepped."""

    def step(self, closure):
        with torch.enable_grad():
            loss = closure()
        super().step()
        return loss


@pytest.mark.parametrize("clip", [None, 0.01])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_closure_leaves_gradients_without_a_scale(precision, clip):
    module, (X, y) = make_module(torch.float32), make_data(dtype=torch.float32)
    by_hand = copy.deepcopy(module)
    batches = [(X, y, None)]
    dtype = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(precision)
    hand_written(by_hand, batches, sgd, dtype=dtype, clip=clip)

    optimizer = Demanding(module.parameters(), lr=0.5)
    step_of(module, optimizer, precision=precision, clip_norm=clip)(batches[0])
    assert_same(module, by_hand, rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize("clip", [None, 0.01])
def test_the_pure_step_has_the_gradients_of_the_eager_one(clip):
    module, (X, y) = make_module(), make_data()
    objective = Objective(module, nn.CrossEntropyLoss())
    trained = dict(objective.named_parameters())
    loss, gradients = loss_and_gradients(objective, trained, {}, {}, (X, y, None), clip_norm=clip)
    expected, _ = step_of(module, torch.optim.SGD(module.parameters(), lr=0.0), clip_norm=clip)(
        (X, y, None)
    )
    torch.testing.assert_close(loss, expected)
    for name, parameter in trained.items():
        torch.testing.assert_close(gradients[name], parameter.grad)


class TwoBiases(nn.Module):
    """Its biases have one gradient, which autograd hands out as one tensor."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3, bias=False, dtype=torch.float64)
        self.first = nn.Parameter(torch.zeros(3, dtype=torch.float64))
        self.second = nn.Parameter(torch.zeros(3, dtype=torch.float64))

    def forward(self, X):
        return self.layer(X) + (self.first + self.second)


@pytest.mark.parametrize("batched", [False, True])
def test_a_gradient_of_two_parameters_is_clipped_once(batched):
    (X, y), module = make_data(), TwoBiases()
    objective = Objective(module, nn.CrossEntropyLoss())
    trained = {name: p.detach() for name, p in objective.named_parameters()}

    def gradients_of(trained):
        return loss_and_gradients(objective, trained, {}, {}, (X, y, None), clip_norm=0.01)[1]

    if batched:
        stacked = {name: torch.stack([p, p]) for name, p in trained.items()}
        gradients = {name: g[0] for name, g in torch.func.vmap(gradients_of)(stacked).items()}
    else:
        gradients = gradients_of(trained)
    step_of(module, torch.optim.SGD(module.parameters(), lr=0.0), clip_norm=0.01)((X, y, None))
    for name, parameter in objective.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad)


def test_only_gradients_of_the_module_are_clipped():
    class Scaled(nn.CrossEntropyLoss):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones((), dtype=torch.float64))

        def forward(self, output, y):
            return super().forward(output * self.scale, y)

    (X, y), seen = make_data(), []
    for clip in (None, 0.01):
        objective = Objective(make_module(), Scaled())
        trained = dict(objective.named_parameters())
        _, gradients = loss_and_gradients(objective, trained, {}, {}, (X, y, None), clip_norm=clip)
        precision = Precision.named("float32", "cpu")
        step = make_step(objective, torch.optim.SGD(trained.values(), lr=0.0), precision, clip)
        step((X, y, None))
        torch.testing.assert_close(gradients["criterion.scale"], trained["criterion.scale"].grad)
        seen.append(gradients["criterion.scale"])
    assert torch.equal(*seen)
