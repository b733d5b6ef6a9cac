"""How numbers, circles and categories become columns of the output.

An encoder is what `fit` learnt of one feature: a column of the input, or a part of a date.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from sklearn.preprocessing import RobustScaler

from sktorch.preprocessing._columns import Coded

Range = tuple[float, float]

LARGEST_SQUARE = 1e150  # a scaled number up to this has a square that is finite


@dataclass
class Output:
    """A column of the output: what it is, and what stands around the input's name in its name.

    The cardinality is that of codes, 0 for numbers.
    """

    place: str
    prefix: str
    suffix: str
    cardinality: int = 0


# The order of the output's columns.
PLACES = (
    *("spread", "spread_missing", "peaked", "peaked_missing", "single_missing", "outlier"),
    *("circle", "one_hot", "codes"),
)


@dataclass
class NumberEncoder:
    """Clip, centre and scale one column of numbers, and fill its gaps.

    Of a "single" value only the missing ones tell anything. A "peaked" column has the same value
    at both quantiles, which leaves a robust scaler nothing to divide by; the others are "spread".
    """

    suffix: str
    group: str
    low: float
    high: float
    center: float
    scale: float
    bends: bool
    has_missing: bool
    has_outliers: bool
    fill: float = 0.0

    def outputs(self) -> list[Output]:
        """Return the columns that come out."""
        outputs = [Output(self.group, "", self.suffix)] if self.group != "single" else []
        if self.has_missing:
            outputs.append(Output(f"{self.group}_missing", "missingindicator_", self.suffix))
        if self.has_outliers:
            outputs.append(Output("outlier", "outlier_", self.suffix))
        return outputs

    def columns(self, values: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the values of these columns."""
        missing = np.isnan(values)
        if self.group != "single":
            scaled = self.scaled(values)
            scaled[missing] = self.fill
            yield scaled
        if self.has_missing:
            yield missing
        if self.has_outliers:
            yield (values < self.low) | (values > self.high)

    def scaled(self, values: np.ndarray) -> np.ndarray:
        """Return new values, scaled; NaN stays NaN."""
        values = np.clip(values, self.low, self.high)
        values -= self.center
        values /= self.scale
        return bend(values) if self.bends else values


@dataclass
class CircleEncoder:
    """Keep a sine or cosine; the middle of the circle is for dates that are missing."""

    suffix: str

    def outputs(self) -> list[Output]:
        """Return the column that comes out."""
        return [Output("circle", "", self.suffix)]

    def columns(self, values: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the values of this column."""
        yield np.nan_to_num(values, nan=0.0)


@dataclass
class CategoryEncoder:
    """Encode categories as a column of 0 and 1 each, or as codes 1 to k; others are all zeros."""

    known: list[str]
    is_one_hot: bool
    suffix: str = field(default="")

    def outputs(self) -> list[Output]:
        """Return the columns that come out."""
        if self.is_one_hot:
            return [Output("one_hot", "", f"_{category}") for category in self.known]
        return [Output("codes", "", "", len(self.known) + 1)]

    def columns(self, values: Coded) -> Iterator[np.ndarray]:
        """Yield the values of these columns."""
        codes = {category: code for code, category in enumerate(self.known, start=1)}
        rows = np.array([codes.get(name, 0) for name in values.names])[values.codes]
        if not self.is_one_hot:
            yield rows
            return
        for code in range(1, len(self.known) + 1):
            yield rows == code


def fit_number(
    values: np.ndarray,
    suffix: str,
    outliers: str | None,
    quantile_range: Range,
    weights: np.ndarray | None = None,
) -> NumberEncoder | None:
    """Return an encoder for float64 values with NaN; None if they tell nothing."""
    is_known = ~np.isnan(values)
    known = np.sort(values[is_known])  # quantiles of sorted values are found faster
    has_missing = known.size < values.size
    if known.size == 0 or (known[0] == known[-1] and not has_missing):
        return None
    if known[0] == known[-1]:
        return NumberEncoder(suffix, "single", -np.inf, np.inf, 0, 1, False, has_missing, False)
    if outliers == "smooth":
        q = (quantile_range[0], 50, quantile_range[1])
        quantiles = _quantiles(known if weights is None else values[is_known], q, weights, is_known)
        encoder = _fit_smooth(known, suffix, quantiles)
    else:
        encoder = _fit_scaled(known, suffix, outliers, quantile_range)
    encoder.has_missing = has_missing
    return encoder


def _quantiles(
    values: np.ndarray,
    percentiles: tuple[float, ...],
    weights: np.ndarray | None,
    is_known: np.ndarray,
) -> np.ndarray:
    if weights is None:
        return np.percentile(values, percentiles)
    return np.percentile(values, percentiles, weights=weights[is_known], method="inverted_cdf")


def _fit_smooth(known: np.ndarray, suffix: str, quantiles: np.ndarray) -> NumberEncoder:
    """Scale to the width of the quantiles, or to half of the range, and bend towards ±3."""
    low, center, high = quantiles
    group, scale = ("spread", high - low) if low < high else ("peaked", (known[-1] - known[0]) / 2)
    with np.errstate(over="ignore"):
        reach = LARGEST_SQUARE * scale
    limits = float(center - reach), float(center + reach)
    return NumberEncoder(suffix, group, *limits, float(center), float(scale), True, False, False)


def _fit_scaled(
    known: np.ndarray, suffix: str, outliers: str | None, quantile_range: Range
) -> NumberEncoder:
    """Scale robustly, or to [0, 1], and fill with the median."""
    low, high = normal_range(known, quantile_range)
    has_outliers = outliers == "flag" and bool(known[0] < low or known[-1] > high)
    limits = (-np.inf, np.inf) if outliers is None else (float(low), float(high))
    clipped = np.clip(known, *limits)
    lowest, highest = clipped[0], clipped[-1]
    inner = _inner_quantiles(clipped, quantile_range)
    has_two_values = not np.any((clipped != lowest) & (clipped != highest))
    if has_two_values or inner[0] == inner[1]:
        group, center, scale = "peaked", lowest, highest - lowest
    else:
        scaler = RobustScaler(quantile_range=quantile_range, unit_variance=True)
        scaler.fit(clipped[:, None])
        group, center, scale = "spread", scaler.center_[0], scaler.scale_[0]
    encoder = NumberEncoder(
        suffix, group, *limits, float(center), float(scale), False, False, has_outliers
    )
    encoder.fill = float(np.median(encoder.scaled(known)))
    return encoder


def bend(z: np.ndarray) -> np.ndarray:
    """Return z / √(1 + (z / 3)²): almost z near 0, and never beyond ±3."""
    return z / np.sqrt(1 + np.square(z / 3))


def fit_circle(values: np.ndarray, suffix: str) -> CircleEncoder | None:
    """Return an encoder for a sine or cosine with NaN; None if it never changes."""
    known = values[~np.isnan(values)]
    return CircleEncoder(suffix) if known.size and known.min() < known.max() else None


def fit_category(values: Coded, max_one_hot: int) -> CategoryEncoder | None:
    """Return an encoder for categories; None if they tell nothing."""
    if len(values.names) < 2:
        return None
    known = sorted({*values.names} - {""})
    return CategoryEncoder(known, len(known) <= max_one_hot)


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
