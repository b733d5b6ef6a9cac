"""A transformer that makes a raw table ready for a module."""

from itertools import groupby, repeat
from operator import itemgetter
from typing import Any

import numpy as np
from sklearn.base import OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from sktorch._private.notebooks import Documented
from sktorch._private.scikit_learn import output_library
from sktorch.preprocessing._categorical import category_mask
from sktorch.preprocessing._columns import Column, column_kind, column_of, read_column
from sktorch.preprocessing._containers import check_table, library_of, to_container
from sktorch.preprocessing._dates import cyclic_features, days_since_1970
from sktorch.preprocessing._encoders import (
    PLACES,
    CategoryEncoder,
    CircleEncoder,
    NumberEncoder,
    fit_category,
    fit_circle,
    fit_number,
)
from sktorch.preprocessing._facts import describe
from sktorch.preprocessing._parameters import check_parameters
from sktorch.preprocessing._report import CleaningReport, row_of

Encoder = NumberEncoder | CircleEncoder | CategoryEncoder


class TableCleaner(TransformerMixin, Documented):
    """Make a raw table ready for a module: numbers scaled, gaps filled, categories encoded.

    ``fit`` finds out what each column holds, whatever its dtype:

    - *Numbers*: numeric and boolean columns, durations (seconds), and columns of objects or text
      in which every known value reads as a number. Infinite ones count as missing. They are
      clipped, scaled by :class:`~sklearn.preprocessing.RobustScaler` (those that have two values
      or mostly the same one: to [0, 1]), and filled with the median, beside an indicator
      ``missingindicator_<name>`` if any were missing. ``outliers="smooth"`` scales otherwise.
    - *Dates*: dates, datetimes and ISO 8601 text. They become a number of days and points on the
      circles of the year, the week and the day, in UTC.
    - *Categories*: all other text, and the ``categorical_features``, numbers or not. Up to
      ``max_one_hot`` become one column of 0 and 1 each; more become one column of codes for an
      embedding: 1 to k for the k known ones, 0 for unknown and missing ones.

    Constant columns are dropped. The output's order is numbers and indicators, circles,
    columns of 0 and 1, codes.

    Parameters
    ----------
    categorical_features : "from_dtype", array-like of bool, int or str, or None, \
default="from_dtype"
        Columns that are categories whatever they hold: those of dtype category (Categorical,
        Enum), a mask, positions, or names. If they are named here, or None, the dtype says
        nothing: then a column of dtype category that holds numbers is numeric. Text that reads as
        neither numbers nor dates is a category in any case.
    outliers : {"clip", "flag", "smooth"} or None, default="clip"
        How to treat a number that is further from ``quantile_range`` than that range is wide:
        "clip" clips it to that distance; "flag" clips it too and adds an indicator
        ``outlier_<name>`` for each column with outliers in `fit`; None keeps it. "smooth" bends
        all numbers a little, and outliers towards ±3: z / √(1 + (z / 3)²) of z, which is the
        distance from the median over the width of ``quantile_range`` (over half of the whole
        range, where that width is 0). Missing ones are 0.
    quantile_range : tuple of float or "auto", default="auto"
        Percentiles by which numbers are scaled: to the width that they have in a standard normal
        distribution, or to 1 by "smooth". "auto" is (25, 75) for "smooth", else (5, 95).
    max_one_hot : int, default=10
        Largest number of categories that is encoded one-hot.
    missing_values : tuple of str, default=("", "?", "NA", "N/A", "<NA>", "NaN", "NaT", "null", \
"None")
        Words that mean a missing value, in any case and with any spaces around them. Missing
        without being named here are None, NaN, NaT, `pandas.NA` and infinities.
    dtype : dtype, default=numpy.float32
        Dtype of the output, float32, in which most modules compute, or float64.

    Attributes
    ----------
    cardinalities_ : tuple of int
        For each column of the output: k + 1 for codes of k known categories, 0 for numbers. It is
        what :class:`sktorch.modules.TabularMLP` takes.
    kinds_ : list of str
        The kind of each column of the input: "number", "date" or "category".
    n_features_in_ : int
        Number of columns of the input.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, if they are all strings.

    Notes
    -----
    The output is a table of the input's library, or as ``set_output`` has it. Columns of codes
    have the dtype category in pandas, with the categories 0 to k, so that what comes next can see
    the cardinalities; in polars, whose categories are strings, they are Int64, and in arrays they
    are floats.

    A value of `transform` that can't be read as its column's kind, such as "abc" in a column of
    numbers, counts as missing, with a warning.

    Examples
    --------
    >>> import pandas as pd
    >>> from sktorch.preprocessing import TableCleaner
    >>> X = pd.DataFrame({"age": ["31", "?", "54"], "city": ["Kyiv", "Oslo", None]})
    >>> TableCleaner(max_one_hot=1).fit_transform(X)
       age  missingindicator_age city
    0  0.0                   0.0    1
    1  0.5                   1.0    2
    2  1.0                   0.0    0
    """

    def __init__(
        self,
        *,
        categorical_features="from_dtype",
        outliers="clip",
        quantile_range="auto",
        max_one_hot=10,
        missing_values=("", "?", "NA", "N/A", "<NA>", "NaN", "NaT", "null", "None"),
        dtype=np.float32,
    ):
        self.categorical_features = categorical_features
        self.outliers = outliers
        self.quantile_range = quantile_range
        self.max_one_hot = max_one_hot
        self.missing_values = missing_values
        self.dtype = dtype

    def fit(self, X, y=None):
        """Learn what each column holds, and how to encode it.

        Parameters
        ----------
        X : DataFrame of pandas or polars, or array-like, of shape (n_samples, n_features)
            The raw table.
        y : None
            Ignored.

        Returns
        -------
        self : TableCleaner

        Raises
        ------
        ValueError
            If a parameter is out of its range or names columns that X does not have, all columns
            are constant, or two columns of the output would have the same name.
        TypeError
            If X holds something else than text, numbers, booleans, dates and missing values.
        """
        self._fit(X)
        return self

    def fit_transform(self, X, y=None):
        """Fit, and clean the same table; it is read once.

        Parameters
        ----------
        X : DataFrame of pandas or polars, or array-like, of shape (n_samples, n_features)
            The raw table.
        y : None
            Ignored.

        Returns
        -------
        X_clean : DataFrame or ndarray of shape (n_samples, n_features_out)
            As `transform` returns it.
        """
        return self._cleaned(X, self._fit(X))

    def transform(self, X):
        """Clean and encode.

        Parameters
        ----------
        X : DataFrame of pandas or polars, or array-like, of shape (n_samples, n_features)
            A table with the columns of that in `fit`.

        Returns
        -------
        X_clean : DataFrame or ndarray of shape (n_samples, n_features_out)
            Numbers of ``dtype``, none missing; see the Notes on codes.

        Raises
        ------
        ValueError
            If X has other columns than in `fit`.
        """
        check_is_fitted(self)
        table = check_table(self, X, reset=False)
        positions = sorted({position for position, _ in self._encoders})
        return self._cleaned(X, {position: column_of(table, position) for position in positions})

    def get_feature_names_out(self, input_features=None):
        """Return the names of the output's columns.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the input's columns; None takes those in `fit`, or "x0", "x1", ….

        Returns
        -------
        names : ndarray of str
            Names such as "age", "missingindicator_age", "when_days", "when_year_sin", "city_Oslo".
        """
        names = OneToOneFeatureMixin.get_feature_names_out(self, input_features)
        named = [f"{out.prefix}{names[position]}{out.suffix}" for position, out in self._outputs]
        return np.array(named, dtype=object)

    def report(self):
        """Say what each column holds and what became of it.

        Returns
        -------
        report : CleaningReport
            A list of dicts, one for each column of the table in `fit`, that is shown as a table
            of text or, in notebooks, HTML. ``pandas.DataFrame(report)`` makes a DataFrame.

        Examples
        --------
        >>> import pandas as pd
        >>> from sktorch.preprocessing import make_cleaner
        >>> X = pd.DataFrame({"age": ["31", "?", "54"], "city": ["Kyiv", "Oslo", "Oslo"]})
        >>> report = make_cleaner().fit(X).report()
        >>> for row in report:
        ...     print(row["column"], row["kind"], row["missing_values"], row["becomes"])
        age number ["'?'"] scaled to [0, 1], indicator of missing
        city category [] 2 columns of 0 and 1
        """
        check_is_fitted(self)
        inputs = OneToOneFeatureMixin.get_feature_names_out(self)
        outputs = [[] for _ in inputs]
        names = self.get_feature_names_out()
        for name, (position, output) in zip(names, self._outputs, strict=True):
            outputs[position].append((name, output))
        bends = any(getattr(encoder, "bends", False) for _, encoder in self._encoders)
        return CleaningReport(map(row_of, inputs, self._facts, outputs, repeat(bends)))

    def _fit(self, X: Any, weights: np.ndarray | None = None) -> dict[int, Column]:
        """Fit, and return the columns of X by their positions."""
        check_parameters(self.get_params())
        X = check_table(self, X, reset=True)
        self._missing_words = {word.strip().lower() for word in self.missing_values}
        columns = self._columns(X)
        self.kinds_ = [column_kind(column, self._missing_words) for column in columns.values()]
        self._encoders: list[tuple[int, Encoder]] = []
        self._facts: list[dict[str, Any]] = []
        for position, column in columns.items():
            kind, values = self.kinds_[position], self._read(position, column)
            self._facts.append(describe(column, kind, values, self._missing_words))
            for suffix, feature in features_of(values, kind).items():
                encoder = self._encoder(kind, suffix, feature, weights)
                if encoder is not None:
                    self._encoders.append((position, encoder))
        if not self._encoders:
            raise ValueError(
                f"Every column of X is constant over n_samples={X.shape[0]}, so that nothing is "
                "left to learn from. Give rows that differ."
            )
        self._arrange()
        self._check_names()
        return columns

    def _columns(self, X: Any) -> dict[int, Column]:
        """Return all columns, with what the parameters say about categories."""
        columns = {position: column_of(X, position) for position in range(X.shape[1])}
        names = getattr(self, "feature_names_in_", None)
        mask = category_mask(self.categorical_features, len(columns), names)
        if mask is not None:
            for column, is_category in zip(columns.values(), mask, strict=True):
                column.is_category = bool(is_category)
        return columns

    def _read(self, position: int, column: Column) -> Any:
        name = OneToOneFeatureMixin.get_feature_names_out(self)[position]
        return read_column(column, self.kinds_[position], self._missing_words, name)

    def _encoder(
        self, kind: str, suffix: str, values: Any, weights: np.ndarray | None
    ) -> Encoder | None:
        if kind == "category":
            return fit_category(values, self.max_one_hot)
        if kind == "date" and suffix != "_days":
            return fit_circle(values, suffix)
        return fit_number(values, suffix, self.outliers, self._quantile_range(), weights)

    def _arrange(self) -> None:
        """Put the columns of the output in their order."""
        produced = [
            (position, output)
            for position, encoder in self._encoders
            for output in encoder.outputs()
        ]
        order = sorted(range(len(produced)), key=lambda i: PLACES.index(produced[i][1].place))
        self._destinations = np.argsort(order).tolist()
        self._outputs = [produced[i] for i in order]
        self.cardinalities_ = tuple(output.cardinality for _, output in self._outputs)

    def _cleaned(self, X: Any, columns: dict[int, Column]) -> Any:
        """Return the table that comes out; each column is written to its place."""
        n_rows = len(next(iter(columns.values())).values)
        cleaned = np.empty((n_rows, len(self._outputs)), dtype=self.dtype)
        destinations = iter(self._destinations)
        for position, encoders in groupby(self._encoders, key=itemgetter(0)):
            values = self._read(position, columns[position])
            features = features_of(values, self.kinds_[position])
            for _, encoder in encoders:
                for column in encoder.columns(features[encoder.suffix]):
                    cleaned[:, next(destinations)] = column
        library = output_library(self)
        if library == "default":
            library = library_of(X)
        index = X.index if library_of(X) == "pandas" else None
        names = self.get_feature_names_out()
        return to_container(cleaned, names, self.cardinalities_, library, index)

    def _quantile_range(self) -> tuple[float, float]:
        if self.quantile_range != "auto":
            return self.quantile_range
        return (25.0, 75.0) if self.outliers == "smooth" else (5.0, 95.0)

    def _check_names(self) -> None:
        names, counts = np.unique(self.get_feature_names_out().astype(str), return_counts=True)
        if counts.max() > 1:
            raise ValueError(
                f"Several columns of the output would be named {names[counts > 1].tolist()}: give "
                "the columns of X other names."
            )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.transformer_tags.preserves_dtype = []
        return tags


def features_of(values: Any, kind: str) -> dict[str, Any]:
    """Return ``{suffix: values}`` of all that a column of a kind gives."""
    if kind != "date":
        return {"": values}
    cycles = cyclic_features(values)
    return {"_days": days_since_1970(values)} | {f"_{name}": cycles[name] for name in cycles}


def fit_transform_weighted(cleaner: TableCleaner, X: Any, weights: np.ndarray) -> Any:
    """Fit a cleaner to rows that count by their weights, and clean them.

    Weights count in the quantiles of ``outliers="smooth"``, which are then values of X; nothing
    else looks at them.
    """
    return cleaner._cleaned(X, cleaner._fit(X, weights))


def make_cleaner(**parameters):
    """Return a :class:`TableCleaner` with these parameters, for use in ``make_pipeline``.

    Parameters
    ----------
    **parameters : dict
        Parameters of :class:`TableCleaner`.

    Returns
    -------
    cleaner : TableCleaner

    Examples
    --------
    >>> from sktorch.preprocessing import make_cleaner
    >>> make_cleaner(outliers="flag", max_one_hot=4)
    TableCleaner(max_one_hot=4, outliers='flag')
    """
    return TableCleaner(**parameters)
