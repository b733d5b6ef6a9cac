"""Which kind X is, and what every kind knows: its shape, rows, example and inputs."""

from types import MappingProxyType

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from torch.utils.data import default_collate

from sktorch.data import SliceableDataset, pad_sequences
from sktorch.data.arrays import Array, Frame, Sparse, Tensor
from sktorch.data.datasets import Samples
from sktorch.data.mappings import Named
from sktorch.data.sequences import Sequences
from sktorch.data.sources import as_source
from sktorch.data.streams import Stream
from sktorch.data.structure import tree_leaves
from tests.data.samples import Items, ItemStream

CPU, N = torch.device("cpu"), 7
X = np.arange(2.0 * N, dtype="float32").reshape(N, 2)
OPTIONS = {"batch_size": 4, "shuffle": False}


def inputs_of(values, has_targets=False, **options):
    source = as_source(
        values, has_targets=has_targets, collate_fn=options.get("collate_fn"), fitted_shape=(2,)
    )
    return [*source.inputs(torch.float32, CPU, n_rows=3, options=OPTIONS | options)]


def sequences_of(lengths):
    sequences = np.empty(len(lengths), dtype=object)
    for position, length in enumerate(lengths):
        sequences[position] = np.full((length, 1), position)
    return sequences


KINDS = {
    "array": (X, Array, N, (2,)),
    "images": (X.reshape(N, 1, 2, 1), Array, N, (1, 2, 1)),
    "lists": (X.tolist(), Array, N, (2,)),
    "list of arrays": ([*X], Array, N, (2,)),
    "pandas": (pd.DataFrame(X), Frame, N, (2,)),
    "polars": (pl.DataFrame(X), Frame, N, (2,)),
    "sparse": (sparse.coo_array(X), Sparse, N, (2,)),
    "dok": (sparse.dok_matrix(X), Sparse, N, (2,)),
    "tensor": (torch.from_numpy(X), Tensor, N, (2,)),
    "dict": ({"a": X, "b": torch.ones(N, 1, 4)}, Named, N, {"a": (2,), "b": (1, 4)}),
    "mapping": (MappingProxyType({"a": X}), Named, N, {"a": (2,)}),
    "sequences": ([np.ones((2, 3)), np.ones((1, 3))], Sequences, 2, (None, 3)),
    "array of sequences": (sequences_of([2, 2]), Sequences, 2, (None, 1)),
    "dataset": (Items([*X]), Samples, N, (2,)),
    "dataset of two inputs": (Items([(x, x[:1]) for x in X]), Samples, N, ((2,), (1,))),
    "sliceable": (SliceableDataset(Items([(x, 0) for x in X])), Samples, N, (2,)),
    "stream": (ItemStream([*X]), Stream, None, (2,)),
    "stream of dicts": (ItemStream([{"a": x} for x in X]), Stream, None, {"a": (2,)}),
}


@pytest.mark.parametrize("checked_for", [None, "TorchClassifier"])
@pytest.mark.parametrize("name", KINDS)
def test_the_kind_its_rows_and_its_shape(name, checked_for):
    values, kind, n_rows, shape = KINDS[name]
    source = as_source(values, checked_for=checked_for)
    assert type(source) is kind
    assert (source.n_rows, source.shape) == (n_rows, shape)
    assert as_source(source) is source
    assert source.is_indexable is (kind is not Stream)
    assert source.runs_user_code is (kind in (Samples, Stream))
    assert source.has_features is (kind in (Array, Frame, Sparse, Tensor))
    assert {part.shape[0] for part in tree_leaves(source.example)} == {2}


@pytest.mark.parametrize("values", [X.reshape(N, 2, 1), torch.ones(N, 5, 1)])
def test_sequences_of_one_length_after_those_of_several(values):
    assert type(as_source(values)) in (Array, Tensor)
    source = as_source(values, fitted_shape=(None, 1), checked_for="TorchClassifier")
    assert type(source) is Sequences
    assert source.shape == (None, 1)


def test_the_codes_of_a_frame_have_cardinalities():
    frame = pd.DataFrame(X, columns=["a", "b"]).astype("float32")
    assert as_source(frame).cardinalities is None
    frame["c"] = pd.Categorical(np.arange(N) % 3, categories=range(4))
    source = as_source(frame, checked_for="TorchClassifier")
    assert source.cardinalities == (0, 0, 4)
    assert source.values.dtype == "float32"


@pytest.mark.parametrize(
    ("n_parts", "fitted_shape", "expected"),
    [
        (1, (2,), False),
        (2, (2,), True),
        (2, {"a": (2,)}, True),
        (2, ((2,), (2,)), False),
        (3, ((2,), (2,)), True),
    ],
)
@pytest.mark.parametrize("to_dataset", [Items, ItemStream])
def test_samples_of_more_parts_than_the_module_has_inputs_hold_their_targets(
    to_dataset, n_parts, fitted_shape, expected
):
    samples = to_dataset([(x,) * n_parts for x in X])
    source = as_source(samples, has_targets=None, fitted_shape=fitted_shape)
    assert source.holds_targets is expected


@pytest.mark.parametrize("values", [X, {"a": X}, [np.ones((1, 2)), np.ones((2, 2))]])
def test_only_datasets_hold_targets(values):
    with pytest.raises(ValueError, match=r"requires y to be passed.*Only a dataset may hold"):
        as_source(values).targets  # noqa: B018


@pytest.mark.parametrize("to_dataset", [Items, ItemStream])
def test_datasets_without_samples(to_dataset):
    with pytest.raises(ValueError, match=r"0 sample\(s\).*required by TorchClassifier"):
        as_source(to_dataset([]), checked_for="TorchClassifier").shape  # noqa: B018


# The inputs of all rows


@pytest.mark.parametrize(
    ("values", "sizes"),
    [
        (X, [3, 3, 1]),
        (sparse.csr_array(X), [3, 3, 1]),
        (torch.from_numpy(X), [3, 3, 1]),
        (SliceableDataset(Items([*X])), [4, 3]),
        (SliceableDataset(Items([(x, 0) for x in X])), [4, 3]),
        (SliceableDataset(Items([(x, 0) for x in X[::-1]]))[::-1], [4, 3]),
        (ItemStream([*X]), [4, 3]),
        (ItemStream([(x, "label") for x in X]), [4, 3]),
    ],
)
def test_all_rows_in_their_order(values, sizes):
    batches = inputs_of(values, has_targets=None)
    assert [len(batch) for batch in batches] == sizes
    np.testing.assert_array_equal(torch.cat(batches), X)


@pytest.mark.parametrize(
    "samples",
    [
        [(x, x[:1], 0) for x in X],
        [({"a": x, "b": x[:1]}, 0) for x in X],
    ],
)
def test_several_inputs(samples):
    (first, second), *_ = map(tree_leaves, inputs_of(SliceableDataset(Items(samples))))
    np.testing.assert_array_equal(first, X[:4])
    np.testing.assert_array_equal(second, X[:4, :1])


def test_sequences_are_padded_a_batch_at_a_time():
    sequences = sequences_of(range(1, N + 1))
    shapes = [tuple(padded.shape) for padded, _ in inputs_of(sequences)]
    assert shapes == [(3, 3, 1), (3, 6, 1), (1, 7, 1)]
    samples = SliceableDataset(Items([torch.from_numpy(s) for s in sequences]))
    assert [len(lengths) for _, lengths in inputs_of(samples, collate_fn=pad_sequences)] == [4, 3]


def test_what_is_given_is_not_what_the_module_gets():
    values = X.copy()
    for batch in inputs_of(values):
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
    values = Items([*X]) if name == "map" else ItemStream([*X])
    with pytest.raises(ValueError, match=message):
        inputs_of(values, **options)


def test_several_workers_would_reorder_a_stream():
    assert len(inputs_of(SliceableDataset(Items([*X])), num_workers=2)) == 2
    with pytest.raises(ValueError, match="in another order than its predictions"):
        inputs_of(ItemStream([*X]), num_workers=2)


def by_length(pairs):
    return pad_sequences(sorted(pairs, key=lambda pair: -len(pair[0])))


def test_a_collate_function_that_sorts_is_refused():
    samples = SliceableDataset(Items([torch.ones(1 + row) for row in range(N)]))
    with pytest.raises(ValueError, match=r"by_length.*in another order"):
        inputs_of(samples, collate_fn=by_length)
    in_order = SliceableDataset(Items([torch.ones(N - row) for row in range(N)]))
    assert len(inputs_of(in_order, collate_fn=by_length)) == 2
    stacked = SliceableDataset(Items([*X]))
    assert len(inputs_of(stacked, collate_fn=default_collate)) == 2


# The first rows


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (X, X[:2]),
        (torch.from_numpy(X), X[:2]),
        (SliceableDataset(Items([*X])), X[:2]),
        (SliceableDataset(Items([*X[:1]])), X[:1]),
        (ItemStream([*X]), X[:2]),
    ],
)
def test_example(values, expected):
    np.testing.assert_array_equal(as_source(values).example, expected)


def test_an_example_is_collated_as_a_batch_is():
    def with_tensors(pairs):  # the targets of a batch are tensors
        return torch.tensor(np.stack([x for x, _ in pairs])), torch.stack([y for _, y in pairs])

    samples = SliceableDataset(Items([*X]))
    assert np.array_equal(as_source(samples, collate_fn=with_tensors).example, X[:2])
    padded, lengths = as_source(samples, collate_fn=pad_sequences).example
    assert padded.shape == (2, 2)
    assert lengths.tolist() == [2, 2]


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([torch.zeros(2), torch.zeros(3)], "don't stack to a batch.*pad_sequences"),
        (["a", "b"], "collated to str; expected a tensor"),
        ([{"a": "x"}, {"a": "y"}], "collated to list; expected a tensor"),
        ([None, None], "don't stack to a batch"),
    ],
)
def test_examples_that_are_no_tensors(samples, message):
    with pytest.raises(ValueError, match=message):
        as_source(Items(samples)).example  # noqa: B018
