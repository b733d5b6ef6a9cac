"""The cleaner as a transformer of scikit-learn, and what it makes of raw tables."""

import pickle
import tracemalloc
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from sktorch.preprocessing import TableCleaner, make_cleaner

CITIES = ["Oslo", "Kyiv", "Lima", "?", "Rome", "Bern", "Lima", "Oslo"]
RAW = {
    "age": ["31", "?", " 54", "22", "47", "", "38", "1e9"],
    "member": [True, False, True, True, None, False, True, False],
    "since": ["2021-03-01", "2020-12-31", "2019-07-15", None, *["2022-02-02"] * 4],
    "city": CITIES,
    "sex": ["f", "m", "m", "f", "f", None, "m", "m"],
    "planet": ["Earth"] * 8,
    "income": [1.5, np.inf, 2.5, np.nan, 3.5, 1.0, 2.0, 9.0],
    "nothing": [None] * 8,
}
NAMES = [
    *("age", "since_days", "income", "missingindicator_age", "missingindicator_since_days"),
    *("missingindicator_income", "member", "missingindicator_member"),
    *("since_year_sin", "since_year_cos", "since_week_sin", "since_week_cos"),
    *("sex_f", "sex_m", "city"),
]


def pandas_table():
    return pd.DataFrame(RAW, index=list("abcdefgh"))


def polars_table():
    return pl.DataFrame(RAW, strict=False)


def array_table():
    return pandas_table().to_numpy(dtype=object)


def cleaner(**parameters):
    return TableCleaner(**{"max_one_hot": 4} | parameters)


@pytest.mark.parametrize("outliers", ["clip", "flag", "smooth", None])
def test_check_estimator(outliers):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The checks provoke warnings and look at them themselves.
        results = check_estimator(TableCleaner(outliers=outliers), on_fail=None, on_skip=None)
    not_passed = [result for result in results if result["status"] != "passed"]
    assert not not_passed
    assert len(results) == 45  # with scikit-learn 1.9.1; a change is worth a look


def test_a_raw_table_becomes_numbers_and_codes():
    table = cleaner()
    cleaned = table.fit_transform(pandas_table())
    assert table.kinds_ == ["number", "number", "date", *["category"] * 3, "number", "category"]
    assert cleaned.columns.tolist() == NAMES
    assert table.get_feature_names_out().tolist() == NAMES
    assert cleaned.index.tolist() == list("abcdefgh")
    assert not cleaned.isna().any(axis=None)
    assert cleaned["city"].tolist() == [4, 2, 3, 0, 5, 1, 3, 4]
    assert cleaned["city"].cat.categories.tolist() == list(range(6))
    assert (cleaned.drop(columns="city").dtypes == np.float32).all()
    assert cleaned["sex_f"].tolist() == [1, 0, 0, 1, 1, 0, 0, 0]
    assert cleaned["member"].tolist() == [1, 0, 1, 1, 1, 0, 1, 0]
    assert cleaned["missingindicator_age"].tolist() == [0, 1, 0, 0, 0, 1, 0, 0]
    assert table.cardinalities_ == (0,) * 14 + (6,)
    assert np.abs(cleaned.drop(columns="city")).max(axis=None) < 7


@pytest.mark.parametrize("make", [polars_table, array_table])
def test_every_kind_of_table_gives_the_same(make):
    expected = cleaner().fit_transform(pandas_table()).astype("float32")
    table = cleaner()
    cleaned = table.fit_transform(make())
    assert table.cardinalities_ == (0,) * 14 + (6,)
    assert type(cleaned) is type(make())
    if make is polars_table:
        assert cleaned.columns == NAMES
        assert cleaned.schema == dict.fromkeys(NAMES, pl.Float32) | {"city": pl.Int64}
    np.testing.assert_allclose(np.asarray(cleaned), expected)


@pytest.mark.parametrize("make", [pandas_table, polars_table, array_table])
def test_fit_transform_is_fit_and_transform(make):
    at_once, in_turn = cleaner(), cleaner()
    assert_array_equal(
        np.asarray(at_once.fit_transform(make())), in_turn.fit(make()).transform(make())
    )


def test_a_large_array_is_cleaned_column_by_column():
    X = np.random.RandomState(0).normal(size=(20_000, 50))
    tracemalloc.start()
    cleaned = TableCleaner().fit_transform(X)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5 * cleaned.nbytes


@pytest.mark.parametrize("make", [pandas_table, polars_table, array_table])
@pytest.mark.parametrize("container", ["pandas", "polars"])
@pytest.mark.parametrize("way", ["set_output", "config"])
def test_set_output(make, container, way):
    with config_context(transform_output=container if way == "config" else "default"):
        table = cleaner()
        if way == "set_output":
            table.set_output(transform=container)
        cleaned = table.fit_transform(make())
    names = table.get_feature_names_out().tolist()
    assert list(cleaned.columns) == names
    if container == "pandas":
        assert cleaned.iloc[:, -1].cat.categories.tolist() == list(range(6))
        assert cleaned.index.tolist() == (list("abcdefgh") if make is pandas_table else [*range(8)])
    else:
        assert cleaned.schema[names[-1]] == pl.Int64


def test_names_of_arrays():
    table = cleaner().fit(array_table())
    assert table.get_feature_names_out()[[0, -3, -1]].tolist() == ["x0", "x4_f", "x3"]
    assert table.get_feature_names_out(list(RAW)).tolist() == NAMES
    with pytest.raises(ValueError, match="input_features should have length equal"):
        table.get_feature_names_out(["a"])


@pytest.mark.parametrize("make", [pandas_table, polars_table, array_table])
@pytest.mark.parametrize("outliers", ["clip", "flag", "smooth", None])
def test_pickle_and_clone(make, outliers):
    table = cleaner(outliers=outliers).fit(make())
    cleaned = table.transform(make())
    for copy in (pickle.loads(pickle.dumps(table)), clone(table).fit(make())):
        assert_array_equal(np.asarray(copy.transform(make())), np.asarray(cleaned))


def test_new_rows_with_what_was_never_seen():
    table = cleaner().fit(pandas_table())
    new = (
        pandas_table()
        .iloc[[0, 1]]
        .assign(
            city=["Quito", None], sex=["x", ""], age=[1e12, -np.inf], member=[None, "?"], since=None
        )
    )
    cleaned = table.transform(new)
    assert cleaned["city"].tolist() == [0, 0]
    assert (cleaned[["sex_f", "sex_m"]] == 0).all(axis=None)
    assert cleaned["missingindicator_age"].tolist() == [0, 1]
    assert not cleaned.isna().any(axis=None)
    assert cleaned["age"].iloc[0] == table.transform(pandas_table())["age"].max()
    assert (cleaned.filter(regex="_(sin|cos)$") == 0).all(axis=None)


def test_one_row_is_like_that_row_among_others():
    table = cleaner().fit(pandas_table())
    for position in range(8):
        one = table.transform(pandas_table().iloc[[position]])
        pd.testing.assert_frame_equal(one, table.transform(pandas_table()).iloc[[position]])


def test_what_is_unreadable_now_is_missing_with_a_warning():
    table = cleaner().fit(pandas_table())
    with pytest.warns(UserWarning, match="Column 'age' held a number .* counts as missing: 'old'"):
        cleaned = table.transform(pandas_table().assign(age="old"))
    assert (cleaned["missingindicator_age"] == 1).all()


def test_a_column_that_was_dropped_may_hold_anything():
    table = cleaner().fit(pandas_table())
    new = pandas_table().assign(nothing=3, planet="Mars")
    pd.testing.assert_frame_equal(table.transform(new), table.transform(pandas_table()))


def test_lists_of_rows():
    rows = [["1", "a"], ["2", "b"], ["?", "a"]]
    cleaned = TableCleaner().set_output(transform="pandas").fit_transform(rows)
    assert cleaned.columns.tolist() == ["x0", "missingindicator_x0", "x1_a", "x1_b"]


def test_the_table_is_left_as_it_was():
    X = pandas_table()
    cleaner().fit(X).transform(X)
    pd.testing.assert_frame_equal(X, pandas_table())


@pytest.mark.parametrize("dtype", [np.float32, "float32", np.float64, "float64"])
def test_dtype(dtype):
    X = np.random.RandomState(0).normal(size=(20, 2))
    assert TableCleaner(dtype=dtype).fit_transform(X).dtype == dtype


def test_own_words_for_missing():
    X = pd.DataFrame({"a": [1, "unknown", "3"]})
    assert TableCleaner(missing_values=("Unknown",)).fit(X).kinds_ == ["number"]
    assert TableCleaner().fit(X).kinds_ == ["category"]


@pytest.mark.parametrize(("max_one_hot", "n_codes"), [(0, 2), (2, 1), (5, 0)])
def test_max_one_hot(max_one_hot, n_codes):
    table = TableCleaner(max_one_hot=max_one_hot).fit(pandas_table())
    assert sum(cardinality > 0 for cardinality in table.cardinalities_) == n_codes


@pytest.fixture(scope="module")
def messy_iris():
    """Iris with wild and missing values, text for numbers, and a category."""
    X, y = load_iris(return_X_y=True, as_frame=True)
    random = np.random.RandomState(0)
    X = X.mask(random.uniform(size=X.shape) < 0.1)
    X.iloc[3, 1], X.iloc[140, 2] = 1e12, -np.inf
    X["petal width (cm)"] = X["petal width (cm)"].map(str)
    X["garden"] = random.choice([*"abcdefghijklmnopqrst"], size=len(X))
    return X, y


@pytest.mark.parametrize(
    "model", [LogisticRegression(max_iter=1000), HistGradientBoostingClassifier()]
)
def test_messy_rows_cross_validate_and_search_in_a_pipeline(messy_iris, model):
    X, y = messy_iris
    pipeline = make_pipeline(make_cleaner(), model)
    assert cross_val_score(pipeline, X, y, cv=3).mean() > 0.85
    grid = {"tablecleaner__max_one_hot": [0, 30], "tablecleaner__outliers": ["clip", "flag"]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(X, y)
    assert search.best_score_ > 0.85


def test_trees_see_by_the_dtype_which_columns_are_codes(messy_iris):
    X, y = messy_iris
    pipeline = make_pipeline(make_cleaner(), HistGradientBoostingClassifier()).fit(X, y)
    assert pipeline[-1].is_categorical_.tolist() == [False] * 8 + [True]


def test_smooth_numbers_of_a_raw_table():
    cleaned = cleaner(outliers="smooth").fit_transform(pandas_table())
    assert set(cleaned.columns) == set(NAMES)
    assert (cleaned["age"][cleaned["missingindicator_age"] == 1] == 0).all()
    assert np.abs(cleaned.drop(columns="city")).max(axis=None) <= 3


def test_auto_is_the_quartiles_for_smooth_and_wider_else():
    X = np.random.RandomState(0).standard_cauchy((200, 2))
    for outliers, quantile_range in [("smooth", (25, 75)), ("clip", (5, 95)), (None, (5, 95))]:
        named = TableCleaner(outliers=outliers, quantile_range=quantile_range)
        auto = TableCleaner(outliers=outliers)
        assert_array_equal(named.fit_transform(X), auto.fit_transform(X))


def test_make_cleaner_is_the_class():
    parameters = {"outliers": "flag", "max_one_hot": 3, "dtype": np.float64}
    assert make_cleaner(**parameters).get_params() == TableCleaner(**parameters).get_params()
    with pytest.raises(TypeError, match="unexpected keyword argument 'outlier'"):
        make_cleaner(outlier="clip")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"outliers": "drop"}, "outliers='drop' must be 'clip', 'flag', 'smooth' or None"),
        ({"outliers": ["clip"]}, r"outliers=\['clip'\] must be 'clip', 'flag', 'smooth' or None"),
        ({"quantile_range": "all"}, "quantile_range='all' must be a tuple of two .*, or 'auto'"),
        (
            {"quantile_range": (95, 5)},
            r"quantile_range=\(95, 5\) must be a tuple of two percentiles",
        ),
        ({"quantile_range": (-1, 5)}, "quantile_range=.* must be a tuple of two percentiles"),
        ({"quantile_range": (5, 50, 95)}, "quantile_range=.* must be a tuple of two percentiles"),
        ({"quantile_range": 5}, "quantile_range=5 must be a tuple of two percentiles"),
        ({"max_one_hot": -1}, "max_one_hot=-1 must be a whole number, 0 or more"),
        ({"max_one_hot": 2.5}, "max_one_hot=2.5 must be a whole number"),
        ({"missing_values": "NA"}, "missing_values='NA' must be a tuple of strings"),
        ({"missing_values": (1, 2)}, r"missing_values=\(1, 2\) must be a tuple of strings"),
        ({"missing_values": None}, "missing_values=None must be a tuple of strings"),
        ({"dtype": "int32"}, "dtype='int32' must be float32 or float64"),
        ({"dtype": None}, "dtype=None must be float32 or float64"),
        ({"dtype": "nonsense"}, "dtype='nonsense' must be float32 or float64"),
    ],
)
def test_wrong_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        TableCleaner(**parameters).fit(pandas_table())


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (pd.DataFrame({"a": []}), ValueError, r"0 sample\(s\) \(shape=\(0, 1\)\).*TableCleaner"),
        (pl.DataFrame({"a": []}), ValueError, r"0 sample\(s\)"),
        (pd.DataFrame(index=[0, 1]), ValueError, r"0 feature\(s\)"),
        (np.zeros(3), ValueError, "Expected 2D array, got 1D array"),
        (pd.Series([1, 2]), ValueError, "Expected a 2-dimensional container|Expected 2D array"),
        (np.zeros((3, 2)), ValueError, "Every column of X is constant over n_samples=3"),
        (pd.DataFrame({"a": ["x"]}), ValueError, "constant over n_samples=1"),
        (csr_array(np.eye(3)), TypeError, "Sparse data was passed"),
        (pd.DataFrame({"a": [{}, 1]}), TypeError, "unhashable type: 'dict'.*must be missing"),
        (pd.DataFrame({"a": [1j, 2j]}), ValueError, "Complex data not supported"),
        (
            pd.DataFrame({"a": ["x", "y"], "a_x": [1, 2]}),
            ValueError,
            r"would be named \['a_x'\]: give the columns of X other names",
        ),
    ],
)
def test_wrong_tables(X, error, message):
    with pytest.raises(error, match=message):
        TableCleaner().fit(X)


@pytest.mark.parametrize("make", [pandas_table, polars_table])
def test_other_columns_than_in_fit(make):
    table = cleaner().fit(make())
    wrong_order = make()[list(RAW)[::-1]]
    with pytest.raises(ValueError, match="must be in the same order as they were in fit"):
        table.transform(wrong_order)
    with pytest.raises(ValueError, match="Feature names seen at fit time, yet now missing:\n- age"):
        table.transform(make()[list(RAW)[1:]])
    with pytest.raises(ValueError, match="Feature names unseen at fit time:\n- old"):
        table.transform(pandas_table().rename(columns={"age": "old"}))


def test_other_number_of_columns_than_in_fit():
    table = cleaner().fit(array_table())
    with pytest.raises(ValueError, match="X has 7 features, but TableCleaner is expecting 8"):
        table.transform(array_table()[:, 1:])


def test_not_fitted():
    with pytest.raises(NotFittedError, match="This TableCleaner instance is not fitted yet"):
        TableCleaner().transform(pandas_table())
