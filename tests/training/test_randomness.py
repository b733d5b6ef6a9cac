"""Streams draw the same numbers from the same seed, and leave the process's generators alone."""

import copy
import os
import pickle
import random
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, IterableDataset

from sktorch import TorchClassifier
from sktorch.training.randomness import (
    RandomStream,
    drawing_nothing,
    draws_by_stream,
    leaves_generators_as_found,
    numpy_and_python_numbers_again,
    numpy_and_python_state,
    torch_numbers_again,
    torch_state,
)
from tests.training.interrupting import in_another_thread, interrupted_everywhere

CPU = torch.device("cpu")


def global_states():
    """Return the states of torch's, numpy's and Python's default generators, comparable."""
    kind, keys, *rest = np.random.get_state()
    return torch.get_rng_state().numpy().tobytes(), kind, keys.tobytes(), rest, random.getstate()


def drawn():
    """Return a number of each default generator."""
    return torch.rand(()).item(), np.random.rand(), random.random()


def numbers_after(seed, n=1):
    """Return what follows the seeds of all generators."""
    numpys, pythons = np.random.RandomState(seed), random.Random(seed)
    torchs = torch.Generator().manual_seed(seed)
    return [
        (torch.rand((), generator=torchs).item(), numpys.rand(), pythons.random()) for _ in range(n)
    ]


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_a_stream_gives_the_numbers_that_follow_the_seeds(seed):
    assert RandomStream(seed, CPU).run(drawn) == numbers_after(seed)[0]


def test_a_stream_goes_on_where_it_stopped():
    stream = RandomStream(3, CPU)
    numbers = []
    for _ in range(3):
        numbers.append(stream.run(drawn))
        drawn()  # of the default generators
    assert numbers == numbers_after(3, 3)


def test_a_function_gets_its_arguments_and_gives_its_value():
    assert RandomStream(0, CPU).run(divmod, 7, 2) == (3, 1)
    assert RandomStream(0, CPU).run_in_torch(dict, a=1) == {"a": 1}


def test_in_torch_alone_the_others_go_on():
    state = global_states()
    stream = RandomStream(3, CPU)
    torchs = stream.run_in_torch(drawn)[0]
    assert torchs == numbers_after(3)[0][0]
    np.random.seed(5), random.seed(5)
    stream.run_in_torch(drawn)
    assert (np.random.rand(), random.random()) == numbers_after(5, 2)[1][1:]
    assert global_states()[0] == state[0]


def draw_and_fail(numbers):
    numbers.append(drawn())
    raise LookupError


def test_default_generators_are_as_they_were():
    np.random.randn(3)  # numpy keeps the fourth number.
    before = global_states()
    RandomStream(0, CPU).run(np.random.randn)
    with pytest.raises(LookupError):
        RandomStream(0, CPU).run(draw_and_fail, [])
    assert global_states() == before


def test_a_failure_inside_leaves_the_stream_usable():
    stream, numbers = RandomStream(0, CPU), []
    for _ in range(2):
        with pytest.raises(LookupError):
            stream.run(draw_and_fail, numbers)
    assert numbers == numbers_after(0, 2)


def test_streams_inside_each_other():
    inner, outer = RandomStream(2, CPU), RandomStream(1, CPU)

    def nested():
        return [drawn(), inner.run(drawn), outer.run(drawn), drawn()]

    first, between, *others = outer.run(nested)
    assert between == numbers_after(2)[0]
    assert [first, *others] == numbers_after(1, 3)


def test_a_copied_stream_is_another_one():
    stream = RandomStream(0, CPU)
    copied = copy.copy(stream)
    first = stream.run(drawn)
    assert copied.run(drawn) == first
    assert stream.run(drawn) != first


def test_a_stream_that_runs_is_copied_as_it_is_now():
    stream = RandomStream(0, CPU)

    def draw_and_copy():
        drawn()
        return pickle.loads(pickle.dumps(stream))

    for run in (stream.run, leaves_generators_as_found(stream.run)):
        copied = run(draw_and_copy)
        assert stream.run(drawn) == copied.run(drawn)


def test_a_seed_that_follows_does_not_move_the_stream():
    stream = RandomStream(0, CPU)
    seeds = {stream.next_seed(), stream.next_seed(), stream.run(stream.next_seed)}
    torch.manual_seed(0)
    assert seeds == {torch.empty((), dtype=torch.int64).random_().item()}
    stream.run(drawn)
    assert stream.next_seed() not in seeds


@pytest.mark.parametrize("draw", [torch.rand, np.random.rand, random.random])
def test_whether_a_number_was_drawn(draw):
    stream = RandomStream(0, CPU)
    stream.run(int)
    assert not stream.has_drawn()
    stream.run(draw, *([1] if draw is torch.rand else []))
    assert stream.has_drawn()


def test_states_stay_until_the_outermost_function_is_over():
    stream, other, numbers = RandomStream(3, CPU), RandomStream(4, CPU), []

    @leaves_generators_as_found
    def inner():
        numbers.append(other.run(drawn))

    @leaves_generators_as_found
    def outer():
        numbers.append(stream.run(drawn))
        inner()
        numbers.append(stream.run(drawn))
        stream.run(inner)
        numbers.append(stream.run(drawn))

    before = global_states()
    outer()
    assert global_states() == before
    assert numbers[::2] == numbers_after(3, 3)
    assert numbers[1::2] == numbers_after(4, 2)


def draw_in_parts(seed, wait=lambda: None):
    stream, numbers = RandomStream(seed, CPU), []

    @leaves_generators_as_found
    def draw():
        for _ in range(100):
            wait()
            numbers.append(stream.run(drawn))

    draw()
    return numbers


def test_threads_side_by_side_draw_what_each_draws_alone():
    seeds = range(3)
    alone = [draw_in_parts(seed) for seed in seeds]
    before = global_states()
    barrier = threading.Barrier(len(seeds))
    with ThreadPoolExecutor(len(seeds)) as threads:
        together = list(threads.map(lambda seed: draw_in_parts(seed, barrier.wait), seeds))
    assert together == alone
    assert global_states() == before


def test_a_function_that_is_over_does_not_wait_for_the_stream_of_another_thread():
    running, over = threading.Event(), threading.Event()

    def other():
        running.set()
        assert over.wait(20)

    def begin_another():
        RandomStream(0, CPU).run(drawn)
        thread.start()
        running.wait(20)

    thread = threading.Thread(target=RandomStream(1, CPU).run, args=(other,))
    leaves_generators_as_found(begin_another)()
    over.set()
    thread.join()


AGAIN = [torch_numbers_again, numpy_and_python_numbers_again]


def test_numbers_come_again():
    def draw_twice():
        agains = [again() for again in AGAIN]
        first = drawn()
        for again in agains:
            again()
        return first, drawn()

    first, second = RandomStream(0, CPU).run(draw_twice)
    assert first == second


@pytest.mark.parametrize("again", AGAIN)
def test_who_draws_nothing_leaves_the_generators_of_other_threads_alone(again):
    """A trial of a recording goes back to the numbers of before; beside it another thread draws."""
    made = drawing_nothing(again)
    state = drawing_nothing(torch_state), drawing_nothing(numpy_and_python_state)
    drawn()  # by the other thread
    before = global_states()
    drawing_nothing(made)
    assert torch.equal(state[0], drawing_nothing(torch_state))
    assert state[1] == drawing_nothing(numpy_and_python_state)
    assert global_states() == before
    assert torch.equal(torch_state(), torch.get_rng_state())


# An interrupt at every instruction.

FILES = ("randomness.py", "interrupts.py")


def interrupted_streams():
    """Return functions that run streams in all ways."""
    stream, inner = RandomStream(1, CPU), RandomStream(2, CPU)

    def nested():
        return drawn(), inner.run(drawn), drawn()

    def fit():
        stream.run(nested)
        stream.run_in_torch(torch.rand, 1)
        inner.run(drawn)
        copy.copy(inner)
        inner.run(leaves_generators_as_found(inner.run), torch.rand, 1)

    return {"alone": lambda: stream.run(nested), "in a fit": leaves_generators_as_found(fit)}


@pytest.mark.parametrize("name", interrupted_streams())
def test_an_interrupt_anywhere_leaves_generators_and_lock_as_they_were(name):
    np.random.randn(3)
    before = global_states()
    n_interrupts = 0
    for _ in interrupted_everywhere(interrupted_streams()[name], FILES):
        n_interrupts += 1
        assert not draws_by_stream()
        assert global_states() == before
        if n_interrupts % 20 == 0:
            assert in_another_thread(lambda: RandomStream(0, CPU).run(drawn))
    assert n_interrupts > 300
    assert in_another_thread(lambda: RandomStream(0, CPU).run(drawn))


def test_an_interrupt_while_waiting_for_another_thread():
    running, over = threading.Event(), threading.Event()
    other = threading.Thread(
        target=RandomStream(1, CPU).run, args=(lambda: (running.set(), over.wait(20)),)
    )
    other.start()
    running.wait(20)
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        RandomStream(0, CPU).run(drawn)
    over.set()
    other.join()
    assert not draws_by_stream()
    assert RandomStream(0, CPU).run(drawn) == numbers_after(0)[0]


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
