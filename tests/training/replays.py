"""A training twice: by an engine, which replays its steps, and by steps that are all eager."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sktorch.data.batches import Batches
from sktorch.training import replayed_step
from sktorch.training.engine import Engine, StepSettings
from sktorch.training.loop import train_epoch
from sktorch.training.replayed_step import ReplayedStep
from sktorch.training.step import make_step
from tests.fused.epochs import CPU, net_of

N_ROWS, N_COLUMNS, N_CLASSES, BATCH_SIZE = 30, 4, 3, 8  # the last batch of an epoch is short


@dataclass
class Training:
    """What a training left behind, and the engine that ran it."""

    losses: list[float]
    tensors: dict[str, Any]
    engine: Engine

    @property
    def step(self) -> Any:
        """The engine's step of the last epoch."""
        return self.engine._replayed

    @property
    def n_replays(self) -> int:
        """The number of kinds of batches that were replayed in the last epoch."""
        return len(self.step._replays) if isinstance(self.step, ReplayedStep) else 0


def decide_without_clock(monkeypatch):
    """Let no replay be refused because it takes long, which may happen on a busy machine."""
    monkeypatch.setattr(replayed_step, "MAX_SECONDS", float("inf"))
    monkeypatch.setattr(replayed_step, "MAX_TIME_RATIO", float("inf"))


def table(n_rows=N_ROWS, n_columns=N_COLUMNS, seed=0, dtype=torch.float32):
    """Return rows of numbers, and a class for each."""
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(n_rows, n_columns, generator=generator, dtype=dtype)
    return X, torch.randint(0, N_CLASSES, (n_rows,), generator=generator)


def in_batches(X, y, weight=None, size=BATCH_SIZE):
    """Return batches of rows, the inputs a tensor, or a dict or tuple of tensors."""

    def rows(part, start):
        if isinstance(part, dict):
            return {name: x[start : start + size].clone() for name, x in part.items()}
        if isinstance(part, tuple):
            return tuple(x[start : start + size].clone() for x in part)
        return None if part is None else part[start : start + size].clone()

    return [tuple(rows(part, i) for part in (X, y, weight)) for i in range(0, len(y), size)]


class Whole:
    """Rows as they are."""

    is_whole = True

    def __init__(self, values):
        self.values = values

    def __getitem__(self, index):
        return self.values.index_select(0, index)


def in_blocks(X, y, size=BATCH_SIZE):
    """Return batches of rows that an engine may take a block at a time."""
    return Batches(Whole(X), y, None, torch.arange(len(y)), batch_size=size, shuffle=False)


def trained(
    make_module,
    *,
    replayed,
    batches=None,
    make_criterion=nn.CrossEntropyLoss,
    make_optimizer=lambda p: torch.optim.Adam(p, lr=0.01),
    n_epochs=6,
    before_epoch=None,
    after_step=None,
    seed=0,
    **settings,
) -> Training:
    """Train a module for some epochs; what `before_epoch` does, it does to both."""
    batches = in_batches(*table()) if batches is None else batches
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module, criterion = make_module(), make_criterion()
        optimizer = make_optimizer([*module.parameters(), *criterion.parameters()])
        net = net_of(module, optimizer, criterion)
        engine = Engine(CPU, StepSettings(**settings), n_epochs=100)
        after = None if after_step is None else lambda: after_step(optimizer)
        losses = []
        for epoch in range(n_epochs):
            if before_epoch is not None:
                before_epoch(epoch, module, optimizer)
            if replayed:
                losses += engine.train(net, batches, after_step=after)[0]
            else:
                objective, clip = engine.objective(net), settings.get("gradient_clip")
                step = make_step(objective, optimizer, engine.precision, clip)
                accumulate = settings.get("gradient_accumulation", 1)
                module.train()
                losses += train_epoch(
                    module, step, batches, accumulate=accumulate, after_step=after
                )[0]
        tensors = {
            "module": module.state_dict(),
            "criterion": criterion.state_dict(),
            "optimizer": optimizer.state_dict(),
            "gradients": [p.grad for p in module.parameters()],
            "random numbers": torch.get_rng_state(),
        }
    return Training(losses, tensors, engine)


def assert_same_bits(value, expected, name="value"):
    """Compare nested tensors and numbers to the last bit."""
    if isinstance(expected, Tensor):
        assert isinstance(value, Tensor), name
        assert value.dtype == expected.dtype, name
        assert value.shape == expected.shape, name
        a, b = (t.detach().to_dense().reshape(-1).view(torch.uint8) for t in (value, expected))
        assert torch.equal(a, b), name
    elif isinstance(expected, dict):
        assert value.keys() == expected.keys(), name
        for key in expected:
            assert_same_bits(value[key], expected[key], f"{name}.{key}")
    elif isinstance(expected, list | tuple):
        assert len(value) == len(expected), name
        for number, (a, b) in enumerate(zip(value, expected, strict=True)):
            assert_same_bits(a, b, f"{name}[{number}]")
    else:
        assert value == expected or (value != value and expected != expected), name


def assert_trains_alike(make_module, make_batches=None, **options) -> Training:
    """Train twice, and compare all that is left; return the training that is replayed."""
    batches = (lambda: in_batches(*table())) if make_batches is None else make_batches
    expected = trained(make_module, replayed=False, batches=batches(), **options)
    subject = trained(make_module, replayed=True, batches=batches(), **options)
    assert_same_bits(subject.losses, expected.losses, "losses")
    assert_same_bits(subject.tensors, expected.tensors, "training")
    return subject
