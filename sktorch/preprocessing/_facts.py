"""What a column of a raw table holds, in plain values for a person to read."""

from collections.abc import Callable
from typing import Any

import numpy as np

from sktorch.preprocessing._columns import Coded, Column, is_missing

RARE = 0.01  # a category in a smaller share of the rows is rare
FEW_ROWS = 20  # too few for different values to mean anything


def describe(column: Column, kind: str, values: Any, missing_words: set[str]) -> dict[str, Any]:
    """Return the facts of a column that was read as its kind."""
    summary: dict[str, Callable[[Any], dict[str, Any]]] = {
        "number": _describe_numbers,
        "date": _describe_dates,
        "category": _describe_categories,
    }
    facts = {
        "kind": kind,
        "dtype": column.dtype,
        "missing": float(_is_gap(values).mean()),
        "missing_values": _missing_values(column, kind, missing_words),
        **dict.fromkeys(("lowest", "median", "highest", "earliest", "latest")),
        **dict.fromkeys(("n_categories", "most_frequent", "most_frequent_share", "n_rare")),
    }
    facts |= summary[kind](values)
    return facts | {"warnings": _warnings(column, kind, values, facts)}


def _is_gap(values: Any) -> np.ndarray:
    if isinstance(values, Coded):
        return (np.array(values.names) == "")[values.codes]
    return np.isnat(values) if values.dtype.kind == "M" else np.isnan(values)


def _describe_numbers(values: np.ndarray) -> dict[str, Any]:
    known = values[~np.isnan(values)]
    if known.size == 0:
        return {}
    quantiles = {"lowest": known.min(), "median": np.median(known), "highest": known.max()}
    return {name: float(value) for name, value in quantiles.items()}


def _describe_dates(values: np.ndarray) -> dict[str, Any]:
    known = values[~np.isnat(values)]
    if known.size == 0:
        return {}
    return {"earliest": _date_text(known.min()), "latest": _date_text(known.max())}


def _date_text(date: np.datetime64) -> str:
    return str(date.astype("datetime64[s]")).removesuffix("T00:00:00")


def _describe_categories(values: Coded) -> dict[str, Any]:
    counts = np.bincount(values.codes, minlength=len(values.names))
    known = {name: int(n) for name, n in zip(values.names, counts, strict=True) if name}
    if not known:
        return {"n_categories": 0, "n_rare": 0}
    most_frequent = max(known, key=lambda name: known[name])
    return {
        "n_categories": len(known),
        "most_frequent": most_frequent,
        "most_frequent_share": known[most_frequent] / len(values.codes),
        "n_rare": sum(n < RARE * len(values.codes) for n in known.values()),
    }


def _missing_values(column: Column, kind: str, missing_words: set[str]) -> list[str]:
    """Return what was read as missing, each as a person would write it."""
    values = column.values
    if values.dtype.kind in "mM":
        return ["NaT"] if np.isnat(values).any() else []
    if values.dtype.kind != "O":
        found = {"NaN": np.isnan(values), "inf": np.isinf(values)}
        return [name for name, gaps in found.items() if gaps.any()]
    gaps = [
        value
        for value in column.distinct[0]
        if is_missing(value, missing_words) or (kind == "number" and _is_infinite(value))
    ]
    return list(dict.fromkeys(map(_shown, gaps)))


def _is_infinite(value: Any) -> bool:
    return bool(np.isinf(float(value)))


def _shown(value: Any) -> str:
    is_nan = isinstance(value, float) and value != value
    return repr(value) if isinstance(value, str) else "NaN" if is_nan else str(value)


def _warnings(column: Column, kind: str, values: Any, facts: dict[str, Any]) -> list[str]:
    """Return what is worth a look."""
    warnings = []
    if facts["missing"] == 1:
        warnings.append("no value in any row")
    elif _is_constant(kind, facts):
        warnings.append("the same value in every row that has one")
    elif facts["missing"] > 0.5:
        warnings.append("missing in more than half of the rows")
    if kind == "number" and _holds_text(column):
        warnings.append("numbers that are stored as text")
    if _is_identifier(column, kind, values):
        warnings.append("another value in every row: an identifier?")
    return warnings


def _is_constant(kind: str, facts: dict[str, Any]) -> bool:
    if kind == "category":
        return facts["n_categories"] == 1
    first, last = ("lowest", "highest") if kind == "number" else ("earliest", "latest")
    return facts[first] == facts[last]


def _holds_text(column: Column) -> bool:
    if column.values.dtype.kind != "O":
        return False
    return any(isinstance(value, str) and value.strip() for value in column.distinct[0])


def _is_identifier(column: Column, kind: str, values: Any) -> bool:
    """Say whether categories or whole numbers all differ; measurements may."""
    if kind == "category":
        known = values.codes[~_is_gap(values)]
    elif kind == "number" and column.values.dtype.kind in "iuO":
        known = values[~np.isnan(values)]
        if np.any(known != np.floor(known)):
            return False
    else:
        return False
    return known.size >= FEW_ROWS and np.unique(known).size == known.size
