"""Raw columns, of any table and any type, read as numbers, dates or categories."""

import warnings
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import Any

import numpy as np


def plain_column(X: Any, position: int) -> tuple[np.ndarray, bool]:
    """Return one column of a table as numpy values, and whether the table calls it a category.

    The values are float64 (numbers, booleans, durations in seconds; NaN is missing, and so are
    infinities), datetime64 in UTC, or objects.
    """
    if isinstance(X, np.ndarray):
        values, is_category = X[:, position], False
    elif hasattr(X, "iloc"):
        column = X.iloc[:, position]
        values, is_category = _pandas_values(column), column.dtype.name == "category"
    else:
        column = X.to_series(position)
        is_category = type(column.dtype).__name__ in {"Categorical", "Enum"}
        values = column.to_numpy()

    kind = values.dtype.kind
    if kind == "c":
        raise ValueError(f"Complex data not supported: column {position} of X is complex.")
    if kind in "biuf":
        return _finite(values.astype(np.float64)), is_category
    if kind == "m":
        return values / np.timedelta64(1, "s"), is_category
    if kind == "M":
        return values.astype("datetime64[us]"), is_category
    return values.astype(object), is_category


def _pandas_values(column: Any) -> np.ndarray:
    kind = column.dtype.kind
    if kind in "biuf":  # nullable dtypes too, whose pd.NA numpy does not know
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    if kind == "M":  # with a time zone, too
        return column.to_numpy(dtype="datetime64[us]")
    return column.to_numpy() if kind in "mc" else column.to_numpy(dtype=object)


def _finite(numbers: np.ndarray) -> np.ndarray:
    return np.where(np.isinf(numbers), np.nan, numbers)


def column_kind(values: np.ndarray, is_category: bool, missing_words: set[str]) -> str:
    """Say what a column holds: "number", "date" or "category".

    A column of objects holds numbers (dates) if every value that is not missing reads as one.
    """
    if is_category:
        return "category"
    if values.dtype.kind in "fM":
        return "number" if values.dtype.kind == "f" else "date"
    known = [value for value in _distinct(values)[0] if not _is_missing(value, missing_words)]
    for kind in ("number", "date"):
        read = READERS[kind][0]
        if known and all(read(value) is not None for value in known):
            return kind
    return "category"


def read_column(values: np.ndarray, kind: str, missing_words: set[str], name: str) -> np.ndarray:
    """Return a plain column as its kind, with one value for all missing ones.

    Numbers are float64 with NaN, dates datetime64[us] with NaT, categories strings with "".
    """
    if kind == "number" and values.dtype.kind == "f":
        return values
    if kind == "date" and values.dtype.kind == "M":
        return values
    read, missing, dtype = READERS[kind]
    distinct, positions = _distinct(values.astype(object))
    known = {value: read(value) for value in distinct if not _is_missing(value, missing_words)}
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
    column = np.array(results, dtype=dtype)[positions]
    return _finite(column) if kind == "number" else column


def _distinct(values: np.ndarray) -> tuple[list, np.ndarray]:
    """Return the distinct values, and for each value its position among them."""
    first_seen: dict[Any, int] = {}
    try:
        positions = [first_seen.setdefault(value, len(first_seen)) for value in values]
    except TypeError as error:
        raise TypeError(
            f"X holds values of an {error}; each one in this argument must be missing, a string, "
            "a boolean, a date or a number."
        ) from error
    return list(first_seen), np.array(positions, dtype=np.intp)


def _is_missing(value: Any, missing_words: set[str]) -> bool:
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
