"""Datasets as X: indexed like arrays, asked for no sample before it is needed."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.utils import _safe_indexing
from torch.utils.data import ConcatDataset, Subset, TensorDataset, random_split

from sktorch import TorchClassifier
from sktorch.data import SliceableDataset
from sktorch.data.datasets import inputs_and_target
from sktorch.modules import MLP
from tests.data.samples import Items, ItemStream

N = 12
X, Y = torch.arange(2.0 * N).reshape(N, 2), torch.arange(N) % 3
PAIRS = [*zip(X, Y.tolist(), strict=True)]


def rows_of(part):
    """The rows that a part holds, told from its inputs."""
    return [int(part[position][0]) // 2 for position in range(len(part))]


MASK = np.arange(N) % 4 == 1


@pytest.mark.parametrize(
    ("key", "rows"),
    [
        (slice(2, 5), [2, 3, 4]),
        (slice(None, None, -5), [11, 6, 1]),
        (slice(20, 30), []),
        (MASK, [1, 5, 9]),
        (MASK.tolist(), [1, 5, 9]),
        (torch.from_numpy(MASK), [1, 5, 9]),
        (np.array([3, -1, 3]), [3, 11, 3]),
        ([3, -1], [3, 11]),
        ([], []),
        (torch.tensor([4, 0]), [4, 0]),
        (range(2, 4), [2, 3]),
        (([4, 0], ...), [4, 0]),
        ((np.array([4, 0]), ...), [4, 0]),
        (Ellipsis, list(range(N))),
    ],
)
def test_a_key_of_several_rows_gives_a_dataset_of_them(key, rows):
    part = SliceableDataset(Items(PAIRS))[key]
    assert isinstance(part, SliceableDataset)
    assert part.shape == (len(part),) == (len(rows),)
    assert rows_of(part) == rows
    assert part.targets.tolist() == [row % 3 for row in rows]


@pytest.mark.parametrize("key", [3, -9, np.int64(3), torch.tensor(3), (3, ...)])
def test_a_key_of_one_row_gives_its_input(key):
    assert torch.equal(SliceableDataset(Items(PAIRS))[key], X[3])


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (N, "out of bounds"),
        (-N - 1, "out of bounds"),
        ([N], "out of bounds"),
        (([1], 0), "too many indices"),
        ("a", "only integers"),
        (1.5, "only integers"),
        (np.ones(N - 1, dtype=bool), "boolean index did not match"),
    ],
)
def test_wrong_keys(key, message):
    with pytest.raises(IndexError, match=message):
        SliceableDataset(Items(PAIRS))[key]


def test_parts_of_parts():
    part = SliceableDataset(Items(PAIRS))[3:][::2][[0, -1]]
    assert rows_of(part) == [3, 11]
    assert part.targets.tolist() == [0, 2]


def test_iteration_ends():
    assert torch.equal(torch.stack([*SliceableDataset(Items(PAIRS))]), X)


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        (TensorDataset(X, Y), Y.tolist()),
        (TensorDataset(X, X, Y.requires_grad_(False)), Y.tolist()),
        (Items(PAIRS), Y.tolist()),
        (Items([list(pair) for pair in PAIRS]), Y.tolist()),
        (Items([(x, "abc"[y]) for x, y in PAIRS]), ["abc"[y] for y in Y]),
        (Items([(x, torch.tensor(y)) for x, y in PAIRS]), Y.tolist()),
        (Items([(x, np.float32(y)) for x, y in PAIRS]), Y.tolist()),
        (Items([(x, torch.tensor([y, 1])) for x, y in PAIRS]), [[y, 1] for y in Y.tolist()]),
        (Subset(Items(PAIRS), [5, 0, 7]), [2, 0, 1]),
        (Subset(Subset(TensorDataset(X, Y), [5, 0, 7]), torch.tensor([2, 0])), [1, 2]),
        (ConcatDataset([Items(PAIRS), TensorDataset(X, Y + 5)]), [*Y.tolist(), *(Y + 5).tolist()]),
        (ConcatDataset([Items([]), Items(PAIRS)]), Y.tolist()),
        (SliceableDataset(SliceableDataset(Items(PAIRS))[[2, 4]]), [2, 1]),
        (Items(PAIRS, targets=list(range(N))), Y.tolist()),
    ],
)
def test_targets(dataset, expected):
    sliceable = SliceableDataset(dataset)
    assert isinstance(sliceable.targets, np.ndarray)
    assert sliceable.targets.tolist() == expected
    assert sliceable[::-2].targets.tolist() == expected[::-2]


def test_the_dtype_of_targets_does_not_depend_on_parts_without_rows():
    for parts in ([Items([]), Items(PAIRS)], [TensorDataset(X[:0], Y[:0]), Items(PAIRS)]):
        assert SliceableDataset(ConcatDataset(parts), True).targets.dtype == np.int64


def test_targets_of_a_concatenation_in_any_order():
    dataset = ConcatDataset([Items(PAIRS), TensorDataset(X, Y + 3), Items([(X[0], 9)])])
    whole = SliceableDataset(dataset).targets
    rows = np.random.RandomState(0).permutation(len(whole))
    np.testing.assert_array_equal(SliceableDataset(dataset)[rows].targets, whole[rows])
    assert SliceableDataset(dataset)[[]].targets.shape == (0,)


def test_no_sample_is_made_before_it_is_needed():
    first, second = Items(PAIRS), Items(PAIRS)
    sliceable = SliceableDataset(ConcatDataset([first, second]))
    assert (first.n_made, second.n_made) == (1, 0), "one, to see what a sample is"
    part = sliceable[15:][::2]
    train_test_split(part)
    assert second.n_made == 0
    part[0]
    assert (first.n_made, second.n_made) == (1, 1)
    assert part.targets.shape == (5,)
    assert (first.n_made, second.n_made) == (1, 6)


@pytest.mark.parametrize("module", [MLP, None])
def test_cross_validation_reads_the_rows_that_it_uses(module):
    dataset = Items(PAIRS)
    classifier = TorchClassifier(module, max_epochs=1, device="cpu")
    sliceable = SliceableDataset(dataset, has_targets=True)
    cross_val_score(classifier, sliceable, Y.numpy(), cv=3)
    in_training, in_scoring, looked_at = 3 * 8, 3 * 4, 3 * 7
    for_statistics = in_training if module is None else 0
    assert dataset.n_made <= in_training + in_scoring + looked_at + for_statistics


@pytest.mark.parametrize(
    ("samples", "has_targets", "expected"),
    [
        ([*X], None, False),
        (PAIRS, None, True),
        ([(x,) for x in X], None, False),
        ([[x, 1] for x in X], None, True),
        ([{"a": x} for x in X], None, False),
        ([(x, x) for x in X], False, False),
        ([], None, False),
    ],
)
def test_whether_samples_hold_targets(samples, has_targets, expected):
    sliceable = SliceableDataset(Items(samples), has_targets)
    assert sliceable.has_targets is expected
    if samples and not expected:
        with pytest.raises(AttributeError, match=r"Items hold no target.*Pass y beside"):
            sliceable.targets  # noqa: B018
        n_inputs = 2 if has_targets is False else 1
        assert not isinstance(sliceable[0], tuple) or len(sliceable[0]) == n_inputs


def test_a_dataset_of_a_dataset_is_one():
    inner = SliceableDataset(Items(PAIRS))[[5, 1, 2]]
    outer = SliceableDataset(inner)
    assert rows_of(outer[1:]) == [1, 2]
    assert outer.targets.tolist() == inner.targets.tolist()
    assert not SliceableDataset(SliceableDataset(Items(PAIRS), has_targets=False)).has_targets


def test_a_sample_alone_has_no_target_in_its_last_entry():
    with pytest.raises(TypeError, match=r"A sample of the dataset is Tensor.*pass y beside"):
        SliceableDataset(Items([*X]), has_targets=True).targets  # noqa: B018


@pytest.mark.parametrize("dataset", [ItemStream(PAIRS), iter(PAIRS), 3])
def test_what_has_no_length_is_refused(dataset):
    with pytest.raises(TypeError, match=r"has no length.*Pass a map-style Dataset"):
        SliceableDataset(dataset)


def test_pickles():
    part = pickle.loads(pickle.dumps(SliceableDataset(Items(PAIRS))[4:6]))
    assert rows_of(part) == [4, 5]
    assert part.targets.tolist() == [1, 2]


def test_scikit_learn_indexes_it():
    sliceable = SliceableDataset(Items(PAIRS))
    assert rows_of(_safe_indexing(sliceable, np.array([2, 3]))) == [2, 3]
    train, test, y_train, y_test = train_test_split(sliceable, Y.numpy(), random_state=0)
    assert sorted(rows_of(train) + rows_of(test)) == list(range(N))
    np.testing.assert_array_equal(train.targets, y_train)
    np.testing.assert_array_equal(test.targets, y_test)
    search = GridSearchCV(
        TorchClassifier(max_epochs=1, device="cpu", random_state=0), {"lr": [0.1, 0.01]}, cv=2
    ).fit(sliceable, sliceable.targets)
    np.testing.assert_array_equal(search.predict(train), search.predict(torch.stack([*train])))


def test_a_random_split_of_torch():
    train, valid = random_split(Items(PAIRS), [8, 4], torch.Generator().manual_seed(0))
    fitted = TorchClassifier(max_epochs=1, device="cpu", validation=valid).fit(train)
    assert len(fitted.validation_scores_) == 1
    assert fitted.predict(valid).shape == (4,)


@pytest.mark.parametrize(
    ("sample", "has_target", "expected"),
    [
        (1, False, (1, None)),
        ((1,), False, (1, None)),
        ((1, 2), False, ((1, 2), None)),
        ((1, 2), True, (1, 2)),
        ([1, 2], True, (1, 2)),
        ((1, 2, 3), True, ((1, 2), 3)),
        (({"a": 1}, 3), True, ({"a": 1}, 3)),
    ],
)
def test_inputs_and_target(sample, has_target, expected):
    assert inputs_and_target(sample, has_target) == expected


@pytest.mark.parametrize("sample", [1, (1,), {"a": 1, "b": 2}, "ab"])
def test_a_sample_without_its_target(sample):
    with pytest.raises(TypeError, match=rf"A sample .* is {type(sample).__name__}.*or pass y"):
        inputs_and_target(sample, True)
