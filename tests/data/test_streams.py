"""Streams: their order, their targets, what lies beside them, and how often they are opened."""

import numpy as np
import pytest
import torch

from sktorch import TorchClassifier
from sktorch.data.source import BatchSettings
from sktorch.data.sources import as_source
from sktorch.modules import MLP
from tests.data.samples import ItemStream

CPU, N = torch.device("cpu"), 6
X, Y = torch.arange(2.0 * N).reshape(N, 2), torch.arange(N)
PAIRS = [*zip(X, Y.tolist(), strict=True)]


def batches_of(
    samples, targets=None, weights=None, keep_order=False, encode=torch.tensor, **options
):
    source = as_source(ItemStream(samples), has_targets=targets is None)
    return source.batches(
        Y if targets is None else targets,
        weights,
        torch.arange(N),
        BatchSettings(
            torch.float32, CPU, {"batch_size": 4} | options, keep_order=keep_order, encode=encode
        ),
    )


def test_a_stream_gives_the_same_in_every_pass():
    stream = as_source(ItemStream(PAIRS), has_targets=True)
    assert stream.targets.tolist() == stream.targets.tolist() == Y.tolist()
    assert torch.equal(torch.stack([x for x, _ in stream]), X)


class InAnotherOrder(ItemStream):
    """Begins one sample later in every pass."""

    def __iter__(self):
        self.items = [*self.items[1:], self.items[0]]
        return iter(self.items)


def test_a_stream_remembers_the_targets_of_its_last_pass():
    stream = as_source(InAnotherOrder(PAIRS), has_targets=True)
    orders = []
    for _ in range(2):
        passed = [int(y) for _, y in stream]
        assert stream.targets.tolist() == passed
        orders.append(passed)
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(Y.tolist())


def test_a_stream_with_its_targets():
    for weights in (None, torch.arange(N) / 2):
        batches = [*batches_of([*zip(X, Y.tolist(), strict=True)], weights=weights)]
        assert [y.tolist() for _, y, _ in batches] == [[0, 1, 2, 3], [4, 5]]
        for x, y, weight in batches:
            assert torch.equal(x[:, 0], 2.0 * y)
            assert weight is weights is None or torch.equal(weight, y / 2)


def test_a_stream_beside_targets_and_weights():
    for weights in (None, torch.arange(N) / 2):
        batches = [*batches_of([*X], targets=Y, weights=weights, drop_last=True)]
        assert [y.tolist() for _, y, _ in batches] == [[0, 1, 2, 3]]
        assert weights is None or torch.equal(batches[0][2], batches[0][1] / 2)


@pytest.mark.parametrize(
    ("samples", "beside", "message"),
    [
        ([*X], {"targets": Y[:5]}, "more samples than the 5 of y. Give y as many rows"),
        ([*X[:4]], {"targets": Y}, "fewer samples than the 6 of y. Give y as many rows"),
        ([], {"targets": Y}, "fewer samples than the 6 of y"),
        (
            [*zip(X, Y.tolist(), strict=True)],
            {"weights": torch.ones(5)},
            "more samples than the 5 of sample_weight. Give sample_weight as many rows",
        ),
        (
            [*X],
            {"targets": Y, "num_workers": 2},
            "num_workers=2 reads .* in another order than y and sample_weight",
        ),
        (
            [*zip(X, Y, strict=True)],
            {"keep_order": True, "num_workers": 1},
            "num_workers=1 reads .* in another order than its predictions",
        ),
    ],
)
def test_streams_of_another_length_or_order(samples, beside, message):
    with pytest.raises(ValueError, match=message):
        [*batches_of(samples, **beside)]


def test_targets_of_a_stream_are_encoded_once_a_batch():
    seen = []

    def encode(targets):
        seen.append(targets)
        return torch.tensor([len(target) for target in targets])

    words = ["a", "bb", "ccc", "dd", "", "f"]
    batches = [*batches_of([*zip(X, words, strict=True)], encode=encode)]
    assert seen == [words[:4], words[4:]]
    assert [y.tolist() for _, y, _ in batches] == [[1, 2, 3, 2], [0, 1]]
    beside = batches_of([*X], targets=Y, encode=encode)
    assert torch.cat([y for _, y, _ in beside]).tolist() == Y.tolist()
    assert len(seen) == 2  # Targets beside a stream come encoded.


def test_workers_read_a_stream_that_holds_its_targets():
    batches = [*batches_of([(x, int(y)) for x, y in zip(X, Y, strict=True)], num_workers=1)]
    assert torch.cat([y for _, y, _ in batches]).tolist() == Y.tolist()


# How often a stream is opened


class Counted(ItemStream):
    """A stream that counts how often it is opened, and how many samples it gave."""

    n_opened = n_given = 0

    def __iter__(self):
        self.n_opened += 1
        return self.samples()

    def samples(self):
        for item in self.items:
            self.n_given += 1
            yield item


def test_one_pass_gives_targets_and_example():
    dataset = Counted(PAIRS)
    source = as_source(dataset, has_targets=True)
    assert dataset.n_opened == 0
    assert source.targets.tolist() == Y.tolist()
    assert source.shape == (2,)
    assert torch.equal(source.example, X[:2])
    assert source.targets.tolist() == Y.tolist()
    assert (dataset.n_opened, dataset.n_given) == (1, N)


def test_without_targets_two_samples_are_read():
    dataset = Counted([*X])
    source = as_source(dataset, has_targets=None, fitted_shape=(2,))
    assert not source.holds_targets
    assert torch.equal(source.example, X[:2])
    assert (source.shape, dataset.n_opened, dataset.n_given) == ((2,), 1, 2)


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("module", [MLP, None])
def test_a_fit_opens_a_stream_once_before_training_and_once_an_epoch(module, beside):
    train, valid = Counted([*X] if beside else PAIRS), Counted(PAIRS)
    settings = {"max_epochs": 3, "device": "cpu", "random_state": 0, "validation": valid}
    classifier = TorchClassifier(module, **settings)
    classifier.fit(train, Y if beside else None)
    # The default module asks for statistics: of the pass that was begun, or of another one.
    for_statistics = int(module is None)
    assert valid.n_opened == 1 + 3
    assert train.n_opened == 1 + 3 + (0 if beside else for_statistics)
    before = max(2, N * for_statistics) if beside else N + N * for_statistics
    assert train.n_given == before + 3 * N
    n_opened = train.n_opened
    classifier.partial_fit(train, Y if beside else None)
    assert train.n_opened == n_opened + 1 + 1


@pytest.mark.parametrize("method", ["predict", "predict_proba", "score"])
def test_a_prediction_opens_a_stream_once(method):
    classifier = TorchClassifier(max_epochs=1, device="cpu").fit(ItemStream(PAIRS))
    dataset = Counted(PAIRS)
    getattr(classifier, method)(dataset)
    assert (dataset.n_opened, dataset.n_given) == (1, N)


class Once(ItemStream):
    """A stream that has only one pass."""

    def __init__(self, items):
        self.items = iter(items)

    def __iter__(self):
        return self.items


def test_a_stream_that_is_read_only_once():
    classifier = TorchClassifier(max_epochs=1, device="cpu").fit(ItemStream(PAIRS))
    for use in (
        lambda: classifier.fit(Once(PAIRS)),
        lambda: classifier.fit(Once([*X]), Y),
        lambda: classifier.set_params(validation=Once(PAIRS)).fit(X, Y),
    ):
        with pytest.raises(ValueError, match=r"Once.__iter__ returns the same iterator.*new one"):
            use()
    np.testing.assert_array_equal(classifier.predict(Once([*X])), classifier.predict(X))
    assert classifier.score(Once(PAIRS)) == classifier.score(X, Y)


def test_the_number_of_batches_follows_from_the_targets():
    assert len(batches_of(PAIRS)) == 2
    assert len(batches_of([*X], targets=Y, drop_last=True)) == 1
