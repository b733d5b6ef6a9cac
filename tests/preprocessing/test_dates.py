"""Dates as numbers; the reference is pandas."""

import numpy as np
import pandas as pd

from sktorch.preprocessing._dates import cyclic_features, days_since_1970, phase

STAMPS = pd.Series(pd.date_range("1959-12-31 23:59", periods=1000, freq="643h7min", unit="us"))
DATES = STAMPS.to_numpy()
TIME_OF_DAY = ((STAMPS - STAMPS.dt.normalize()) / pd.Timedelta(days=1)).to_numpy()


def test_days():
    np.testing.assert_allclose(days_since_1970(DATES), STAMPS.astype("int64") / 86400e6)


def test_phases():
    days_in_year = np.where(STAMPS.dt.is_leap_year, 366, 365)
    expected = (STAMPS.dt.day_of_year - 1 + TIME_OF_DAY) / days_in_year
    np.testing.assert_allclose(phase(DATES, "year"), expected, atol=1e-9)
    np.testing.assert_allclose(
        phase(DATES, "week"), (STAMPS.dt.day_of_week + TIME_OF_DAY) / 7, atol=1e-9
    )
    np.testing.assert_allclose(phase(DATES, "day"), TIME_OF_DAY, atol=1e-9)


def test_features_are_points_on_circles_and_nan_where_missing():
    features = cyclic_features(np.array(["2024-01-01T06:00", "NaT"], dtype="datetime64[us]"))
    assert list(features) == ["year_sin", "year_cos", "week_sin", "week_cos", "day_sin", "day_cos"]
    np.testing.assert_allclose(features["day_sin"], [1, np.nan])
    np.testing.assert_allclose(features["day_cos"], [0, np.nan], atol=1e-12)
    np.testing.assert_allclose(features["week_sin"] ** 2 + features["week_cos"] ** 2, [1, np.nan])
