"""Who holds out which rows."""

import numpy as np
import pytest

from sktorch.tabular._folds import held_out_by

X = np.random.default_rng(0).standard_normal((120, 4)).astype(np.float32)
y = np.repeat([0.0, 1.0, 2.0], [80, 30, 10])


@pytest.mark.parametrize("n_members", [2, 3, 8, 200])
def test_every_row_is_held_out_by_one_member_and_members_by_as_many_rows(n_members):
    members = held_out_by(X, y, n_members, seed=0)
    assert members.shape == (120,)
    counts = np.bincount(members, minlength=n_members)
    assert len(counts) == n_members
    assert counts.max() - counts.min() <= 1


def test_classes_are_shared_out_evenly():
    members = held_out_by(X, y, 5, seed=0)
    for label, count in [(0, 16), (1, 6), (2, 2)]:
        np.testing.assert_array_equal(np.bincount(members[y == label]), [count] * 5)


def test_numbers_are_shared_out_evenly():
    y = np.random.default_rng(0).standard_cauchy(120)
    members = held_out_by(X, y, 4, seed=0)
    ranks = y.argsort().argsort()
    means = [ranks[members == k].mean() for k in range(4)]
    assert max(means) - min(means) < 4  # Each block of four neighbours has all members.


def test_equal_rows_are_held_out_together():
    number = np.random.default_rng(1).permutation(np.repeat(np.arange(20), 4))
    members = held_out_by(X[number], y[number], 5, seed=0)
    for row in range(20):
        assert len(set(members[number == row])) == 1


def test_the_order_of_rows_changes_nothing():
    order = np.random.default_rng(1).permutation(120)
    members = held_out_by(X, y, 5, seed=3)
    np.testing.assert_array_equal(held_out_by(X[order], y[order], 5, seed=3), members[order])


def test_seeds_differ():
    assert (held_out_by(X, y, 5, seed=0) != held_out_by(X, y, 5, seed=1)).any()
    np.testing.assert_array_equal(held_out_by(X, y, 5, seed=1), held_out_by(X, y, 5, seed=1))


def test_equal_rows_of_other_targets_are_held_out_together():
    X = np.repeat(np.arange(50.0)[:, None], 4, axis=0)
    members = held_out_by(X, np.arange(200.0), n_members=8, seed=0).reshape(50, 4)
    assert (members == members[:, :1]).all()


def test_many_equal_rows_are_dealt_to_all_members():
    X, y = np.repeat([[0.0], [1.0]], 400, axis=0), np.tile([0, 0, 0, 0, 1], 160)
    members = held_out_by(X, y, n_members=8, seed=0)
    for place in (0, 1):
        for label in (0, 1):
            own = np.bincount(members[(X[:, 0] == place) & (y == label)], minlength=8)
            assert own.min() > 0
