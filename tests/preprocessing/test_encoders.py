"""Clipping, scaling and encoding."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes

from sktorch.preprocessing import TableCleaner
from sktorch.preprocessing._columns import Coded
from sktorch.preprocessing._encoders import (
    fit_category,
    fit_circle,
    fit_number,
    normal_range,
)

NAN = np.nan
RANGE = (5.0, 95.0)


def number_encoder(X, outliers, quantile_range=RANGE):
    settings = {"outliers": outliers, "quantile_range": quantile_range}
    return TableCleaner(**settings, dtype=np.float64).fit(X)


def encoded(X, outliers="clip"):
    X = np.array(X, dtype=float)
    return number_encoder(X, outliers).transform(X)


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        (range(101), 5 - 90, 95 + 90),
        ([*range(20), 1e9], 1 - 18, 19 + 18),  # a wild value, even of few, is not in the range
        ([-1e9, *range(20)], 0 - 18, 18 + 18),
        ([*range(20), NAN, NAN], 1 - 17, 18 + 17),
        ([0] * 99 + [1] * 1, -1, 2),  # mostly zeros: the others count
        ([0] * 900 + [*range(1, 20), 1e9], -19, 38),
        ([3, 7], -1, 11),
    ],
)
def test_range_of_what_is_no_outlier(values, low, high):
    assert normal_range(np.array(values, dtype=float), RANGE) == (low, high)


def test_normal_data_are_not_clipped_and_get_unit_variance():
    X = np.random.RandomState(0).normal(50, 20, size=(10_000, 1))
    np.testing.assert_array_equal(encoded(X), encoded(X, outliers=None))
    assert abs(encoded(X).std() - 1) < 0.02
    assert abs(np.median(encoded(X))) < 1e-9


@pytest.mark.parametrize("wild", [1e3, 1e9, 1e300, -1e9])
def test_wild_values_change_nothing_for_the_others(wild):
    X, _ = load_diabetes(return_X_y=True, scaled=False)
    X = np.delete(X, 1, axis=1)  # sex, which has two values and another scaler
    spoilt = X.copy()
    spoilt[7] = wild
    others = np.arange(len(X)) != 7
    np.testing.assert_allclose(encoded(spoilt)[others], encoded(X)[others], atol=0.2)
    assert np.abs(encoded(spoilt)).max() < 7


def test_outliers_are_left_when_asked():
    X = [[value] for value in [*range(100), 1e6]]
    assert encoded(X, outliers=None).max() > 1e4
    assert encoded(X, outliers="clip").max() < 7


def test_flags_for_columns_that_had_outliers():
    X = np.column_stack([[*range(100), 1e6], range(101)]).astype(float)
    encoder = number_encoder(X, "flag")
    names = encoder.get_feature_names_out(["a", "b"])
    assert names.tolist() == ["a", "b", "outlier_a"]
    np.testing.assert_array_equal(encoder.transform(X)[:, 2], [0] * 100 + [1])
    new = encoder.transform(np.array([[-1e6, 1e9], [5.0, 5.0], [NAN, NAN]]))
    np.testing.assert_array_equal(new[:, 2], [1, 0, 0])


def test_missing_numbers_are_the_median_with_an_indicator():
    X = np.column_stack([[1, 2, 3, 4, 50, NAN, NAN], range(7)]).astype(float)
    encoder = number_encoder(X, "clip")
    names = encoder.get_feature_names_out(["a", "b"])
    assert names.tolist() == ["a", "b", "missingindicator_a"]
    cleaned = encoder.transform(X)
    assert cleaned[5, 0] == cleaned[2, 0]
    np.testing.assert_array_equal(cleaned[:, 2], [0, 0, 0, 0, 0, 1, 1])
    assert not np.isnan(
        encoder.transform(np.array([[1.0, NAN]]))
    ).any()  # missing for the first time


def test_columns_that_a_robust_scaler_cannot_scale_go_from_0_to_1():
    mostly_zero = [0.0] * 97 + [500, 1000, 2000]
    two_values = [3.0, 7.0] * 50
    cleaned = encoded(np.column_stack([mostly_zero, two_values]))
    assert cleaned.min(axis=0).tolist() == [0, 0]
    assert cleaned.max(axis=0).tolist() == [1, 1]


@pytest.mark.parametrize("n_zeros", [1, 2, 8, 18, 19, 20, 21, 50])
def test_later_values_stay_small_however_few_were_not_zero(n_zeros):
    X = np.array([[0.0]] * n_zeros + [[2.0]] + [[3.0]])
    later = number_encoder(X, "clip").transform(np.array([[1e9], [-1e9]]))
    assert np.abs(later).max() < 7


def test_of_a_column_with_one_value_only_its_absence_tells_something():
    X = np.array([[5.0], [NAN], [5.0]])
    encoder = number_encoder(X, "clip")
    assert encoder.get_feature_names_out(["a"]).tolist() == ["missingindicator_a"]
    np.testing.assert_array_equal(encoder.transform(X), [[0], [1], [0]])


def smooth(X):
    encoder = number_encoder(X, "smooth", "auto")
    return encoder, encoder.transform(X)


def test_smooth_numbers_are_those_of_realmlp():
    X, _ = load_diabetes(return_X_y=True, scaled=False)
    q25, median, q75 = np.percentile(X, (25, 50, 75), axis=0)
    with np.errstate(divide="ignore"):
        scale = np.where(q75 > q25, 1 / (q75 - q25), 2 / np.ptp(X, axis=0))
    z = scale * (X - median)
    np.testing.assert_allclose(smooth(X)[1], z / np.sqrt(1 + (z / 3) ** 2), rtol=1e-12)


def test_smooth_columns_without_a_spread_are_scaled_by_half_of_their_range():
    _, cleaned = smooth(np.array([[7.0, 0]] * 8 + [[11, 1], [7, NAN]]))
    bent = 2 / np.sqrt(1 + 4 / 9)
    np.testing.assert_allclose(cleaned[:, :2], [[0, 0]] * 8 + [[bent, bent], [0, 0]])


def test_smooth_missing_numbers_are_0_with_an_indicator():
    X = np.column_stack([[1, 2, 3, 40, NAN, NAN], range(6), [5, 5, 5, NAN, 5, 5]]).astype(float)
    encoder, cleaned = smooth(X)
    names = encoder.get_feature_names_out(["a", "b", "c"]).tolist()
    assert names == ["a", "b", "missingindicator_a", "missingindicator_c"]
    assert cleaned[4:, 0].tolist() == [0, 0]
    np.testing.assert_array_equal(cleaned[:, 2:], np.isnan(X[:, [0, 2]]))
    assert encoder.transform(np.array([[1.0, NAN, 7]]))[0, 1] == 0  # missing for the first time


@pytest.mark.parametrize("wild", [1e9, -1e9, 1e300, -1.7e308])
def test_smooth_outliers_stay_within_3_and_in_their_order(wild):
    X = np.linspace(0, 1e-5, 101)[:, None]
    encoder, _ = smooth(X)
    later = encoder.transform(np.array([[wild], [wild / 1e5], [X[50, 0]]]))
    assert later[0, 0] == pytest.approx(3 * np.sign(wild))
    assert np.abs(later).max() <= 3
    _, cleaned = smooth(np.vstack([X, [[wild]]]))
    np.testing.assert_allclose(cleaned[:-1], encoder.transform(X), atol=0.1)


def test_encoders_for_columns_that_tell_nothing():
    assert fit_number(np.full(3, NAN), "", "clip", RANGE) is None
    assert fit_number(np.full(3, 5.0), "", "smooth", RANGE) is None
    assert fit_circle(np.array([0.5, NAN, 0.5]), "_sin") is None
    assert fit_category(Coded(["a"], np.zeros(3, dtype=int)), 10) is None


def test_a_circle_is_left_and_its_middle_is_for_missing_dates():
    values = np.array([0.5, NAN, -1.0])
    (column,) = fit_circle(values, "_sin").columns(values)
    assert column.tolist() == [0.5, 0, -1]


FEW = Coded(["x", "y", ""], np.array([0, 1, 2, 0]))
MANY = Coded(["c", "a", "b", ""], np.array([0, 1, 2, 3]))
NEW = Coded(["z", "a"], np.array([0, 0, 1]))


def encoded_categories(encoder, values):
    return np.column_stack(list(encoder.columns(values))).tolist()


def test_categories_one_hot_or_codes():
    few, many = fit_category(FEW, 2), fit_category(MANY, 2)
    assert [output.suffix for output in few.outputs()] == ["_x", "_y"]
    assert [output.suffix for output in many.outputs()] == [""]
    assert many.outputs()[0].cardinality == 4
    assert encoded_categories(few, FEW) == [[1, 0], [0, 1], [0, 0], [1, 0]]
    assert encoded_categories(many, MANY) == [[3], [1], [2], [0]]
    assert encoded_categories(few, NEW) == [[0, 0]] * 3
    assert encoded_categories(many, NEW) == [[0], [0], [1]]
