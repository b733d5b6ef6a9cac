"""Entries of a table by name; the error for an unknown name suggests the nearest known one."""

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any


def did_you_mean(name: str, known: Iterable[str], show: Callable[[str], str] = repr) -> str:
    """Return " Did you mean …?" with the nearest known name, or "" if none is near."""
    close = get_close_matches(name, [*known], n=1, cutoff=0.5)
    return f" Did you mean {show(close[0])}?" if close else ""


def find(parameter: str, value: Any, table: Mapping[str, Any]) -> Any:
    """Return the entry that a string names, up to case, underscores and "loss"; else the value."""
    if not isinstance(value, str):
        return value
    names = {_letters(name): name for name in table}
    letters = _letters(value)
    if letters in names:
        return table[names[letters]]
    hint = did_you_mean(letters, names, lambda near: repr(names[near]))
    raise ValueError(
        f"{parameter}={value!r} is not known.{hint} Known names are {', '.join(sorted(table))}."
    )


def _letters(name: str) -> str:
    return name.lower().replace("_", "").removesuffix("loss")
