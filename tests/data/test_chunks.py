"""Chunks of rows: the models of the same rows as a stream, whatever the sizes of the chunks."""

import weakref
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score
from torch import nn
from torch.utils.data import get_worker_info

from sktorch import TorchClassifier, TorchRegressor
from sktorch.data import ChunkedDataset
from sktorch.data.source import BatchSettings
from sktorch.data.sources import as_source
from tests.data.samples import ItemStream

DIGITS, LABELS = load_digits(return_X_y=True)
DIGITS, LABELS = DIGITS[:700], LABELS[:700]
CUTS = [0, 1, 5, 5, 300, 301, 430, 700]  # one row, none, and more than several batches
N = 6
X, Y = torch.arange(2.0 * N).reshape(N, 2), torch.arange(N)


def chunks(*values, cuts=CUTS):
    """Return rows in chunks that begin and end at given rows."""
    pieces = [tuple(x[a:b] for x in values) for a, b in pairwise(cuts)]
    return ChunkedDataset(pieces if len(values) > 1 else [piece for (piece,) in pieces])


def fitted(X, y=None, sample_weight=None, **parameters):
    settings = {"max_epochs": 3, "batch_size": 64, "random_state": 0, "device": "cpu"}
    net = TorchClassifier(**settings | parameters)
    return net.fit(X, y, sample_weight=sample_weight)


def batches_of(dataset, targets=None, weights=None, **options):
    source = as_source(dataset, has_targets=targets is None)
    return source.batches(
        Y if targets is None else targets,
        weights,
        torch.arange(N),
        BatchSettings(
            torch.float32, torch.device("cpu"), {"batch_size": 4} | options, encode=torch.tensor
        ),
    )


@pytest.mark.parametrize(
    "cuts", [[0, 6], [0, 3, 6], [0, 1, 2, 3, 4, 5, 6], [0, 4, 4, 6], [0, 5, 6]]
)
@pytest.mark.parametrize("drop_last", [False, True])
def test_batches_have_one_size_over_the_borders_of_chunks(cuts, drop_last):
    weights = Y / 2
    batches = batches_of(chunks(X, Y.numpy(), cuts=cuts), weights=weights, drop_last=drop_last)
    found = [*batches]
    expected = [[0, 1, 2, 3]] if drop_last else [[0, 1, 2, 3], [4, 5]]
    assert [y.tolist() for _, y, _ in found] == expected
    assert len(batches) == len(expected)
    for x, y, weight in found:
        assert torch.equal(x[:, 0], 2.0 * y)
        assert torch.equal(weight, y / 2)


PARAMETERS = {
    "defaults": {},
    "drop_last": {"iterator_train__drop_last": True},
    "large batches": {"batch_size": 600},
    "balanced": {"class_weight": "balanced"},
}


@pytest.mark.parametrize("parameters", PARAMETERS)
def test_chunks_train_the_model_of_a_stream_of_their_rows(parameters):
    rows = ItemStream([*zip(DIGITS, LABELS, strict=True)])
    one, many = (
        fitted(dataset, **PARAMETERS[parameters]) for dataset in (rows, chunks(DIGITS, LABELS))
    )
    np.testing.assert_allclose(many.loss_curve_, one.loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(
        many.predict_proba(DIGITS), one.predict_proba(DIGITS), rtol=1e-7, atol=1e-9
    )


def test_predictions_come_for_the_rows_of_chunks_with_or_without_targets():
    net = fitted(chunks(DIGITS, LABELS))
    expected = net.predict_proba(DIGITS)
    np.testing.assert_allclose(net.predict_proba(chunks(DIGITS)), expected, atol=1e-9)
    np.testing.assert_allclose(net.predict_proba(chunks(DIGITS, LABELS)), expected, atol=1e-9)
    assert net.score(chunks(DIGITS, LABELS)) == accuracy_score(LABELS, net.predict(DIGITS))
    assert net.score(chunks(DIGITS), LABELS) == net.score(DIGITS, LABELS)


def test_targets_and_weights_may_lie_beside_chunks():
    weights = 1 + LABELS % 3
    rows = fitted(ItemStream([*DIGITS]), LABELS, weights)
    np.testing.assert_allclose(
        fitted(chunks(DIGITS), LABELS, weights).loss_curve_, rows.loss_curve_, rtol=1e-9
    )
    np.testing.assert_allclose(
        fitted(chunks(DIGITS, LABELS), None, weights).loss_curve_, rows.loss_curve_, rtol=1e-9
    )


def test_validation_rows_come_in_chunks():
    net = fitted(
        chunks(DIGITS, LABELS), validation=chunks(DIGITS, LABELS), early_stopping=True, max_epochs=4
    )
    assert net.validation_scores_[net.best_epoch_ - 1] == net.score(DIGITS, LABELS)


class Halves(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.output = nn.Linear(64, n_outputs)

    def forward(self, left, right):
        return self.output(torch.cat([left, right], 1) / 16)


def test_chunks_have_several_inputs_by_name_or_place():
    left, right = np.split(DIGITS, 2, axis=1)
    pieces = [(slice(0, 333), LABELS[:333]), (slice(333, 700), LABELS[333:])]
    named = [({"left": left[r], "right": right[r]}, y) for r, y in pieces]
    named[1][0]["left"] = named[1][0].pop("left")  # The names come in another order.
    placed = [(left[r], right[r], y) for r, y in pieces]
    nested = [((left[r], right[r]), y) for r, y in pieces]
    nets = [fitted(ChunkedDataset(chunks), module=Halves) for chunks in (named, placed, nested)]
    expected = fitted(
        {"left": left, "right": right}, LABELS, module=Halves, iterator_train__shuffle=False
    )
    for net in nets:
        np.testing.assert_allclose(net.loss_curve_, expected.loss_curve_, rtol=1e-5)


def test_a_regressor_takes_tensors_of_numbers():
    X, y = torch.from_numpy(DIGITS).float(), torch.from_numpy(DIGITS[:, :2].sum(1)).float()
    net = TorchRegressor(max_epochs=2, random_state=0, device="cpu").fit(chunks(X, y))
    assert net.predict(chunks(X)).shape == (700,)


class Drawn:
    """Chunks in an order that torch's generator draws."""

    def __iter__(self):
        for number in torch.randperm(7).tolist():
            yield DIGITS[number::7], LABELS[number::7]


def test_the_order_of_chunks_follows_random_state():
    first, again, other = (
        fitted(ChunkedDataset(Drawn()), random_state=seed).loss_curve_ for seed in (0, 0, 1)
    )
    assert first == again != other


def test_a_module_that_works_in_place_leaves_the_chunks_alone():
    values = DIGITS.astype(np.float32)
    net = fitted(chunks(values, LABELS), module=InPlace)
    net.predict(chunks(values))
    assert np.array_equal(values, DIGITS)


class InPlace(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.output = nn.Linear(64, n_outputs)

    def forward(self, rows):
        return self.output(rows.div_(16))


class Reader:
    """Chunks that are read to the same memory, sorted by their labels."""

    def __iter__(self):
        buffer, order = np.empty((100, 65)), np.argsort(LABELS, kind="stable")
        for start in range(0, 700, 100):
            rows = order[start : start + 100]
            buffer[:] = np.column_stack([DIGITS[rows], LABELS[rows]])
            yield buffer[:, :-1], buffer[:, -1]


def test_a_reader_may_use_its_memory_again():
    rows, again = np.argsort(LABELS, kind="stable"), ChunkedDataset(Reader())
    same = chunks(DIGITS[rows], LABELS[rows].astype(float))
    for parameters in ({"class_weight": "balanced"}, {"validation": again}):
        net = fitted(again, **parameters)
        expected = fitted(same, **parameters)
        np.testing.assert_allclose(net.loss_curve_, expected.loss_curve_, rtol=1e-9)
        assert net.score(again) == expected.score(DIGITS, LABELS)
    assert net.validation_scores_[-1] == net.score(DIGITS, LABELS)


class Counted:
    """Chunks whose arrays are counted while they are alive."""

    def __init__(self):
        self.n_alive = self.most = 0

    def __iter__(self):
        for start in range(0, 700, 70):
            X, y = np.split(np.column_stack([DIGITS, LABELS])[start : start + 70], [64], axis=1)
            self.n_alive += 1
            self.most = max(self.most, self.n_alive)
            weakref.finalize(X.base, self.died)
            yield X, y[:, 0]
            del X, y

    def died(self):
        self.n_alive -= 1


def test_chunks_leave_the_memory():
    counted = Counted()
    net = fitted(ChunkedDataset(counted))
    net.predict(ChunkedDataset(counted))
    net.score(ChunkedDataset(counted))
    assert counted.most <= 3
    assert counted.n_alive == 0


def test_batches_gather_many_small_chunks():
    one, many = chunks(DIGITS, LABELS), chunks(DIGITS, LABELS, cuts=range(701))
    assert fitted(one, batch_size=300).loss_curve_ == fitted(many, batch_size=300).loss_curve_


def test_integers_stay_integers_in_all_chunks():
    first = ({"codes": np.arange(9)}, np.arange(9) % 3)
    second = ({"codes": np.arange(9) + 0.5}, np.arange(9) % 3)
    with pytest.raises(ValueError, match="holds float64, and the first one held integers"):
        fitted(ChunkedDataset([first, second]), module=Codes)


class Codes(nn.Embedding):
    def __init__(self, n_outputs):
        super().__init__(9, n_outputs)

    def forward(self, codes):
        return super().forward(codes)


class OfWorkers:
    """Chunks of which each worker of a DataLoader reads its own."""

    def __iter__(self):
        worker = get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for number in range(first, 7, step):
            yield DIGITS[number::7], LABELS[number::7]


def test_workers_read_chunks_of_their_own():
    alone = fitted(ChunkedDataset(OfWorkers()))
    shared = fitted(ChunkedDataset(OfWorkers()), iterator_train__num_workers=2)
    np.testing.assert_allclose(shared.loss_curve_, alone.loss_curve_, rtol=0.05)
    with pytest.raises(ValueError, match="num_workers=1 reads an IterableDataset in another order"):
        fitted(chunks(DIGITS), LABELS, iterator_train__num_workers=1)


WRONG = {
    "frame": ([(pd.DataFrame(DIGITS), LABELS)], {}, r"pandas.*DataFrame, and its columns would go"),
    "sparse": ([(sparse.csr_array(DIGITS), LABELS)], {}, r"Give its toarray\(\)"),
    "sparse tensor": ([(torch.tensor(DIGITS).to_sparse(), LABELS)], {}, r"Give its to_dense\(\)"),
    "no list": ((DIGITS, LABELS), {}, r"one array, expected a tuple \(X, y\). Pass a list"),
    "lengths": ([(DIGITS, LABELS[:-1])], {}, r"parts of \[700, 699\] rows"),
    "number": ([(DIGITS, 3)], {}, "expected arrays or tensors of one length"),
    "none": ([], {}, r"0 sample\(s\)"),
    "empty": ([(DIGITS[:0], LABELS[:0])], {}, r"0 sample\(s\)"),
    "read once": (iter([(DIGITS, LABELS)] * 2), {}, "same iterator"),
    "widths": ([(DIGITS[:9], LABELS[:9]), (DIGITS[:9, 1:], LABELS[:9])], {}, r"\(63,\)"),
    "collate_fn": (
        [(DIGITS, LABELS)],
        {"iterator_train__collate_fn": list},
        "rows come stacked",
    ),
    "shuffle": ([(DIGITS, LABELS)], {"iterator_train__shuffle": True}, "shuffle in chunks"),
    "sampler": (
        [(DIGITS, LABELS)],
        {"iterator_train__batch_sampler": [[0]]},
        r"can't take \['batch_sampler'\]",
    ),
    "option": ([(DIGITS, LABELS)], {"iterator_train__nonsense": 1}, "nonsense"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_chunks_are_refused_in_words(name):
    wrong, parameters, message = WRONG[name]
    with pytest.raises((ValueError, TypeError), match=message):
        fitted(ChunkedDataset(wrong), **parameters)


def test_more_or_fewer_rows_than_targets_are_refused():
    for n_targets, message in ((699, "more samples than the 699"), (701, "fewer samples than the")):
        with pytest.raises(ValueError, match=message):
            fitted(chunks(DIGITS), np.resize(LABELS, n_targets))
