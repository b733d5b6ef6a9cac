"""Fits share programs: recorded once, kept within bounds, by threads side by side as well."""

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from sklearn.ensemble import BaggingClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from torch import nn

from sktorch import TorchClassifier
from sktorch.recording.record import record
from sktorch.training import replayed_step
from sktorch.training.programs import MAX_PROGRAMS, program_of
from tests.training.replays import assert_same_bits, decide_without_clock, trained


@pytest.fixture(autouse=True)
def recorded(monkeypatch):
    """The recordings that are made."""
    decide_without_clock(monkeypatch)
    program_of.cache_clear()
    calls = []

    def noted(*args, **kwargs):
        calls.append(weakref.ref(args[0]))
        return record(*args, **kwargs)

    monkeypatch.setattr(replayed_step, "record", noted)
    yield calls
    program_of.cache_clear()


class Own(nn.Module):
    """A module of the user's."""

    def __init__(self, n_features, n_outputs, width=8):
        super().__init__()
        self.first, self.last = nn.Linear(n_features, width), nn.Linear(width, n_outputs)

    def forward(self, X):
        return self.last(torch.relu(self.first(X)))


def classifier(module=Own, **settings):
    given = {"max_epochs": 15, "batch_size": 32, "lr": 0.01, "random_state": 0, "device": "cpu"}
    return TorchClassifier(module, **given | settings)


def test_the_fits_of_a_cross_validation_record_once(iris, recorded):
    scores = cross_val_score(classifier(), *iris, cv=3)
    assert scores.min() > 0.5
    n_shapes = 2  # full batches, and the last of an epoch, at most
    assert 1 <= len(recorded) <= n_shapes


def test_a_search_records_once_a_kind(iris, recorded):
    grid = {"module__width": [4, 8], "lr": [0.01, 0.02], "random_state": [0, 1]}
    search = GridSearchCV(classifier(iterator_train__drop_last=True), grid, cv=2, n_jobs=1)
    search.fit(*iris)
    assert len(recorded) == len(grid["module__width"])


def test_a_bag_records_once(iris, recorded):
    BaggingClassifier(classifier(iterator_train__drop_last=True), 4, random_state=0).fit(*iris)
    assert len(recorded) == 1


def test_partial_fits_record_once(iris, recorded):
    X, y = iris
    subject = classifier(batch_size=5)  # of a few steps, none looks for a recording
    for _ in range(4):
        subject.partial_fit(X, y, classes=np.unique(y))
    assert len(recorded) == 1
    assert subject.eager_reason_ is None


def test_a_recording_holds_neither_module_nor_data(recorded):
    training = trained(lambda: Own(4, 3), replayed=True)
    assert training.n_replays
    module = weakref.ref(training.engine._objective.module)
    batch = weakref.ref(training.step._snapshot)
    del training
    gc.collect()
    assert module() is None
    assert batch() is None
    assert all(function() is None for function in recorded)


def storages():
    gc.collect()
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())


def test_many_kinds_take_no_more_memory_than_some():
    """Tensors are counted rather than bytes, which depend on the allocator."""
    counts = []
    for width in range(2, 2 + 3 * MAX_PROGRAMS):
        trained(lambda: Own(4, 3, width), replayed=True, n_epochs=2)  # noqa: B023
        if width in (2 + MAX_PROGRAMS, 1 + 3 * MAX_PROGRAMS):
            counts.append(storages())
    assert program_of.cache_info().currsize == MAX_PROGRAMS
    assert counts[1] <= counts[0] + 10


def test_threads_that_fit_side_by_side(iris, recorded):
    settings = [{"random_state": number, "module__width": 6} for number in range(8)]
    fit = lambda given: classifier(**given).fit(*iris).module_.state_dict()  # noqa: E731
    expected = [*map(fit, settings)]
    program_of.cache_clear()
    with ThreadPoolExecutor(4) as threads:
        found = [*threads.map(fit, settings)]
    assert_same_bits(found, expected)


def loop_by_hand(X, y, seed, n_epochs, batch_size, make_optimizer):
    """The script that everybody writes."""
    torch.manual_seed(seed)
    module, loss = Own(X.shape[1], 3), nn.CrossEntropyLoss()
    optimizer = make_optimizer(module.parameters())
    losses = []
    for _ in range(n_epochs):
        total = 0.0
        for rows in torch.utils.data.DataLoader(range(len(y)), batch_size, shuffle=True):
            optimizer.zero_grad()
            value = loss(module(X[rows]), y[rows])
            value.backward()
            optimizer.step()
            total += value.item() * len(rows)
        losses.append(total / len(y))
    return module.state_dict(), losses


@pytest.mark.parametrize(
    ("optimizer", "given"),
    [
        (torch.optim.SGD, {"fused": True}),  # as sktorch's default
        (torch.optim.SGD, {"fused": False}),
        (torch.optim.Adam, {"fused": True}),
        (torch.optim.Adam, {"fused": False}),
        (torch.optim.NAdam, {}),
    ],
)
def test_fits_are_the_loop_by_hand(iris, optimizer, given):
    X, y = (torch.from_numpy(part) for part in iris)
    expected, losses = loop_by_hand(
        X.float(), y, 3, 12, 32, lambda p: optimizer(p, lr=0.02, **given)
    )
    options = {f"optimizer__{name}": value for name, value in given.items() if not value}
    subject = classifier(
        optimizer=optimizer, lr=0.02, max_epochs=12, random_state=3, **options
    ).fit(*iris)
    assert subject.eager_reason_ is None
    assert subject.loss_curve_ == losses
    assert_same_bits(dict(subject.module_.state_dict()), dict(expected))


def test_a_fit_in_two_parts_is_the_fit_in_one(iris):
    whole = classifier(max_epochs=24, warm_start=True).fit(*iris)
    parts = classifier(max_epochs=12, warm_start=True).fit(*iris).fit(*iris)
    again = classifier(max_epochs=12, warm_start=True).fit(*iris)
    for _ in range(12):
        again.partial_fit(*iris)
    for other in (parts, again):
        assert other.eager_reason_ is None
        assert other.loss_curve_ == whole.loss_curve_
        assert_same_bits(dict(other.module_.state_dict()), dict(whole.module_.state_dict()))


@pytest.mark.parametrize(
    "settings",
    [
        {"early_stopping": True, "n_iter_no_change": 3},
        {"class_weight": "balanced"},
        {"gradient_clip": 0.1, "gradient_accumulation": 2},
        {"lr_schedule": "cosine"},
        {"lr_schedule": torch.optim.lr_scheduler.OneCycleLR, "lr_schedule__max_lr": 0.1},
        {"precision": "bfloat16"},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_settings_give_what_they_give_eagerly(iris, settings, monkeypatch):
    replayed = classifier(max_epochs=20, **settings).fit(*iris)
    program_of.cache_clear()
    monkeypatch.setattr(replayed_step, "MAX_SHAPES", 0)
    eager = classifier(max_epochs=20, **settings).fit(*iris)
    assert replayed.eager_reason_ is None
    assert eager.eager_reason_ is not None
    assert replayed.loss_curve_ == eager.loss_curve_
    assert replayed.best_epoch_ == eager.best_epoch_
    assert_same_bits(dict(replayed.module_.state_dict()), dict(eager.module_.state_dict()))
