"""Batches through a DataLoader: its options and collate functions."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, SequentialSampler, default_collate

from sktorch.data import SliceableDataset
from sktorch.data.loaders import check_keeps_rows, loader_options
from sktorch.data.rows import Rows, row_batches
from sktorch.data.sources import as_source
from tests.data.samples import Items

CPU, N = torch.device("cpu"), 6
X, Y = torch.arange(2.0 * N).reshape(N, 2), torch.arange(N)


def batches_of(values=X, weights=None, keep_order=False, **options):
    options = {"batch_size": 4, "shuffle": False} | options
    rows = Rows(as_source(values), torch.float32, CPU)
    index = torch.arange(N)
    return row_batches(rows, Y, weights, index, device=CPU, options=options, keep_order=keep_order)


# Options


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"batch_size": 8, "shuffle": True}),
        ({"num_workers": 2}, {"batch_size": 8, "shuffle": True, "num_workers": 2}),
        ({"shuffle": False, "batch_size": 3}, {"batch_size": 3, "shuffle": False}),
        ({"sampler": [1]}, {"batch_size": 8, "sampler": [1]}),
        ({"batch_sampler": [[1]]}, {"batch_sampler": [[1]]}),
    ],
)
def test_given_options_replace_those_that_they_exclude(given, expected):
    assert loader_options(np.int64(8), True, given) == expected


@pytest.mark.parametrize(
    "options",
    [
        {"shuffle": True},
        {"drop_last": True},
        {"sampler": [0]},
        {"batch_sampler": [[0]]},
        {"in_order": False},
    ],
)
def test_options_that_change_what_is_predicted(options):
    with pytest.raises(ValueError, match=rf"can't take \['{next(iter(options))}'\].*Leave out"):
        check_keeps_rows({"batch_size": 3} | options)


def test_options_that_change_nothing_that_is_predicted():
    check_keeps_rows({"shuffle": False, "drop_last": False, "num_workers": 2, "in_order": True})


def test_a_loader_takes_what_a_loader_takes():
    batches = batches_of(
        sampler=SequentialSampler(range(N)),
        shuffle=None,
        collate_fn=lambda pairs: default_collate(pairs[::-1]),
    )
    assert [y.tolist() for _, y, _ in batches] == [[3, 2, 1, 0], [5, 4]]
    assert [X[:, 0].tolist() for X, _, _ in batches] == [[6, 4, 2, 0], [10, 8]]


def test_a_loader_names_what_it_does_not_know():
    with pytest.raises(TypeError, match="unexpected keyword argument 'batchsize'"):
        batches_of(batchsize=4)


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_give_the_order_of_a_plain_loader(persistent):
    # Persistent workers are seeded once: torch draws fewer numbers, and the order is another.
    options = {"batch_size": 4, "shuffle": True, "num_workers": 1, "persistent_workers": persistent}
    loader, batches = DataLoader(Y, **options), batches_of(**options)
    torch.manual_seed(0)
    expected = [torch.cat([*loader]).tolist() for _ in range(3)]
    torch.manual_seed(0)
    orders = [torch.cat([y for _, y, _ in batches]).tolist() for _ in range(3)]
    assert orders == expected


def test_a_batch_sampler_decides():
    batches = batches_of(batch_sampler=[[5, 0], [2]], batch_size=1, shuffle=None)
    assert [y.tolist() for _, y, _ in batches] == [[5, 0], [2]]
    assert len(batches) == 2


def test_a_sampler_for_too_many_rows():
    with pytest.raises(ValueError, match=r"asks for row 6, but only 6 rows are trained on"):
        [*batches_of(sampler=[0, 6], shuffle=None)]


@pytest.mark.parametrize("options", [{}, {"num_workers": 1}])
def test_pinned_memory_is_left_alone_where_there_is_no_accelerator(options):
    # torch would warn, and warnings are errors here; a setting for a GPU does no harm without one.
    assert [y.tolist() for _, y, _ in batches_of(pin_memory=True, **options)] == [
        [0, 1, 2, 3],
        [4, 5],
    ]


# Collate functions


def as_tuple(pairs):
    X, y = default_collate(pairs)
    return (X, X[:, :1]), y


def as_list(pairs):
    X, y = default_collate(pairs)
    return [[X, X[:, :1]], y]


def as_dict(pairs):
    X, y = default_collate(pairs)
    return {"a": X, "b": y}, y


@pytest.mark.parametrize("collate_fn", [as_tuple, as_list, as_dict])
@pytest.mark.parametrize("weights", [None, torch.arange(N) / 2])
def test_several_inputs_and_weights_beside_them(collate_fn, weights):
    for X, y, weight in batches_of(weights=weights, collate_fn=collate_fn):
        expected, _ = collate_fn([(2.0 * row + torch.arange(2), row) for row in y])
        assert type(X) is (dict if collate_fn is as_dict else tuple)
        pairs = zip(
            X.values() if isinstance(X, dict) else X,
            expected.values() if isinstance(expected, dict) else expected,
            strict=True,
        )
        assert all(torch.equal(part, other) for part, other in pairs)
        assert weight is weights is None or torch.equal(weight, y / 2)


@pytest.mark.parametrize(
    ("collate_fn", "message"),
    [
        (lambda pairs: torch.stack([x for x, _ in pairs]), "returned Tensor, expected a pair"),
        (lambda pairs: (*default_collate(pairs), 1), "returned tuple, expected a pair.*Change"),
        (lambda pairs: None, "returned NoneType, expected a pair"),
    ],
)
def test_collate_functions_that_make_no_pair(collate_fn, message):
    with pytest.raises(TypeError, match=message):
        [*batches_of(collate_fn=collate_fn)]


def test_samples_that_do_not_stack():
    samples = SliceableDataset(Items([torch.zeros(2)] * 5 + [torch.zeros(3)]))
    with pytest.raises(ValueError, match=r"don't stack to a batch: .*\[2\].*\[3\].*collate_fn"):
        [*batches_of(samples)]


class OwnError(Exception):
    pass


def failing(pairs):
    raise OwnError("own words")


def test_an_error_of_a_collate_function_arrives_as_it_is():
    with pytest.raises(OwnError, match="own words"):
        [*batches_of(collate_fn=failing)]


@pytest.mark.parametrize(
    "settings", [{"weights": torch.ones(N)}, {"keep_order": True}], ids=["weights", "predicted"]
)
@pytest.mark.parametrize(
    "collate_fn",
    [
        lambda pairs: default_collate(pairs[::-1]),
        lambda pairs: default_collate(pairs[1:]),
        lambda pairs: (default_collate(pairs)[0], torch.zeros(len(pairs))),
    ],
    ids=["reversed", "fewer", "other"],
)
def test_what_has_to_keep_its_order_does(settings, collate_fn):
    with pytest.raises(ValueError, match=r"other targets than those.*leave the samples in their"):
        [*batches_of(collate_fn=collate_fn, **settings)]


def test_a_collate_function_may_cast_targets():
    def collate(pairs):
        X, y = default_collate(pairs)
        return X, y.float()[:, None]

    batches = [*batches_of(weights=torch.ones(N), keep_order=True, collate_fn=collate)]
    assert batches[0][1].shape == (4, 1)
    assert batches[0][1].dtype is torch.float32


def test_sequences_of_several_lengths_are_padded():
    sequences = np.empty(N, dtype=object)
    sequences[:] = [np.full((1 + row % 3, 2), row, dtype="float32") for row in range(N)]
    (padded, lengths), y, _ = next(iter(batches_of(sequences)))
    assert padded.shape == (4, 3, 2)
    assert lengths.tolist() == [1, 2, 3, 1]
    assert y.tolist() == [0, 1, 2, 3]
