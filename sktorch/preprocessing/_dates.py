"""Dates as numbers: how long ago, and where in the year, the week and the day."""

import numpy as np

CYCLES = ("year", "week", "day")


def days_since_1970(dates: np.ndarray) -> np.ndarray:
    """Return days, with fractions, as float64; NaN for NaT."""
    return (dates - np.datetime64("1970-01-01", "us")) / np.timedelta64(1, "D")


def phase(dates: np.ndarray, cycle: str) -> np.ndarray:
    """Return the part of the year, week (from Monday) or day that has passed, in [0, 1)."""
    days = days_since_1970(dates)
    if cycle == "year":
        year = dates.astype("datetime64[Y]")
        start, end = (days_since_1970(edge.astype(dates.dtype)) for edge in (year, year + 1))
        return (days - start) / (end - start)
    monday = 3  # 1970 began on a Thursday
    return (days + monday) / 7 % 1 if cycle == "week" else days % 1


def cyclic_features(dates: np.ndarray) -> dict[str, np.ndarray]:
    """Return ``{"year_sin": …, "year_cos": …, "week_sin": …, …}``: places on three circles."""
    features = {}
    for cycle in CYCLES:
        angle = 2 * np.pi * phase(dates, cycle)
        features[f"{cycle}_sin"], features[f"{cycle}_cos"] = np.sin(angle), np.cos(angle)
    return features
