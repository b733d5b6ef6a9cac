"""A splitter as ``validation`` splits the very rows of ``fit``, or is refused."""

import numpy as np
import pytest
from sklearn.model_selection import (
    KFold,
    PredefinedSplit,
    ShuffleSplit,
    StratifiedKFold,
    TimeSeriesSplit,
    cross_val_score,
)

from sktorch import TorchClassifier, TorchRegressor

X = np.random.default_rng(0).random((60, 4), dtype=np.float32)
y = np.arange(60) % 2
FOLDS = np.repeat([-1, 0], [40, 20])


class Naming:
    """A splitter that names the rows it was made with."""

    def __init__(self, train, valid):
        self.parts = train, valid

    def split(self, X, y=None, groups=None):
        yield self.parts

    def get_n_splits(self, X=None, y=None, groups=None):
        return 1


def net(validation, kind=TorchClassifier):
    return kind(validation=validation, max_epochs=1, random_state=0, batch_size=60)


def mask(*rows):
    return np.isin(np.arange(60), rows)


# Splitters that fit 60 rows: how many rows are trained on, and how many validated on.
RIGHT = {
    "PredefinedSplit": (PredefinedSplit(FOLDS), 40, 20),
    "PredefinedSplit of three folds": (PredefinedSplit(np.arange(60) % 3), 40, 20),
    "KFold": (KFold(3), 40, 20),
    "StratifiedKFold": (StratifiedKFold(3), 40, 20),
    "TimeSeriesSplit": (TimeSeriesSplit(5), 50, 10),
    "ShuffleSplit of a part": (
        ShuffleSplit(1, train_size=30, test_size=10, random_state=0),
        30,
        10,
    ),
    "rows": (Naming(np.arange(50), np.arange(50, 60)), 50, 10),
    "lists of rows": (Naming([*range(50)], [*range(50, 60)]), 50, 10),
    "ranges of rows": (Naming(range(50), range(50, 60)), 50, 10),
    "rows counted from the end": (Naming(np.arange(50), np.arange(-10, 0)), 50, 10),
    "masks": (Naming(~mask(0, 1), mask(0, 1)), 58, 2),
}
# Splitters made for other rows.
WRONG = {
    "PredefinedSplit of more rows": PredefinedSplit(np.arange(90) % 3),
    "PredefinedSplit of fewer rows": PredefinedSplit(np.arange(40) % 2),
    "rows that are not there": Naming(np.arange(50), np.arange(50, 70)),
    "rows to train on that are not there": Naming(np.arange(20, 70), np.arange(20)),
    "none of the rows": Naming(np.arange(100, 150), np.arange(150, 160)),
    "rows before the first": Naming(np.arange(50), np.arange(-70, -60)),
    "the same row from both ends": Naming(np.arange(60), [-1, -2]),
    "masks of other rows": Naming(np.repeat([True, False], 35), np.repeat([False, True], 35)),
    "numbers that are no rows": Naming(np.arange(50), np.arange(50, 60) + 0.5),
    "names": Naming([f"a{i}" for i in range(50)], ["b", "c"]),
}


@pytest.mark.parametrize("kind", [TorchClassifier, TorchRegressor])
@pytest.mark.parametrize("name", RIGHT)
def test_the_rows_that_a_splitter_names_are_used(name, kind):
    splitter, n_train, n_valid = RIGHT[name]
    history = net(splitter, kind).fit(X, y).history_
    assert sum(history[-1, "batches", :, "train_batch_size"]) == n_train
    assert (
        sum(b["valid_batch_size"] for b in history[-1]["batches"] if "valid_loss" in b) == n_valid
    )


@pytest.mark.parametrize("kind", [TorchClassifier, TorchRegressor])
@pytest.mark.parametrize("name", WRONG)
def test_a_splitter_of_other_rows_is_refused(name, kind):
    with pytest.raises((ValueError, TypeError), match="validation"):
        net(WRONG[name], kind).fit(X, y)


def test_a_splitter_of_all_rows_is_refused_in_a_cross_validation():
    with pytest.raises(ValueError, match="validation"):
        cross_val_score(net(PredefinedSplit(FOLDS)), X, y, cv=KFold(3), error_score="raise")


def test_a_splitter_that_counts_goes_into_a_cross_validation():
    scores = cross_val_score(net(KFold(3)), X, y, cv=KFold(3), error_score="raise")
    assert scores.shape == (3,)


def test_rows_of_weight_zero_are_left_out_of_both_parts():
    weights = np.ones(60)
    weights[[0, 59]] = 0
    history = net(PredefinedSplit(FOLDS)).fit(X, y, sample_weight=weights).history_
    assert sum(history[-1, "batches", :, "train_batch_size"]) == 39


def test_every_other_row_is_a_split_of_all_rows_for_groups_too():
    with pytest.raises(ValueError, match="groups"):
        net(Naming(np.arange(0, 60, 2), np.arange(1, 60, 2))).fit(X, y, groups=np.arange(60) // 2)
