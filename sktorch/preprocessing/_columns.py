"""Raw columns, of any table and any type, read as numbers, dates or categories."""

import warnings
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np


class Column:
    """One column of a table as it came: an array, and whether its dtype says that it is a category.

    A column of objects knows its distinct values, which are found once and read once.
    """

    def __init__(self, values: np.ndarray, is_category: bool = False, dtype: str = "") -> None:
        self.values, self.is_category = values, is_category
        self.dtype = dtype or str(values.dtype)

    @cached_property
    def distinct(self) -> tuple[list, np.ndarray]:
        """Return the distinct values, and for each row the position of its value among them."""
        if self.values.dtype.kind != "O":  # here, each NaN would be a value of its own
            found, codes = np.unique(typed(self.values), return_inverse=True)
            return found.astype(object).tolist(), codes
        rows = self.values.tolist()
        try:
            positions = {value: position for position, value in enumerate(dict.fromkeys(rows))}
        except TypeError as error:
            raise TypeError(
                f"X holds values of an {error}; each one in this argument must be missing, a "
                "string, a boolean, a date or a number."
            ) from error
        codes = np.fromiter(map(positions.__getitem__, rows), np.int32, len(rows))
        return list(positions), codes


class Coded(NamedTuple):
    """A column of categories: their names, "" for missing, and for each row a position in them."""

    names: list[str]
    codes: np.ndarray


def column_of(X: Any, position: int) -> Column:
    """Return one column of a table."""
    if isinstance(X, np.ndarray):
        values, is_category, dtype = X[:, position], False, X.dtype
    elif hasattr(X, "iloc"):
        column = X.iloc[:, position]
        values, dtype = _pandas_values(column), column.dtype
        is_category = dtype.name == "category"
    else:
        column = X.to_series(position)
        values, dtype = column.to_numpy(), column.dtype
        is_category = type(dtype).__name__ in {"Categorical", "Enum"}
    kind = values.dtype.kind
    if kind == "c":
        raise ValueError(f"Complex data not supported: column {position} of X is complex.")
    return Column(values if kind in "biufmM" else values.astype(object), is_category, str(dtype))


def _pandas_values(column: Any) -> np.ndarray:
    kind = column.dtype.kind
    if kind in "biuf" and not isinstance(column.dtype, np.dtype):  # pd.NA, which numpy has not
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    if kind == "M":  # with a time zone, too
        return column.to_numpy(dtype="datetime64[us]")
    return column.to_numpy() if kind in "biufmc" else column.to_numpy(dtype=object)


def typed(values: np.ndarray) -> np.ndarray:
    """Return an array of one type as new float64 numbers, durations in seconds, or datetime64[us].

    NaN and NaT are missing, and so are infinities.
    """
    if values.dtype.kind == "M":
        return values.astype("datetime64[us]")
    if values.dtype.kind == "m":
        return values / np.timedelta64(1, "s")
    return _finite(values.astype(np.float64))


def _finite(numbers: np.ndarray) -> np.ndarray:
    numbers[np.isinf(numbers)] = np.nan
    return numbers


def column_kind(column: Column, missing_words: set[str]) -> str:
    """Say what a column holds: "number", "date" or "category".

    A column of objects holds numbers (dates) if every value that is not missing reads as one.
    """
    if column.is_category:
        return "category"
    if column.values.dtype.kind != "O":
        return "date" if column.values.dtype.kind == "M" else "number"
    known = [value for value in column.distinct[0] if not is_missing(value, missing_words)]
    for kind in ("number", "date"):
        read = READERS[kind][0]
        if known and all(read(value) is not None for value in known):
            return kind
    return "category"


def read_column(column: Column, kind: str, missing_words: set[str], name: str) -> Any:
    """Return a column read as its kind, with one value for all missing ones.

    Numbers are float64 with NaN, dates datetime64[us] with NaT, categories `Coded` with "".
    """
    if column.values.dtype.kind in {"number": "biufm", "date": "M", "category": ""}[kind]:
        return typed(column.values)
    read, missing, dtype = READERS[kind]
    distinct, positions = column.distinct
    known = {value: read(value) for value in distinct if not is_missing(value, missing_words)}
    unread = [value for value, result in known.items() if result is None]
    if unread:
        shown = ", ".join(map(repr, unread[:3])) + (", …" if len(unread) > 3 else "")
        warnings.warn(
            f"Column {name!r} held a {kind} in each row that fit saw; what can't be read as one "
            f"now counts as missing: {shown}.",
            UserWarning,
            stacklevel=2,
        )
    results = [known.get(value) for value in distinct]
    results = [missing if result is None else result for result in results]
    if kind == "category":
        names: dict[Any, int] = {name: code for code, name in enumerate(dict.fromkeys(results))}
        return Coded(list(names), np.array([names[result] for result in results])[positions])
    values = np.array(results, dtype=dtype)
    return (_finite(values) if kind == "number" else values)[positions]


def is_missing(value: Any, missing_words: set[str]) -> bool:
    """Say whether a value means that there is none."""
    if isinstance(value, str):
        return value.strip().lower() in missing_words
    # pd.NA, whose comparisons are pd.NA again, is known by its name: pandas may be absent.
    return value is None or type(value).__name__ == "NAType" or bool(value != value)


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _date(value: Any) -> np.datetime64 | None:
    """Return a datetime64[us] in UTC of a date, a datetime or ISO 8601 text, else None."""
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value.strip())
        elif isinstance(value, date) and not isinstance(value, datetime):
            value = datetime.combine(value, time())
        if isinstance(value, datetime) and value.tzinfo is not None:
            value = value.astimezone(UTC).replace(tzinfo=None)
        is_date = isinstance(value, datetime | np.datetime64)
        return np.datetime64(value, "us") if is_date else None
    except (ValueError, OverflowError):
        return None


def _category(value: Any) -> str:
    """Return a category's text: the same for 1 and 1.0, to which a missing value nearby turns 1."""
    is_whole = isinstance(value, float | np.floating) and value.is_integer()
    return str(int(value)) if is_whole else str(value).strip()


# For each kind: how to read a value, the value for a missing one, and the dtype.
READERS: dict[str, tuple[Callable[[Any], Any], Any, Any]] = {
    "number": (_number, np.nan, np.float64),
    "date": (_date, np.datetime64("NaT"), "datetime64[us]"),
    "category": (_category, "", object),
}
