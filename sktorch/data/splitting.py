"""Rows to train on and rows to validate on."""

from collections import deque
from math import ceil
from typing import Any

import numpy as np
from sklearn.model_selection import GroupShuffleSplit, PredefinedSplit, train_test_split

from sktorch._errors import errors_name

Split = tuple[np.ndarray, np.ndarray]  # rows to train on, and rows to validate on


def hold_out(
    index: np.ndarray,
    strata: np.ndarray | None,
    fraction: float,
    seed: Any,
    groups: Any = None,
) -> Split:
    """Hold a share of the rows of an index out, drawn at random.

    ``strata`` are codes of all rows' classes, which are held out in the same proportions; a class
    of one row is in training only. ``groups`` stay whole, in either part, and ignore strata.
    """
    if groups is not None:
        return _hold_out_groups(index, np.asarray(groups)[index], fraction, seed)
    alone = np.zeros(len(index), dtype=bool)
    if strata is not None:
        alone = np.bincount(strata[index])[strata[index]] == 1
    candidates = index[~alone] if alone.any() else index  # Millions of rows need no copy.
    codes = None if strata is None else strata[candidates]
    n_strata = 1 if codes is None else len(np.unique(codes))
    n_valid = max(ceil(fraction * len(index)), n_strata)
    if n_strata == 0 or len(candidates) - n_valid < n_strata:
        rows = f"n_samples={len(index)} rows"
        if strata is not None:
            rows += f", {len(candidates)} of them in classes of two or more,"
        raise ValueError(
            f"A hold-out of {max(n_valid, 1)} rows is needed, but {rows} are too few for it. "
            "Change validation_fraction, or set early_stopping=False."
        )
    train, valid = train_test_split(
        candidates, test_size=n_valid, stratify=codes, random_state=seed
    )
    return np.concatenate([train, index[alone]]), valid


def _hold_out_groups(index: np.ndarray, groups: np.ndarray, fraction: float, seed: Any) -> Split:
    if len(np.unique(groups)) < 2:
        raise ValueError(
            "early_stopping=True holds whole groups out, but all rows are of one. Set "
            "early_stopping=False, leave groups out, or pass validation=(X_val, y_val)."
        )
    splitter = GroupShuffleSplit(1, test_size=fraction, random_state=seed)
    train, valid = next(splitter.split(index, groups=groups))
    return index[train], index[valid]


def split_by(splitter: Any, index: np.ndarray, y: np.ndarray, groups: Any = None) -> Split:
    """Return the rows of an index in the last of the splits of all rows by scikit-learn's splitter.

    The last one: of splits ordered in time it trains on the most, of others it is as good as any.
    """
    if isinstance(splitter, PredefinedSplit) and len(splitter.test_fold) != len(y):
        raise ValueError(
            f"validation={splitter!r} is made for {len(splitter.test_fold)} rows, and there are "
            f"{len(y)}. Inside a cross-validation the rows are others in every fold: choose a "
            "splitter that makes its folds of the rows it is given, or validation_fraction."
        )
    splits = deque(splitter.split(np.zeros((len(y), 1)), y, groups), maxlen=1)
    if not splits:
        raise ValueError(f"validation={splitter!r} gave no split of the {len(y)} rows.")
    with errors_name("validation"):
        parts = [_rows(part, len(y)) for part in splits[0]]
    train, valid = (part[np.isin(part, index)] for part in parts)
    shared = np.intersect1d(train, valid)
    if len(shared) or not len(train) or not len(valid):
        raise ValueError(
            f"validation={splitter!r} gave {len(train)} rows to train on and {len(valid)} to "
            f"validate on, {len(shared)} of them in both; expected two parts that share none. "
            "Change validation."
        )
    if groups is not None:
        torn = np.intersect1d(np.asarray(groups)[train], np.asarray(groups)[valid])
        if len(torn):
            raise ValueError(
                f"validation={splitter!r} gave rows of the groups {torn[:5].tolist()} to both "
                "parts. Choose a splitter that keeps groups together, such as GroupKFold, or leave "
                "groups out."
            )
    return train, valid


def _rows(part: Any, n_rows: int) -> np.ndarray:
    """Return the rows that a mask or numbers, perhaps counted from the end, are an index of."""
    part = np.asarray(part)
    return np.arange(n_rows)[part if part.size else part.astype(int)]
