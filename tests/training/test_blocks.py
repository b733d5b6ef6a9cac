"""Steps done a block at a time are those of the loop over batches, bit for bit."""

import copy

import pytest
import torch
from torch import nn

from sktorch.data.batches import Batches
from sktorch.training import blocks
from sktorch.training.engine import Engine, StepSettings
from sktorch.training.programs import program_of
from tests.fused.epochs import net_of

LOSS = nn.CrossEntropyLoss()


class Whole:
    """Rows as they are."""

    is_whole = True

    def __init__(self, values):
        self.values = values

    def __getitem__(self, index):
        return self.values.index_select(0, index)


@pytest.fixture(autouse=True)
def no_programs():
    program_of.cache_clear()
    yield
    program_of.cache_clear()


@pytest.fixture
def counted(monkeypatch):
    """The number of batches that were done as a part of a block, and of those done one by one."""
    numbers = {"blocks": 0, "steps": 0}
    real = blocks.train_blocks

    def train_blocks(step, given):
        class Counted:
            def loop(self, batch):
                known = step.loop(batch)
                if known is None:
                    return None

                def loop(block, n_batches, n_rows):
                    numbers["blocks"] += n_batches
                    return known(block, n_batches, n_rows)

                return loop

            def __call__(self, *args):
                numbers["steps"] += 1
                return step(*args)

        return real(Counted(), given)

    monkeypatch.setattr("sktorch.training.engine.train_blocks", train_blocks)
    return numbers


def make_module():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(0.2), nn.Linear(5, 3))


def make_batches(n_rows=50, batch_size=8, drop_last=False, weighted=False, n_classes=3):
    generator = torch.Generator().manual_seed(1)
    X = torch.randn(n_rows, 4, generator=generator)
    y = torch.randint(0, n_classes, (n_rows,), generator=generator)
    weights = torch.rand(n_rows, generator=generator) if weighted else None
    index = torch.arange(n_rows)
    options = {"batch_size": batch_size, "shuffle": True, "drop_last": drop_last}
    return Batches(Whole(X), y, weights, index, **options)


def loss_of(output, y, weights):
    if weights is None:
        return LOSS(output, y)
    return (nn.functional.cross_entropy(output, y, reduction="none") * weights).mean()


def train(step_of, optimizer_class, n_epochs, batches, **settings):
    """Losses, the state of a module and of its optimizer, and torch's random numbers after it."""
    module = make_module()
    optimizer = optimizer_class(module.parameters(), lr=0.01, **settings)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        losses = step_of(module.train(), optimizer, n_epochs, batches)
        numbers = torch.get_rng_state()
    return losses, module.state_dict(), optimizer.state_dict()["state"], numbers


def by_engine(module, optimizer, n_epochs, batches):
    engine = Engine(torch.device("cpu"), StepSettings(), n_epochs)
    net = net_of(module, optimizer, LOSS)
    losses = [loss for _ in range(n_epochs) for loss in engine.train(net, batches)[0]]
    assert engine.eager_reason is None
    return losses


def by_hand(module, optimizer, n_epochs, batches):
    losses = []
    for _ in range(n_epochs):
        for X, y, weights in batches:
            optimizer.zero_grad()
            loss = loss_of(module(X), y, weights)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


@pytest.mark.parametrize(
    ("optimizer", "settings"),
    [
        (torch.optim.Adam, {"fused": True}),
        (torch.optim.SGD, {"fused": True, "momentum": 0.9}),
        (torch.optim.RMSprop, {}),
    ],
)
@pytest.mark.parametrize(
    "options", [{}, {"drop_last": True}, {"weighted": True}, {"batch_size": 50}, {"n_rows": 10}]
)
def test_blocks_are_the_loop_bit_for_bit(optimizer, settings, options, counted):
    batches = make_batches(**options)
    n_epochs = 80 // len(batches) + 10
    results = [train(f, optimizer, n_epochs, batches, **settings) for f in (by_engine, by_hand)]
    (losses, *states), (expected, *own) = results
    assert losses == expected
    torch.testing.assert_close(states, own, rtol=0, atol=0)
    is_replayed = optimizer is not torch.optim.RMSprop  # whose step makes tensors
    assert (counted["blocks"] > 40) == is_replayed


def test_an_error_is_the_modules_own():
    module = make_module()
    net = net_of(module, torch.optim.Adam(module.parameters(), fused=True), LOSS)
    engine = Engine(torch.device("cpu"), StepSettings(), 100)
    for _ in range(20):
        engine.train(net, make_batches())
    with pytest.raises(IndexError, match="Target 3 is out of bounds"):
        engine.train(net, make_batches(n_classes=4))


def test_a_change_between_epochs_is_followed():
    modules = make_module(), make_module()
    optimizers = [torch.optim.Adam(m.parameters(), lr=0.01, fused=True) for m in modules]
    engine, batches = Engine(torch.device("cpu"), StepSettings(), 40), make_batches()

    def by(step_of):
        with torch.random.fork_rng():
            torch.manual_seed(3)
            return step_of()

    net = net_of(modules[0], optimizers[0], LOSS)
    for epoch in range(40):
        if epoch == 20:
            for module, optimizer in zip(modules, optimizers, strict=True):
                module[0].weight.data = module[0].weight.data * 2
                optimizer.param_groups[0]["lr"] = 0.001
                optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        losses, _ = by(lambda: engine.train(net, batches))
        expected = by(lambda: by_hand(modules[1].train(), optimizers[1], 1, batches))
        assert losses == expected, epoch
    assert engine.eager_reason is None
