"""What a cleaner made of each column, as a table to read."""

from collections.abc import Sequence
from html import escape
from typing import Any

from sktorch.preprocessing._encoders import Output

HEADER = ("column", "kind", "missing", "values", "becomes", "worth a look")
SCALED = {
    False: {"spread": "scaled robustly", "peaked": "scaled to [0, 1]"},
    True: {"spread": "scaled robustly and bent", "peaked": "scaled by its range and bent"},
}
LONGEST = 40  # characters of a name or a category that are shown


class CleaningReport(list):
    """A list with a dict for each column of a raw table, shown as a table of text or HTML.

    Each dict has the keys "column", "kind" ("number", "date" or "category"), "dtype", "missing"
    (the share of the rows), "missing_values" (what was read as missing), "lowest", "median" and
    "highest" of numbers, "earliest" and "latest" of dates, "n_categories", "most_frequent",
    "most_frequent_share" and "n_rare" (in fewer than 1 % of the rows) of categories, "becomes",
    "outputs" (names of the columns that came out) and "warnings". What a kind does not have is
    None. ``pandas.DataFrame(report)`` and ``polars.DataFrame(report)`` make a table of it.

    Examples
    --------
    >>> from sktorch.preprocessing import make_cleaner
    >>> rows = [[39.1, "Torgersen"], [None, "Biscoe"], [40.3, "Biscoe"]]
    >>> report = make_cleaner().fit(rows).report()
    >>> [entry["kind"] for entry in report]
    ['number', 'category']
    >>> round(report[0]["missing"], 2), report[1]["most_frequent"]
    (0.33, 'Biscoe')
    """

    def __repr__(self):
        rows = [HEADER, *map(_cells, self)]
        widths = [max(len(row[j]) for row in rows) for j in range(len(HEADER))]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join(lines)

    __str__ = __repr__

    def _repr_html_(self):
        head = "".join(f"<th>{name}</th>" for name in HEADER)
        rows = "".join(
            f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in _cells(row))}</tr>"
            for row in self
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def row_of(
    name: str, facts: dict[str, Any], outputs: Sequence[tuple[str, Output]], bends: bool
) -> dict[str, Any]:
    """Return the dict of a column of the input, from its facts and its columns of the output."""
    places = [output.place for _, output in outputs]
    cardinality = max((output.cardinality for _, output in outputs), default=0)
    return {
        "column": name,
        **{key: value for key, value in facts.items() if key != "warnings"},
        "becomes": _becomes(places, cardinality, bends),
        "outputs": [output_name for output_name, _ in outputs],
        "warnings": facts["warnings"],
    }


def _becomes(places: list[str], cardinality: int, bends: bool) -> str:
    parts = [text for place, text in SCALED[bends].items() if place in places]
    if any(place.endswith("_missing") for place in places):
        parts.append("indicator of missing")
    if "outlier" in places:
        parts.append("indicator of outliers")
    for place, text in {"circle": "points on circles", "one_hot": "columns of 0 and 1"}.items():
        if place in places:
            parts.append(f"{places.count(place)} {text}")
    if "codes" in places:
        parts.append(f"codes 1 to {cardinality - 1}")
    return ", ".join(parts) or "dropped"


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    """Return the cells of a line."""
    is_plain = row["kind"] == "number" and row["dtype"].startswith(("int", "float", "Int", "Float"))
    kind = row["kind"] if is_plain else f"{row['kind']} ({_short(row['dtype'])})"
    missing = f"{row['missing']:.1%}" if row["missing"] else ""
    if row["missing_values"]:
        missing += f" ({_short(', '.join(row['missing_values']))})"
    warnings = "; ".join(row["warnings"])
    return _short(row["column"]), kind, missing, _values(row), row["becomes"], warnings


def _values(row: dict[str, Any]) -> str:
    if row["lowest"] is not None:
        return " … ".join(f"{row[key]:.6g}" for key in ("lowest", "median", "highest"))
    if row["earliest"] is not None:
        return f"{row['earliest']} … {row['latest']}"
    if not row["n_categories"]:
        return ""
    most = f"{_short(row['most_frequent'])} {row['most_frequent_share']:.0%}"
    return f"{row['n_categories']}: {most}" + (f", {row['n_rare']} rare" if row["n_rare"] else "")


def _short(text: str) -> str:
    """Return a text on one line, and not too long."""
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
