"""Inputs in batches, for what is predicted."""

import numpy as np
import pytest
import torch
from scipy import sparse
from sktorch.data.inference import input_batches, n_rows_of
from torch.utils.data import default_collate

from sktorch.data import SliceableDataset, pad_sequences
from sktorch.data.datasets import Stream
from sktorch.data.structure import tree_leaves
from tests.data.samples import Items, ItemStream

CPU, N = torch.device("cpu"), 7
X = np.arange(2.0 * N, dtype="float32").reshape(N, 2)
OPTIONS = {"batch_size": 4, "shuffle": False}


def batches_of(values, **options):
    return [*input_batches(values, torch.float32, CPU, n_rows=3, options=OPTIONS | options)]


@pytest.mark.parametrize(
    ("values", "sizes"),
    [
        (X, [3, 3, 1]),
        (sparse.csr_array(X), [3, 3, 1]),
        (torch.from_numpy(X), [3, 3, 1]),
        (SliceableDataset(Items([*X])), [4, 3]),
        (SliceableDataset(Items([(x, 0) for x in X])), [4, 3]),
        (SliceableDataset(Items([(x, 0) for x in X[::-1]]))[::-1], [4, 3]),
        (Stream(ItemStream([*X]), False), [4, 3]),
        (Stream(ItemStream([(x, "label") for x in X]), True), [4, 3]),
    ],
)
def test_all_rows_in_their_order(values, sizes):
    batches = batches_of(values)
    assert [len(batch) for batch in batches] == sizes
    np.testing.assert_array_equal(torch.cat(batches), X)
    assert n_rows_of(values) == (None if isinstance(values, Stream) else N)


@pytest.mark.parametrize(
    "samples",
    [
        [(x, x[:1], 0) for x in X],
        [({"a": x, "b": x[:1]}, 0) for x in X],
    ],
)
def test_several_inputs(samples):
    (first, second), *_ = map(tree_leaves, batches_of(SliceableDataset(Items(samples))))
    np.testing.assert_array_equal(first, X[:4])
    np.testing.assert_array_equal(second, X[:4, :1])


def test_sequences_are_padded_a_batch_at_a_time():
    sequences = np.empty(N, dtype=object)
    sequences[:] = [np.full((1 + row, 1), row) for row in range(N)]
    shapes = [tuple(padded.shape) for padded, _ in batches_of(sequences)]
    assert shapes == [(3, 3, 1), (3, 6, 1), (1, 7, 1)]
    samples = SliceableDataset(Items([torch.from_numpy(s) for s in sequences]))
    assert [len(lengths) for _, lengths in batches_of(samples, collate_fn=pad_sequences)] == [4, 3]


def test_what_is_given_is_not_what_the_module_gets():
    values = X.copy()
    for batch in batches_of(values):
        batch.fill_(-1)
    np.testing.assert_array_equal(values, X)


@pytest.mark.parametrize("name", ["map", "stream"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drop_last": True}, r"\['drop_last'\]"),
        ({"sampler": [1, 0]}, r"\['sampler'\]"),
        ({"batch_sampler": [[1, 0]]}, r"\['batch_sampler'\]"),
        ({"shuffle": True}, r"\['shuffle'\]"),
    ],
)
def test_options_that_would_change_the_rows(name, options, message):
    values = SliceableDataset(Items([*X])) if name == "map" else Stream(ItemStream([*X]), False)
    with pytest.raises(ValueError, match=message):
        batches_of(values, **options)


def test_several_workers_would_reorder_a_stream():
    assert len(batches_of(SliceableDataset(Items([*X])), num_workers=2)) == 2
    with pytest.raises(ValueError, match="in another order than its predictions"):
        batches_of(Stream(ItemStream([*X]), False), num_workers=2)


def by_length(pairs):
    return pad_sequences(sorted(pairs, key=lambda pair: -len(pair[0])))


def test_a_collate_function_that_sorts_is_refused():
    samples = SliceableDataset(Items([torch.ones(1 + row) for row in range(N)]))
    with pytest.raises(ValueError, match=r"by_length.*in another order"):
        batches_of(samples, collate_fn=by_length)
    in_order = SliceableDataset(Items([torch.ones(N - row) for row in range(N)]))
    assert len(batches_of(in_order, collate_fn=by_length)) == 2
    stacked = SliceableDataset(Items([*X]))
    assert len(batches_of(stacked, collate_fn=default_collate)) == 2
