"""Settings of the DataLoader, through ``iterator_train__*`` and ``iterator_valid__*``."""

import faulthandler
import os
import sys
import tracemalloc

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold
from torch.utils.data import (
    Dataset,
    IterableDataset,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    get_worker_info,
)

from sktorch import TorchClassifier
from sktorch.data import SliceableDataset
from sktorch.modules import MLP
from tests.data.samples import Items, ItemStream

N = 60
X = np.random.RandomState(0).randn(N, 4).astype("float32")
Y = (X[:, 0] + X[:, 1] > 0).astype(int)
PAIRS = [*zip(X, Y.tolist(), strict=True)]


def classifier(**parameters):
    settings = {"max_epochs": 3, "lr": 0.05, "batch_size": 16, "device": "cpu", "random_state": 0}
    return TorchClassifier(MLP, **(settings | {"module__hidden": (6,)} | parameters))


@pytest.fixture
def ends_in_time():
    """Ends the process after a minute, with what hangs: a stuck loader can't be interrupted."""
    faulthandler.dump_traceback_later(60, exit=True, file=sys.__stderr__)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="module")
def expected():
    """What training without any settings gives."""
    return classifier().fit(X, Y).predict_proba(X)


@pytest.mark.parametrize(
    "options",
    [
        {"num_workers": 0},
        {"num_workers": 2},
        {"num_workers": 1, "prefetch_factor": 3},
        {"pin_memory": True},
        pytest.param({"collate_fn": default_collate}, id="collate_fn"),
        {"timeout": 0},
    ],
    ids=str,
)
@pytest.mark.parametrize("given", [(X, Y), (Items(PAIRS),)], ids=["arrays", "dataset"])
@pytest.mark.usefixtures("ends_in_time")
def test_what_decides_about_speed_only_gives_the_same_model(options, given, expected):
    settings = {
        f"iterator_{part}__{name}": value
        for name, value in options.items()
        for part in ("train", "valid")
    }
    fitted = classifier(**settings).fit(*given)
    np.testing.assert_allclose(fitted.predict_proba(given[0]), expected, rtol=1e-5)
    np.testing.assert_array_equal(
        clone(fitted).fit(*given).predict_proba(given[0]), fitted.predict_proba(given[0])
    )


def test_the_last_batch_may_be_dropped():
    fitted = classifier(iterator_train__drop_last=True).fit(Items(PAIRS))
    assert fitted.history_[:, "train_batch_count"] == [3] * 3
    assert fitted.predict(Items(PAIRS)).shape == (N,)
    with pytest.raises(ValueError, match=r"gave no batch.*smaller batch_size.*drop_last"):
        classifier(iterator_train__drop_last=True, batch_size=100).fit(Items(PAIRS))


def test_a_sampler_that_weighs_rows():
    seen = []

    def look(pairs):
        seen.extend(int(y) for _, y in pairs)
        return default_collate(pairs)

    # Rows of class 0 are never drawn, but by their labels known.
    sampler = WeightedRandomSampler(torch.as_tensor(Y, dtype=torch.double), 200)
    settings = {"iterator_train__sampler": sampler, "iterator_train__collate_fn": look}
    fitted = classifier(**settings).fit(Items(PAIRS))
    drawn = seen[seen.index(1) :]  # the first two are looked at only, under targets of zero
    assert set(drawn) == {1}
    assert len(drawn) == 3 * 200
    assert set(fitted.predict(X)) == {1}
    again = clone(fitted).fit(Items(PAIRS))
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    other = clone(fitted).set_params(random_state=1).fit(Items(PAIRS))
    assert not np.array_equal(other.predict_proba(X), fitted.predict_proba(X))


@pytest.mark.parametrize(
    ("parameters", "weights"),
    [
        ({"early_stopping": True}, None),
        ({"validation": KFold(3)}, None),
        ({}, np.arange(N) % 2),
        ({"validation": (X, Y)}, np.arange(N) % 2),
        ({"class_weight": {0: 0, 1: 1}}, None),
    ],
)
@pytest.mark.parametrize("given", [(X, Y), (Items(PAIRS), None)], ids=["arrays", "dataset"])
@pytest.mark.parametrize(
    ("name", "rows"), [("sampler", [3, 1, 2]), ("batch_sampler", [[3, 1], [2]])]
)
def test_a_sampler_of_rows_that_are_not_all_trained_on(name, rows, given, parameters, weights):
    estimator = classifier(**{f"iterator_train__{name}": rows}, **parameters)
    with pytest.raises(
        ValueError, match=rf"iterator_train__{name} numbers the rows that are trained on.*_val\)"
    ):
        estimator.fit(*given, sample_weight=weights)
    assert not hasattr(estimator, "net_")


@pytest.mark.parametrize(
    ("name", "rows"), [("sampler", [3, 1, 2]), ("batch_sampler", [[3, 1], [2]])]
)
def test_a_sampler_beside_rows_to_validate_on(name, rows):
    estimator = classifier(**{f"iterator_train__{name}": rows}, validation=(X, Y))
    fitted = estimator.fit(X, Y, sample_weight=1.0 + np.arange(N))
    assert sum(b.get("train_batch_size", 0) for b in fitted.history_[0, "batches"]) == 3
    assert fitted.validation_scores_[-1] == fitted.score(X, Y)


@pytest.mark.parametrize(
    "options", [{"drop_last": True}, {"sampler": [0]}, {"shuffle": True}, {"in_order": False}]
)
def test_what_is_validated_on_keeps_its_order(options):
    settings = {f"iterator_valid__{name}": value for name, value in options.items()}
    with pytest.raises(ValueError, match=rf"iterator_valid can't take \['{next(iter(options))}'\]"):
        classifier(early_stopping=True, **settings).fit(X, Y)


def reversed_batch(pairs):
    return default_collate(pairs[::-1])


def test_a_collate_function_that_reorders():
    trained = classifier(iterator_train__collate_fn=reversed_batch).fit(Items(PAIRS))
    np.testing.assert_allclose(
        trained.predict_proba(X), classifier().fit(X, Y).predict_proba(X), rtol=1e-3
    )
    with pytest.raises(ValueError, match=r"reversed_batch.*leave the samples in their order"):
        trained.set_params(iterator_valid__collate_fn=reversed_batch).predict(Items(PAIRS))
    with pytest.raises(ValueError, match=r"reversed_batch.*leave the samples in their order"):
        classifier(early_stopping=True, iterator_valid__collate_fn=reversed_batch).fit(Items(PAIRS))
    with pytest.raises(ValueError, match=r"reversed_batch.*leave the samples in their order"):
        classifier(iterator_train__collate_fn=reversed_batch).fit(X, Y, sample_weight=Y + 1)


def test_settings_are_searched():
    search = GridSearchCV(classifier(), {"iterator_train__drop_last": [True, False]}, cv=2)
    search.fit(X, Y)
    assert len(search.cv_results_["params"]) == 2


def test_an_unknown_setting_is_named():
    with pytest.raises(TypeError, match="num_worker"):
        classifier(iterator_train__num_worker=2).fit(X, Y)


# Workers


class InWorker(Dataset):
    """Samples as they are, but for what happens in a worker."""

    def __init__(self, act):
        self.act = act

    def __len__(self):
        return N

    def __getitem__(self, position):
        if get_worker_info() is not None and position == 7:
            self.act()
        return PAIRS[position]


class OwnError(Exception):
    pass


def fail():
    raise OwnError("file 7 is broken")


def die():
    os._exit(3)


@pytest.mark.parametrize("part", ["train", "valid"])
@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (fail, OwnError, r"(?s)DataLoader worker process.*file 7 is broken"),
        (die, RuntimeError, r"DataLoader worker \(pid.*exited unexpectedly"),
    ],
)
@pytest.mark.usefixtures("ends_in_time")
def test_a_worker_that_fails_or_dies_gives_its_error(act, error, message, part):
    estimator = classifier(**{f"iterator_{part}__num_workers": 1})
    if part == "train":
        with pytest.raises(error, match=message):
            estimator.fit(InWorker(act))
        assert not hasattr(estimator, "net_")
    else:
        fitted = estimator.fit(InWorker(act))
        with pytest.raises(error, match=message):
            fitted.predict(InWorker(act))
        assert fitted.predict(X).shape == (N,)


@pytest.mark.usefixtures("ends_in_time")
def test_workers_that_persist_and_are_spawned():
    settings = {"iterator_train__num_workers": 1, "iterator_train__persistent_workers": True}
    expected = classifier(**settings).fit(Items(PAIRS)).predict_proba(X)
    settings["iterator_train__multiprocessing_context"] = "spawn"
    fitted = classifier(**settings).fit(Items(PAIRS))
    np.testing.assert_array_equal(fitted.predict_proba(X), expected)


class Shared(IterableDataset):
    """A stream of which each worker reads its share."""

    def __iter__(self):
        worker = get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        return iter(PAIRS[first::step])


@pytest.mark.usefixtures("ends_in_time")
def test_workers_share_a_stream_to_train_on_and_never_one_to_predict():
    fitted = classifier(iterator_train__num_workers=2, max_epochs=15).fit(Shared())
    assert sum(row["train_batch_size"] for row in fitted.history_[0, "batches"]) == N
    assert fitted.score(Shared()) > 0.85
    fitted.set_params(iterator_valid__num_workers=2)
    with pytest.raises(ValueError, match="in another order than its predictions"):
        fitted.score(Shared())
    with pytest.raises(ValueError, match=r"num_workers=2 reads .* in another order"):
        classifier(iterator_valid__num_workers=2, validation=Shared()).fit(X, Y)


# Transforms and augmentation


class Noisy(Dataset):
    """Makes a sample a little different every time, as transforms of images do."""

    def __init__(self, noise=0.1):
        self.noise = noise

    def __len__(self):
        return N

    def __getitem__(self, position):
        return torch.from_numpy(X[position]) + self.noise * torch.randn(4), int(Y[position])


@pytest.mark.parametrize("n_workers", [0, 2])
@pytest.mark.usefixtures("ends_in_time")
def test_transforms_inside_a_dataset_are_reproducible(n_workers):
    settings = {"iterator_train__num_workers": n_workers}
    first, again = (classifier(**settings).fit(Noisy()).predict_proba(X) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other = classifier(**settings, random_state=1).fit(Noisy()).predict_proba(X)
    plain = classifier(**settings).fit(Noisy(0)).predict_proba(X)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, plain)


@pytest.mark.parametrize("given", [Items(PAIRS), ItemStream(PAIRS)])
@pytest.mark.parametrize("n_workers", [0, 1])
@pytest.mark.usefixtures("ends_in_time")
def test_the_callers_random_numbers_are_left_alone(given, n_workers):
    on_map = {"iterator_valid__num_workers": n_workers} if isinstance(given, Items) else {}
    estimator = classifier(iterator_train__num_workers=n_workers, **on_map)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    estimator.fit(given)
    assert torch.equal(torch.get_rng_state(), before)
    estimator.predict(given)
    assert torch.equal(torch.get_rng_state(), before)


class Seen:
    """An augmentation that remembers what it was given."""

    def __init__(self):
        self.heights = []

    def __call__(self, X):
        self.heights.append(len(X))
        return X + 0.3 * torch.randn_like(X)

    def __deepcopy__(self, memo):
        return Seen()


@pytest.mark.parametrize("n_workers", [None, 0, 1])
@pytest.mark.parametrize("given", [(X, Y), (Items(PAIRS),), (ItemStream(PAIRS),)])
@pytest.mark.usefixtures("ends_in_time")
def test_augmentation_is_of_training_only_and_reproducible(given, n_workers):
    settings = {} if n_workers is None else {"iterator_train__num_workers": n_workers}
    seen = Seen()
    fitted = classifier(augment=seen, validation=(X, Y), **settings).fit(*given)
    assert seen.heights == [16, 16, 16, 12] * 3
    first = fitted.predict_proba(X)
    assert seen.heights == [16, 16, 16, 12] * 3
    again = clone(fitted).fit(*given)
    np.testing.assert_array_equal(again.predict_proba(X), first)
    assert fitted.validation_scores_[-1] == fitted.score(X, Y)
    plain = classifier(**settings).fit(*given)
    assert not np.array_equal(plain.predict_proba(X), first)


def test_augmentation_of_several_inputs():
    class Parts(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.output = torch.nn.Linear(4, 2)

        def forward(self, a, b):
            return self.output(torch.cat([a, b], 1))

    def only_one(X):
        return X | {"a": torch.zeros_like(X["a"])}

    settings = {"max_epochs": 2, "device": "cpu", "random_state": 0, "augment": only_one}
    fitted = TorchClassifier(Parts, **settings).fit({"a": X[:, :2], "b": X[:, 2:]}, Y)
    by_hand = TorchClassifier(Parts, **settings | {"augment": None})
    by_hand.fit({"a": 0 * X[:, :2], "b": X[:, 2:]}, Y)
    for own, other in zip(fitted.module_.parameters(), by_hand.module_.parameters(), strict=True):
        assert torch.equal(own, other)


# Data larger than memory


class Row:
    """A row that counts how many of its kind there are at a time."""

    now = most = read = 0

    def __init__(self, values):
        self.values = values
        Row.now, Row.read = Row.now + 1, Row.read + 1
        Row.most = max(Row.most, Row.now)

    def __del__(self):
        Row.now -= 1


class InFile(Dataset):
    """Rows of a file, each read when it is asked for."""

    def __init__(self, path):
        self.path = path

    def __len__(self):
        return N

    def __getitem__(self, position):
        return Row(np.fromfile(self.path, "float32", count=4, offset=16 * position))


def stacked_rows(pairs):
    values = [torch.from_numpy(row.values) for row, _ in pairs]
    return torch.stack(values), torch.stack([y for _, y in pairs])


def test_a_file_is_read_a_batch_at_a_time(tmp_path):
    X.tofile(tmp_path / "X.dat")
    rows = InFile(tmp_path / "X.dat")
    settings = {f"iterator_{part}__collate_fn": stacked_rows for part in ("train", "valid")}
    fitted = classifier(batch_size=5, **settings).fit(rows, Y)
    looked_at_first = 2
    assert Row.read == 3 * N + looked_at_first
    probabilities = fitted.predict_proba(SliceableDataset(rows))
    assert Row.read <= 4 * N + looked_at_first + 3  # some are looked at again
    assert Row.most <= 2 * 5
    expected = classifier(batch_size=5).fit(X, Y).predict_proba(X)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-5)


def test_a_loader_reads_a_memory_map_a_batch_at_a_time(tmp_path):
    shape = (4000, 1000)
    mapped = np.memmap(tmp_path / "X.dat", dtype="float32", mode="w+", shape=shape)
    mapped[:, 0] = np.random.RandomState(0).randn(shape[0])
    mapped.flush()
    mapped = np.memmap(tmp_path / "X.dat", dtype="float32", mode="r", shape=shape)
    y = (mapped[:, 0] > 0).astype(int)
    batch_bytes = 100 * mapped[0].nbytes
    loader = {"iterator_train__num_workers": 0, "iterator_valid__num_workers": 0}
    estimator = classifier(max_epochs=1, batch_size=100, early_stopping=True, **loader)
    tracemalloc.start()
    try:
        estimator.fit(mapped, y)
        _, peak_of_fit = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        estimator.predict(mapped)
        _, peak_of_predict = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert estimator.data_placement_ == "source"
    assert peak_of_fit < 10 * batch_bytes < mapped.nbytes / 3, peak_of_fit
    assert peak_of_predict < mapped.nbytes / 2, peak_of_predict


def test_a_tensor_dataset_beside_its_loader_settings():
    dataset = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    fitted = classifier(iterator_train__batch_size=7).fit(dataset)
    assert fitted.history_[0, "train_batch_count"] == -(-N // 7)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"shuffle": "rows"}, "shuffle must be True, False or 'blocks', got 'rows'"),
        ({"shuffle": "blocks", "num_workers": 0}, "is for arrays that are cut by index"),
    ],
)
def test_a_shuffle_that_there_is_not(options, words):
    options = {f"iterator_train__{name}": value for name, value in options.items()}
    with pytest.raises(ValueError, match=words):
        classifier(**options).fit(X, Y)


def test_a_dataset_is_not_shuffled_in_blocks():
    dataset = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    with pytest.raises(ValueError, match=r"these rows go through a DataLoader.*Leave out shuffle"):
        classifier(iterator_train__shuffle="blocks").fit(dataset)


def test_few_rows_in_blocks_are_all_mixed(expected):
    fitted = classifier(iterator_train__shuffle="blocks").fit(X, Y)
    assert np.array_equal(fitted.predict_proba(X), expected)
