"""When a step is recorded, tried and replayed, and what is kept of it."""

import copy

import pytest
import torch
from torch import nn

from sktorch.recording.record import record
from sktorch.training import replayed_step
from sktorch.training.objective import Objective
from sktorch.training.precision import Precision
from sktorch.training.programs import MAX_PROGRAMS, program_of
from sktorch.training.recordable_step import RecordableStep
from sktorch.training.replayed_step import MAX_SHAPES, MIN_STEPS, ReplayedStep
from sktorch.training.step import make_step

LOSS = nn.CrossEntropyLoss()


@pytest.fixture(autouse=True)
def no_programs():
    program_of.cache_clear()
    yield
    program_of.cache_clear()


@pytest.fixture
def recorded(monkeypatch):
    """The recordings that are made."""
    calls = []

    def noted(*args, **kwargs):
        calls.append(args)
        return record(*args, **kwargs)

    monkeypatch.setattr(replayed_step, "record", noted)
    return calls


def make_module(width=5):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.Linear(width, 3))


def batches(n, n_rows=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(n):
        X = torch.randn(n_rows, 4, generator=generator)
        yield X, torch.randint(0, 3, (n_rows,), generator=generator), None


class Pair:
    """A replayed step, and beside it a copy that is trained by hand."""

    def __init__(self, module=None, n_epochs=1, n_batches=MIN_STEPS):
        self.module = make_module() if module is None else module
        self.copy = copy.deepcopy(self.module)
        self.optimizer, self.own = (
            torch.optim.Adam(m.parameters(), lr=0.01) for m in (self.module, self.copy)
        )
        objective = Objective(self.module, LOSS)
        self.step = make_step(objective, self.optimizer, Precision.named("float32", "cpu"))
        self.replayed = ReplayedStep(RecordableStep(self.step, self.optimizer))
        self.replayed.step.renew(self.step, scheduled=False)
        self.replayed.renew(n_epochs, n_batches)

    def train(self, given):
        """Train both, and compare them bit for bit."""
        for batch in given:
            loss, _ = self.replayed(batch)
            X, y, _ = batch
            self.own.zero_grad()
            expected = LOSS(self.copy(X), y)
            expected.backward()
            self.own.step()
            assert torch.equal(loss, expected)
        pairs = zip(self.module.state_dict().values(), self.copy.state_dict().values(), strict=True)
        assert all(torch.equal(value, own) for value, own in pairs)
        return self


@pytest.mark.parametrize(
    ("n_epochs", "n_batches", "n_recorded"),
    [(1, MIN_STEPS, 1), (MIN_STEPS // 4, 4, 1), (1, 10, 0), (3, 5, 0)],
)
def test_what_is_recorded_pays(n_epochs, n_batches, n_recorded, recorded):
    pair = Pair(n_epochs=n_epochs, n_batches=n_batches).train(batches(8))
    assert len(recorded) == n_recorded
    few = "too few steps are left for a recording to pay"
    assert pair.replayed.reason == (None if n_recorded else few)


def test_steps_of_earlier_fits_count(recorded):
    for _ in range(MIN_STEPS // 5 + 2):
        pair = Pair(n_batches=5).train(batches(5))
    assert len(recorded) == 1
    assert pair.replayed.reason is None


def test_equal_modules_share_a_recording(recorded):
    for seed in range(3):
        module = make_module()
        nn.init.normal_(module[0].weight, generator=torch.Generator().manual_seed(seed))
        assert Pair(module).train(batches(8, seed=seed)).replayed.reason is None
    assert len(recorded) == 1
    Pair(make_module(width=6)).train(batches(8))
    assert len(recorded) == 2


class Shaped(nn.Linear):
    """Has the number of rows in an operation."""

    def forward(self, X):
        return super().forward(X) * torch.ones(len(X), 1)


class Counted(nn.Linear):
    """Divides by the number of rows."""

    def forward(self, X):
        return super().forward(X) / len(X)


@pytest.mark.parametrize(
    ("module", "n_recorded"),
    [(make_module(), 1), (Shaped(4, 3), MAX_SHAPES), (Counted(4, 3), MAX_SHAPES)],
)
def test_a_recording_serves_other_lengths_if_it_gives_the_same(module, n_recorded, recorded):
    pair = Pair(module, n_epochs=100)
    for n_rows in range(2, 2 + 2 * MAX_SHAPES):
        pair.train(batches(5, n_rows))
    assert len(recorded) == n_recorded
    assert pair.replayed.reason is None


def test_programs_are_forgotten():
    for number in range(2 * MAX_PROGRAMS):
        program_of(number)
    assert program_of.cache_info().currsize == MAX_PROGRAMS
    assert program_of(2 * MAX_PROGRAMS - 1) is program_of(2 * MAX_PROGRAMS - 1)


def test_a_parameter_with_other_memory_is_followed():
    pair = Pair().train(batches(8))
    for module in (pair.module, pair.copy):
        module[0].weight.data = module[0].weight.data * 2
    assert pair.replayed.belongs_to(pair.step, pair.optimizer)
    pair.replayed.renew(1, MIN_STEPS)
    pair.train(batches(4))


@pytest.mark.parametrize(
    "change",
    [
        lambda module: setattr(module[1], "eps", 0.5),
        lambda module: module[0].register_forward_hook(lambda *args: None),
        lambda module: module.eval(),
        lambda module: module[0].requires_grad_(False),
        lambda module: setattr(module, "1", nn.Identity()),
    ],
)
def test_a_change_is_seen(change):
    pair = Pair().train(batches(8))
    change(pair.module)
    assert not pair.replayed.belongs_to(pair.step, pair.optimizer)


def test_an_error_is_the_modules_own():
    pair = Pair().train(batches(8))
    X, _, _ = next(batches(1))
    with pytest.raises(IndexError, match="Target 3 is out of bounds"):
        pair.replayed((X, torch.full((6,), 3), None))


def test_a_long_step_is_not_recorded(monkeypatch, recorded):
    monkeypatch.setattr(replayed_step, "MAX_SECONDS", 1e-5)
    pair = Pair().train(batches(8))
    assert "ms, and Python little of it" in pair.replayed.reason
    assert not recorded


def test_a_replay_that_is_no_faster_is_not_used(monkeypatch):
    monkeypatch.setattr(replayed_step, "MAX_TIME_RATIO", 0.0)
    pair = Pair().train(batches(8))
    assert pair.replayed.reason.startswith("replayed it takes")


def test_nan_is_the_same_as_nan():
    X, y, _ = next(batches(1))
    pair = Pair()
    for _ in range(8):
        pair.replayed((X * torch.nan, y, None))
    assert pair.replayed.reason is None
    assert Pair().train(batches(8)).replayed.reason is None
