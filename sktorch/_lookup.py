"""Entries of a table by name; the error for an unknown name suggests the nearest known one."""

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any


def did_you_mean(
    name: str,
    known: Iterable[str],
    show: Callable[[str], str] = repr,
    synonyms: Mapping[str, str] = {},
) -> str:
    """Return " Did you mean …?" with a name's synonym or nearest known name, or "" without one."""
    close = [synonyms[name]] if name in synonyms else get_close_matches(name, [*known], 1, 0.5)
    return f" Did you mean {show(close[0])}?" if close else ""


def find(
    parameter: str, value: Any, table: Mapping[str, Any], synonyms: Mapping[str, str] = {}
) -> Any:
    """Return the entry that a string names, however it is spelt; else the value.

    Case, punctuation, the module before the last dot and "loss" at the end do not matter.
    ``synonyms`` are the names that other libraries have for ours.
    """
    if not isinstance(value, str):
        return value
    names = {_letters(name): name for name in table}
    letters = _letters(value)
    if letters in names:
        return table[names[letters]]
    by_letters = {_letters(name): _letters(ours) for name, ours in synonyms.items()}
    hint = did_you_mean(letters, names, lambda near: repr(names[near]), by_letters)
    raise ValueError(
        f"{parameter}={value!r} is not known.{hint} Known names are {', '.join(sorted(table))}."
    )


def _letters(name: str) -> str:
    last = name.rpartition(".")[2].lower()
    return "".join(filter(str.isalnum, last)).removesuffix("loss")
