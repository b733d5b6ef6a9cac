"""Streams draw the same numbers from the same seed, and leave the process's generators alone."""

import copy
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, IterableDataset

from sktorch import TorchClassifier
from sktorch.training.randomness import RandomStream, numpy_and_python_seeded

CPU = torch.device("cpu")


def global_states():
    """Return the states of torch's, numpy's and Python's default generators, comparable."""
    kind, keys, *rest = np.random.get_state()
    return torch.get_rng_state().tolist(), kind, keys.tolist(), rest, random.getstate()


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_a_stream_gives_the_numbers_that_follow_manual_seed(seed):
    torch.manual_seed(seed)
    expected = torch.rand(3), torch.randn(4), torch.randperm(10)
    with RandomStream(seed, CPU):
        drawn = torch.rand(3), torch.randn(4), torch.randperm(10)
    for one, other in zip(drawn, expected, strict=True):
        assert torch.equal(one, other)


def test_a_stream_goes_on_where_it_stopped():
    torch.manual_seed(3)
    expected = torch.rand(6)
    stream = RandomStream(3, CPU)
    drawn = []
    for _ in range(3):
        with stream:
            drawn.append(torch.rand(2))
        torch.rand(5)  # of the default generator
    assert torch.equal(torch.cat(drawn), expected)


def test_default_generators_are_as_they_were():
    before = global_states()
    RandomStream(0, CPU)
    with RandomStream(0, CPU), numpy_and_python_seeded(0):
        torch.rand(3), np.random.rand(3), random.random()

    def draw_and_fail():
        with RandomStream(0, CPU), numpy_and_python_seeded(0):
            torch.rand(3), np.random.rand(3), random.random()
            raise LookupError

    with pytest.raises(LookupError):
        draw_and_fail()
    assert global_states() == before


def test_a_failure_inside_leaves_the_stream_usable():
    stream, drawn = RandomStream(0, CPU), []

    def draw_and_fail():
        with stream:
            drawn.append(torch.rand(2))
            raise LookupError

    for _ in range(2):
        with pytest.raises(LookupError):
            draw_and_fail()
    torch.manual_seed(0)
    assert torch.equal(torch.cat(drawn), torch.rand(4))


def test_streams_inside_each_other():
    with RandomStream(1, CPU):
        outer = [torch.rand(2)]
        with RandomStream(2, CPU):
            inner = torch.rand(2)
        outer.append(torch.rand(2))
    torch.manual_seed(1)
    assert torch.equal(torch.cat(outer), torch.rand(4))
    torch.manual_seed(2)
    assert torch.equal(inner, torch.rand(2))


def test_a_copied_stream_is_another_one():
    stream = RandomStream(0, CPU)
    copied = copy.copy(stream)
    with stream:
        first = torch.rand(2)
    with copied:
        assert torch.equal(torch.rand(2), first)
    with stream:
        assert not torch.equal(torch.rand(2), first)


def test_numpy_and_python_are_seeded_inside():
    with numpy_and_python_seeded(4):
        drawn = np.random.rand(2).tolist(), random.random()
    assert drawn == (np.random.RandomState(4).rand(2).tolist(), random.Random(4).random())


def test_a_stream_can_swap_numpys_and_pythons_generators_too():
    expected = np.random.RandomState(3).rand(4).tolist(), random.Random(3)
    before = global_states()
    stream, drawn = RandomStream(3, CPU), []
    stream.swaps_numpy_and_python = True
    for _ in range(2):  # It goes on where it stopped.
        with stream:
            drawn += np.random.rand(2).tolist()
            assert random.random() == expected[1].random()
    assert drawn == expected[0]
    assert global_states() == before
    stream.swaps_numpy_and_python = False
    with stream:
        assert np.random.get_state()[1].tolist() == before[2]


def test_threads_side_by_side_draw_what_each_draws_alone():
    def draw(seed, wait=lambda: None):
        stream, drawn = RandomStream(seed, CPU), []
        for _ in range(200):
            wait()
            with stream:
                drawn += [torch.rand(()).item(), torch.randn(()).item()]
                torch.randperm(100)
        return drawn

    seeds = range(3)
    alone = [draw(seed) for seed in seeds]
    before = torch.get_rng_state()
    barrier = threading.Barrier(len(seeds))
    with ThreadPoolExecutor(len(seeds)) as threads:
        together = list(threads.map(lambda seed: draw(seed, barrier.wait), seeds))
    assert together == alone
    assert torch.equal(torch.get_rng_state(), before)


# Random numbers of an estimator.


class Random(nn.Module):
    """Draws from all three generators in its constructor, and drops out in training."""

    def __init__(self, n_features, n_outputs):
        super().__init__()
        self.linear = nn.Linear(n_features, n_outputs)
        with torch.no_grad():
            self.linear.bias.copy_(torch.from_numpy(np.random.rand(n_outputs)))
        self.scale = 0.5 + random.random()
        self.dropout = nn.Dropout(0.5)

    def forward(self, X):
        return self.linear(self.dropout(X)) * self.scale


def data():
    X = np.random.RandomState(0).randn(40, 4).astype("float32")
    return X, (X[:, 0] > 0).astype(int)


def estimator(random_state, **parameters):
    settings = {"max_epochs": 3, "batch_size": 8, "device": "cpu", "early_stopping": True}
    return TorchClassifier(Random, random_state=random_state, **(settings | parameters))


def noise(shape):
    """Return noise of numpy's and Python's global generators, as transforms of users draw it."""
    return torch.from_numpy(np.random.randn(*shape).astype("float32")) * random.random()


def augment(X):
    return X + noise(X.shape)


class Noisy(Dataset):
    def __len__(self):
        return 40

    def __getitem__(self, row):
        X, y = data()
        return torch.from_numpy(X[row]) + noise([4]), y[row]


class NoisyStream(IterableDataset):
    def __iter__(self):
        for x, label in zip(*data(), strict=True):
            yield torch.from_numpy(x) + noise([4]), label


USER_CODE = {
    "augment": lambda seed: estimator(seed, augment=augment).fit(*data()),
    "dataset": lambda seed: estimator(seed).fit(Noisy()),
    "in a worker": lambda seed: estimator(seed, max_epochs=1, iterator_train__num_workers=1).fit(
        Noisy()
    ),
    "validation": lambda seed: estimator(seed, validation=Noisy()).fit(*data()),
    "stream": lambda seed: estimator(seed, early_stopping=False).fit(NoisyStream()),
}


@pytest.mark.parametrize("name", USER_CODE)
def test_user_code_draws_by_random_state(name):
    fit, losses, part = USER_CODE[name], [], "valid" if name == "validation" else "train"
    for outside in (0, 1):
        np.random.seed(outside)
        random.seed(outside)
        before = global_states()
        fitted = fit(7)
        assert global_states() == before
        losses.append(fitted.history_[:, f"{part}_loss"])
    assert losses[0] == losses[1]
    assert len(set(losses[0])) == len(losses[0])
    assert fit(8).history_[:, f"{part}_loss"] != losses[0]


@pytest.mark.parametrize("loader", [{}, {"iterator_train__num_workers": 0}])
def test_an_estimator_neither_disturbs_global_generators_nor_depends_on_them(loader):
    X, y = data()
    results = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        before = global_states()
        fitted = estimator(7, **loader).fit(X, y)
        fitted.partial_fit(X, y)
        results.append(fitted.predict_proba(X))
        fitted.score(X, y)
        assert global_states() == before
    np.testing.assert_array_equal(*results)


def test_generators_are_as_they_were_after_a_failure():
    X, y = data()
    before = global_states()
    with pytest.raises(ValueError, match="loss is"):
        estimator(0).fit(np.full_like(X, 3e38), y)
    assert global_states() == before


@pytest.mark.parametrize("make", [lambda: 5, lambda: np.int64(5), lambda: np.random.RandomState(5)])
def test_random_state_fixes_everything(make):
    X, y = data()
    one, other = estimator(make()).fit(X, y), estimator(make()).fit(X, y)
    assert one.loss_curve_ == other.loss_curve_
    assert one.validation_scores_ == other.validation_scores_
    assert one.module_.scale == other.module_.scale
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))
    assert estimator(6).fit(X, y).loss_curve_ != one.loss_curve_


def test_no_random_state_is_another_one_each_time():
    X, y = data()
    assert estimator(None).fit(X, y).loss_curve_ != estimator(None).fit(X, y).loss_curve_


def test_a_generator_moves_on_from_fit_to_fit():
    X, y = data()
    fitted = estimator(np.random.RandomState(0)).fit(X, y)
    first = fitted.loss_curve_
    assert fitted.fit(X, y).loss_curve_ != first


@pytest.mark.parametrize("bad", ["seed", -1, 1.5])
def test_a_bad_random_state(bad):
    with pytest.raises(ValueError, match=r"seed|Seed"):
        estimator(bad).fit(*data())


def test_epochs_in_parts_draw_the_same_numbers_as_in_one():
    X, y = data()
    whole = estimator(0, early_stopping=False, max_epochs=4).fit(X, y)
    parts = estimator(0, early_stopping=False, max_epochs=2, warm_start=True).fit(X, y).fit(X, y)
    assert parts.loss_curve_ == whole.loss_curve_
    stepped = estimator(0, early_stopping=False)
    for _ in range(4):
        stepped.partial_fit(X, y, classes=[0, 1])
    assert stepped.loss_curve_ == whole.loss_curve_


def test_fits_in_threads_are_the_fits_alone():
    X, y = data()
    alone = [estimator(seed).fit(X, y).predict_proba(X) for seed in range(4)]
    before = global_states()
    with ThreadPoolExecutor(4) as threads:
        together = list(
            threads.map(lambda seed: estimator(seed).fit(X, y).predict_proba(X), range(4))
        )
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one, other)
    assert global_states() == before
