"""Rows to train on and rows to validate on."""

import numpy as np
import pytest
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    PredefinedSplit,
    ShuffleSplit,
    StratifiedKFold,
    TimeSeriesSplit,
)

from sktorch.data.splitting import hold_out, split_by


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.5])
def test_hold_out_is_stratified(fraction, seed):
    codes = np.repeat([0, 1, 2], [60, 30, 10])
    index = np.arange(100)
    train, valid = hold_out(index, codes, fraction, seed)
    assert sorted([*train, *valid]) == index.tolist()
    assert np.bincount(codes[valid]).tolist() == [60 * fraction, 30 * fraction, 10 * fraction]
    again = hold_out(index, codes, fraction, seed)
    np.testing.assert_array_equal(valid, again[1])
    assert not np.array_equal(valid, hold_out(index, codes, fraction, seed + 10)[1])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("counts", "fraction"),
    [([50, 1], 0.1), ([10, 10, 1, 1], 0.2), ([50, 2, 2], 0.1), ([20, 3, 2], 0.2), ([6, 2], 0.5)],
)
def test_every_class_stays_in_training(counts, fraction, seed):
    codes = np.repeat(np.arange(len(counts)), counts)
    index = np.random.RandomState(seed).permutation(len(codes))
    train, valid = hold_out(index, codes, fraction, seed)
    assert sorted([*train, *valid]) == list(range(len(codes)))
    assert set(codes[train]) == set(range(len(counts)))
    alone = [code for code, count in enumerate(counts) if count == 1]
    assert not set(codes[valid]) & set(alone)


def test_hold_out_of_some_rows_only():
    codes = np.repeat([0, 1], 20)
    index = np.arange(0, 40, 2)
    train, valid = hold_out(index, codes, 0.2, 0)
    assert sorted([*train, *valid]) == index.tolist()
    assert np.bincount(codes[valid]).tolist() == [2, 2]


@pytest.mark.parametrize(
    ("counts", "fraction"), [([1, 1, 1], 0.1), ([2], 0.9), ([2, 2], 0.9), ([1], 0.1)]
)
def test_too_few_rows_for_a_hold_out(counts, fraction):
    codes = np.repeat(np.arange(len(counts)), counts)
    with pytest.raises(ValueError, match=r"A hold-out of \d+ rows is needed.*validation_fraction"):
        hold_out(np.arange(len(codes)), codes, fraction, 0)


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.9])
def test_hold_out_without_strata(fraction):
    index = np.arange(5, 45)
    train, valid = hold_out(index, None, fraction, 0)
    assert sorted([*train, *valid]) == index.tolist()
    assert len(valid) == round(40 * fraction)
    assert (np.diff(train) != 1).any(), "drawn at random"


def test_hold_out_without_strata_of_too_few_rows():
    train, valid = hold_out(np.arange(2), None, 0.1, 0)
    assert (len(train), len(valid)) == (1, 1)
    with pytest.raises(ValueError, match=r"of 1 rows is needed, but n_samples=1 rows are too few"):
        hold_out(np.arange(1), None, 0.1, 0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("to_kind", [np.asarray, np.ndarray.tolist, lambda g: g.astype(str)])
def test_groups_stay_together(seed, to_kind):
    groups = np.random.RandomState(0).randint(0, 8, 60)
    index = np.flatnonzero(np.arange(60) % 5)
    train, valid = hold_out(index, np.arange(60) % 2, 0.25, seed, to_kind(groups))
    assert sorted([*train, *valid]) == index.tolist()
    assert not set(groups[train]) & set(groups[valid])
    assert len(set(groups[valid])) == 2


def test_a_single_group_can_not_be_split():
    with pytest.raises(ValueError, match=r"all rows are of one.*leave groups out, or pass"):
        hold_out(np.arange(9), None, 0.3, 0, groups=[7] * 9)


INDEX, LABELS = np.arange(10, 40), np.arange(50) % 3


@pytest.mark.parametrize(
    ("splitter", "groups"),
    [
        (KFold(3), None),
        (StratifiedKFold(5), None),
        (ShuffleSplit(2, test_size=0.3, random_state=0), None),
        (TimeSeriesSplit(4, test_size=12), None),
        (GroupKFold(4), np.arange(50) // 6),
        (PredefinedSplit(np.where(np.arange(50) < 20, -1, 0)), None),
    ],
)
def test_the_last_split_of_a_splitter_less_the_rows_left_out(splitter, groups):
    train, valid = split_by(splitter, INDEX, LABELS, groups)
    *_, (expected_train, expected_valid) = splitter.split(LABELS, LABELS, groups)
    np.testing.assert_array_equal(train, [row for row in expected_train if 10 <= row < 40])
    np.testing.assert_array_equal(valid, [row for row in expected_valid if 10 <= row < 40])
    if isinstance(splitter, TimeSeriesSplit):
        assert train.max() < valid.min()
    if groups is not None:
        assert not set(groups[train]) & set(groups[valid])


@pytest.mark.filterwarnings("ignore:The groups parameter is ignored")
@pytest.mark.parametrize("to_kind", [np.asarray, np.ndarray.tolist, lambda g: g.astype(str)])
def test_splits_that_tear_groups_apart(to_kind):
    splitter, groups = ShuffleSplit(1, test_size=0.3, random_state=0), np.arange(50) // 6
    assert len(split_by(splitter, INDEX, LABELS)[1])  # Without groups it may.
    with pytest.raises(ValueError, match=r"gave rows of the groups \[.*to both.*GroupKFold"):
        split_by(splitter, INDEX, LABELS, to_kind(groups))
    alone = to_kind(np.arange(50))  # Groups of one row can't be torn.
    np.testing.assert_array_equal(
        split_by(splitter, INDEX, LABELS, alone)[1], split_by(splitter, INDEX, LABELS)[1]
    )


class Fixed:
    """A splitter of splits that are known."""

    def __init__(self, *splits):
        self.splits = splits

    def split(self, X, y=None, groups=None):
        return iter([(np.asarray(train), np.asarray(valid)) for train, valid in self.splits])

    def __repr__(self):
        return "Fixed()"


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ([], r"validation=Fixed\(\) gave no split of the 50 rows"),
        ([([10, 11, 12], [12, 13])], "3 rows to train on and 2 to validate on, 1 of them in both"),
        ([([10, 11], [])], "2 rows to train on and 0 to validate on.*Change validation"),
        ([([], [11])], "0 rows to train on and 1 to"),
        ([([10, 11], [1, 45])], "2 rows to train on and 0 to"),  # rows that are left out
    ],
)
def test_splits_that_are_no_good(splits, message):
    with pytest.raises(ValueError, match=message):
        split_by(Fixed(*splits), INDEX, LABELS)


def test_a_splitter_that_needs_groups_says_so():
    with pytest.raises(ValueError, match="'groups' parameter should not be None"):
        split_by(GroupKFold(2), INDEX, LABELS)
