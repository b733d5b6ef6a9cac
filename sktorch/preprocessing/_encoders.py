"""How numbers and categories are encoded, assembled from scikit-learn's transformers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
)

Range = tuple[float, float]

LARGEST_SQUARE = 1e150  # a scaled number up to this has a square that is finite


def normal_range(column: np.ndarray, quantile_range: Range) -> Range:
    """Return the lowest and highest value of a column that are no outliers.

    That is the range between the quantiles, extended by its own width on both sides. Where both
    quantiles are the same value, as in a column mostly of zeros, it is left out, and the range of
    the others is extended to hold it.
    """
    values = column[~np.isnan(column)]
    low, high = _inner_quantiles(values, quantile_range)
    if low == high and np.any(values != low):
        others = _inner_quantiles(values[values != low], quantile_range)
        low, high = min(low, *others), max(high, *others)
    with np.errstate(over="ignore"):
        return 2 * low - high, 2 * high - low


def _inner_quantiles(values: np.ndarray, quantile_range: Range) -> Range:
    """Return quantiles rounded inwards, so that a single outlier of a short column is outside."""
    low, high = quantile_range
    bounds = (
        np.percentile(values, low, method="higher"),
        np.percentile(values, high, method="lower"),
    )
    return min(bounds), max(bounds)


def clip(X: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Limit each column of X to its range; NaN stays NaN."""
    return np.clip(X, low, high)


def is_outside(X: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return 1.0 where a value is outside its column's range."""
    return (np.less(X, low) | np.greater(X, high)).astype(np.float64)


def outlier_names(transformer: Any, names: Sequence[str]) -> list[str]:
    """Return the names of the indicator columns."""
    return [f"outlier_{name}" for name in names]


def bend(X: np.ndarray, factor: float) -> np.ndarray:
    """Return z / √(1 + (z / 3)²) of z = factor · X: almost z near 0, and never beyond ±3."""
    z = factor * X
    return z / np.sqrt(1 + np.square(z / 3))


def number_encoder(X: np.ndarray, outliers: str | None, quantile_range: Range) -> ColumnTransformer:
    """Return a fitted transformer of float64 columns with NaN to scaled, filled ones."""
    if outliers == "smooth":
        return smooth_encoder(X, quantile_range)
    low, high = np.array([normal_range(column, quantile_range) for column in X.T]).T
    clipped = X if outliers is None else clip(X, low, high)
    groups = _scaling_groups(clipped, quantile_range)
    scalers = {
        "spread": RobustScaler(quantile_range=quantile_range, unit_variance=True),
        "peaked": MinMaxScaler(),
    }
    parts = []
    for group, scaler in scalers.items():
        columns = groups[group]
        limits = {"low": low[columns], "high": high[columns]}
        limiter = FunctionTransformer(clip, kw_args=limits, feature_names_out="one-to-one")
        filler = SimpleImputer(strategy="median", add_indicator=True)
        steps = [scaler, filler] if outliers is None else [limiter, scaler, filler]
        parts.append((group, make_pipeline(*steps), columns))
    parts.append(("single", MissingIndicator(error_on_new=False), groups["single"]))
    if outliers == "flag":
        columns = np.flatnonzero(is_outside(X, low, high).any(axis=0))
        limits = {"low": low[columns], "high": high[columns]}
        flag = FunctionTransformer(is_outside, kw_args=limits, feature_names_out=outlier_names)
        parts.append(("outlier", flag, columns))
    return _joined(parts).fit(X)


def smooth_encoder(X: np.ndarray, quantile_range: Range) -> ColumnTransformer:
    """Return a fitted transformer that scales robustly and bends outliers towards ±3.

    Columns that have the same value at both quantiles are scaled by half of their whole range.
    """
    lowest, low, high, highest = np.nanpercentile(X, (0, *quantile_range, 100), axis=0)
    single, spread = lowest == highest, low < high
    groups = {
        "spread": (spread, RobustScaler(quantile_range=quantile_range), 1.0),
        "peaked": (~single & ~spread, RobustScaler(quantile_range=(0, 100)), 2.0),
    }
    parts: list[tuple] = []
    for group, (members, scaler, factor) in groups.items():
        columns = np.flatnonzero(members)
        if columns.size == 0:
            continue
        scaler.fit(X[:, columns])
        reach = LARGEST_SQUARE * scaler.scale_
        limits = {"low": scaler.center_ - reach, "high": scaler.center_ + reach}
        limiter = FunctionTransformer(clip, kw_args=limits, feature_names_out="one-to-one")
        bender = FunctionTransformer(
            bend, kw_args={"factor": factor}, feature_names_out="one-to-one"
        )
        filler = SimpleImputer(strategy="constant", fill_value=0.0, add_indicator=True)
        parts.append((group, make_pipeline(limiter, scaler, bender, filler), columns))
    parts.append(("single", MissingIndicator(error_on_new=False), np.flatnonzero(single)))
    return _joined(parts).fit(X)


def _scaling_groups(X: np.ndarray, quantile_range: Range) -> dict[str, np.ndarray]:
    """Sort the columns by the scaler that fits them; return positions by group.

    "single" columns hold one value, and only the missing ones tell anything; "peaked"
    ones have two values or the same value at both quantiles, which leaves a robust scaler nothing
    to divide by; the others are "spread".
    """
    known = [column[~np.isnan(column)] for column in X.T]
    low, high = np.array([_inner_quantiles(values, quantile_range) for values in known]).T
    lowest, highest = np.array([(values.min(), values.max()) for values in known]).T
    has_two_values = np.array([np.isin(v, [v.min(), v.max()]).all() for v in known])
    single = lowest == highest
    peaked = ~single & ((low == high) | has_two_values)
    groups = {"single": single, "peaked": peaked, "spread": ~single & ~peaked}
    return {group: np.flatnonzero(members) for group, members in groups.items()}


def category_encoder(X: np.ndarray, max_one_hot: int) -> tuple[ColumnTransformer, tuple[int, ...]]:
    """Return a fitted transformer of string columns, and the cardinalities of its codes.

    Columns of up to ``max_one_hot`` categories come first, each category a column of 0 and 1; the
    others become codes 1 to k, of cardinality k + 1. The empty string, for missing, and unknown
    categories are all zeros.
    """
    known = [sorted(set(column) - {""}) for column in X.T]
    few = [j for j, categories in enumerate(known) if len(categories) <= max_one_hot]
    many = [j for j, categories in enumerate(known) if len(categories) > max_one_hot]
    one_hot = OneHotEncoder(
        categories=[known[j] for j in few], handle_unknown="ignore", sparse_output=False
    )
    codes = OrdinalEncoder(
        categories=[known[j] for j in many], handle_unknown="use_encoded_value", unknown_value=-1
    )
    from_zero = FunctionTransformer(add_one, feature_names_out="one-to-one")
    parts = [("one_hot", one_hot, few), ("codes", make_pipeline(codes, from_zero), many)]
    return _joined(parts).fit(X), tuple(len(known[j]) + 1 for j in many)


def _joined(parts: list[tuple]) -> ColumnTransformer:
    """Return one transformer of arrays, whatever scikit-learn's global configuration says."""
    encoder = ColumnTransformer(parts, verbose_feature_names_out=False)
    return encoder.set_output(transform="default")


def add_one(codes: np.ndarray) -> np.ndarray:
    """Move the code -1, of unknown categories, to 0."""
    return codes + 1
