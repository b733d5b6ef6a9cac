"""When something is recorded, tried and replayed, and what is kept of it."""

import pytest
import torch
from torch import nn

from sktorch.recording.record import record
from sktorch.training import replayed
from sktorch.training.objective import Objective
from sktorch.training.programs import MAX_PROGRAMS, program_of
from sktorch.training.recorded_evaluation import RecordedEvaluation
from sktorch.training.replayed import MAX_SHAPES, MIN_CALLS, Replayed

LOSS = nn.CrossEntropyLoss()


@pytest.fixture(autouse=True)
def no_programs():
    program_of.cache_clear()
    yield
    program_of.cache_clear()


@pytest.fixture
def recorded(monkeypatch):
    """The number of recordings that are made."""
    calls = []

    def noted(*args, **kwargs):
        calls.append(args)
        return record(*args, **kwargs)

    monkeypatch.setattr(replayed, "record", noted)
    return calls


def make_module(width=5):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.Linear(width, 3)).eval()


def batches(n, n_rows=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(n):
        X = torch.randn(n_rows, 4, generator=generator)
        yield X, torch.randint(0, 3, (n_rows,), generator=generator), None


def evaluation(module=None, n_epochs=1, n_batches=MIN_CALLS):
    subject = Replayed(RecordedEvaluation(Objective(module or make_module(), LOSS)))
    subject.renew(n_epochs, n_batches)
    return subject


@torch.no_grad()
def check(subject, given):
    """Compare with the module itself, bit for bit."""
    module = subject.function.objective.module
    for X, y, weight in given:
        loss, output = subject((X, y, weight))
        assert torch.equal(output, module(X))
        assert torch.equal(loss, LOSS(module(X), y))


@pytest.mark.parametrize(
    ("n_epochs", "n_batches", "n_recorded"),
    [(1, MIN_CALLS, 1), (MIN_CALLS // 4, 4, 1), (1, 10, 0), (3, 5, 0)],
)
def test_what_is_recorded_pays(n_epochs, n_batches, n_recorded, recorded):
    subject = evaluation(n_epochs=n_epochs, n_batches=n_batches)
    check(subject, batches(8))
    assert len(recorded) == n_recorded
    assert (subject.reason is None) == bool(n_recorded)


def test_calls_of_earlier_fits_count(recorded):
    for _ in range(MIN_CALLS // 5 + 2):
        subject = evaluation(n_batches=5)
        check(subject, batches(5))
    assert len(recorded) == 1
    assert subject.reason is None


def test_equal_modules_share_a_recording(recorded):
    for seed in range(3):
        module = make_module()
        nn.init.normal_(module[0].weight, generator=torch.Generator().manual_seed(seed))
        subject = evaluation(module)
        check(subject, batches(8, seed=seed))
        assert subject.reason is None
    assert len(recorded) == 1
    check(evaluation(make_module(width=6)), batches(8))
    assert len(recorded) == 2


def test_each_shape_is_a_recording_of_its_own_up_to_a_number(recorded):
    subject = evaluation(n_epochs=100)
    for n_rows in range(2, 2 + 2 * MAX_SHAPES):
        check(subject, batches(4, n_rows))
    assert len(recorded) == MAX_SHAPES


def test_programs_are_forgotten():
    for number in range(2 * MAX_PROGRAMS):
        program_of(number)
    assert program_of.cache_info().currsize == MAX_PROGRAMS
    assert program_of(2 * MAX_PROGRAMS - 1) is program_of(2 * MAX_PROGRAMS - 1)


def test_a_parameter_with_other_memory_is_followed():
    subject = evaluation()
    check(subject, batches(8))
    module = subject.function.objective.module
    module[0].weight.data = module[0].weight.data * 2
    assert subject.holds()
    subject.renew(1, MIN_CALLS)
    check(subject, batches(4))


@pytest.mark.parametrize(
    "change",
    [
        lambda module: setattr(module[1], "eps", 0.5),
        lambda module: module[0].register_forward_hook(lambda *args: None),
        lambda module: module.train(),
        lambda module: setattr(module, "1", nn.Identity()),
    ],
)
def test_a_change_is_seen(change):
    subject = evaluation()
    check(subject, batches(8))
    change(subject.function.objective.module)
    assert not subject.holds()


def test_an_error_is_the_modules_own():
    subject = evaluation()
    check(subject, batches(8))
    X, _, _ = next(batches(1))
    with pytest.raises(IndexError, match="Target 3 is out of bounds"):
        subject((X, torch.full((6,), 3), None))


class Slow(nn.Linear):
    """Takes longer than a step that is worth to be recorded."""

    def forward(self, X):
        for _ in range(200):
            X = X @ torch.eye(4)
        return super().forward(X)


def test_a_long_call_is_not_recorded(monkeypatch, recorded):
    monkeypatch.setattr(replayed, "MAX_SECONDS", 1e-5)
    subject = evaluation(Slow(4, 3).eval())
    check(subject, batches(8))
    assert "ms, and Python little of it" in subject.reason
    assert not recorded


def test_a_replay_that_is_no_faster_is_not_used(monkeypatch):
    monkeypatch.setattr(replayed, "MAX_TIME_RATIO", 0.0)
    subject = evaluation()
    check(subject, batches(8))
    assert subject.reason.startswith("replayed it takes")
