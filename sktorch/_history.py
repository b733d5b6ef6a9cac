"""The batches of an epoch in skorch's history, kept as columns of numbers.

skorch keeps a dict of 244 bytes and more for each batch. Columns take 16.
"""

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from itertools import groupby, islice
from typing import Any

Column = Sequence[Any]  # an array of numbers, or a list of whatever else was recorded
Block = tuple[int, dict[str, Column]]  # the number of rows that have the same keys, their columns


class Batches(list):
    """A list of one dict a batch, each made of the columns when it is read.

    What changes the list or one of its rows turns it into the plain list that it stands for.
    """

    __slots__ = ("_blocks", "_dicts")

    def __init__(self, blocks: Sequence[Block]) -> None:
        super().__init__()
        self._blocks: Sequence[Block] | None = blocks  # None for a plain list
        self._dicts: list[dict[str, Any]] = []  # of a plain list, in the order of its rows once

    def become_plain(self) -> list[dict[str, Any]]:
        """Hold dicts from now on; return them in the order that the rows had before any change."""
        if self._blocks is not None:
            self._dicts = [{**row} for row in self]
            self._blocks = None
            super().extend(self._dicts)
        return self._dicts

    def __len__(self) -> int:
        if self._blocks is None:
            return super().__len__()
        return sum(n_rows for n_rows, _ in self._blocks)

    def __iter__(self) -> Iterator[Any]:
        return map(self._row, range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        if self._blocks is None:
            return super().__getitem__(index)
        try:
            chosen = range(len(self))[index]
        except IndexError:
            raise IndexError("list index out of range") from None
        return self._row(chosen) if isinstance(chosen, int) else [*map(self._row, chosen)]

    def __radd__(self, other: list) -> list:
        return [*other, *self]

    def __copy__(self) -> list:
        return [*self]

    def __reduce_ex__(self, protocol: Any) -> tuple:
        if self._blocks is None:
            return list, ([*self],)
        return Batches, (self._blocks,)

    def _row(self, index: int) -> dict[str, Any]:
        if self._blocks is None:  # It became plain between two rows of an iteration.
            return super().__getitem__(index)
        row = Row(_values(self._blocks, index))
        row.batches, row.index = self, index
        return row


class Row(dict):
    """A copy of what was recorded of a batch, that passes on what is written to it."""

    __slots__ = ("batches", "index")
    batches: Batches
    index: int

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return dict, ({**self},)


def compact(batches: list[dict[str, Any]]) -> Batches:
    """Return batches as columns, in one block while their keys are the same."""
    if isinstance(batches, Batches) and batches._blocks is not None:
        return batches
    runs = [[*run] for _, run in groupby(batches, key=tuple)]
    return Batches(
        [(len(run), {key: _column([row[key] for row in run]) for key in run[0]}) for run in runs]
    )


def blocks_of(batches: list[dict[str, Any]]) -> Sequence[Block]:
    """Return batches as columns, for a file."""
    return compact(batches)._blocks or ()


def extended(
    batches: list[dict[str, Any]], prefix: str, losses: list[float], sizes: list[int]
) -> Batches:
    """Return batches and after them those of these losses and sizes."""
    columns: dict[str, Column] = {
        f"{prefix}_loss": array("d", losses),
        f"{prefix}_batch_size": array("q", sizes),
    }
    return Batches([*(compact(batches)._blocks or ()), (len(losses), columns)])


def packed(rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, array]]:
    """Return rows of a history with names for their columns of numbers, and all of these as two."""
    pools: dict[str, array] = {"d": array("d"), "q": array("q")}

    def pooled(column: Column) -> str | Column:
        if not isinstance(column, array):
            return column
        pools[column.typecode].extend(column)
        return column.typecode

    def blocks(batches: list[dict[str, Any]]) -> list:
        own = compact(batches)._blocks or ()
        return [[n, {name: pooled(column) for name, column in held.items()}] for n, held in own]

    return [row | {"batches": blocks(row["batches"])} for row in rows], pools


def unpacked(rows: list[dict[str, Any]], pools: Mapping[str, Sequence]) -> list[dict[str, Any]]:
    """Return the rows that `packed` has packed."""
    numbers = {code: iter(pool) for code, pool in pools.items()}

    def column(n_rows: int, held: str | Column) -> Column:
        return array(held, islice(numbers[held], n_rows)) if isinstance(held, str) else held

    def batches(blocks: list) -> Batches:
        return Batches(
            [(n, {name: column(n, held) for name, held in own.items()}) for n, own in blocks]
        )

    return [row | {"batches": batches(row["batches"])} for row in rows]


def _column(values: list[Any]) -> Column:
    """Return values as an array where it gives back the very same ones."""
    try:
        match {*map(type, values)}:
            case kinds if kinds == {float}:
                return array("d", values)
            case kinds if kinds == {int}:
                return array("q", values)
    except OverflowError:
        pass
    return values


def _values(blocks: Sequence[Block], index: int) -> dict[str, Any]:
    for n_rows, columns in blocks:
        if index < n_rows:
            return {name: column[index] for name, column in columns.items()}
        index -= n_rows
    raise IndexError(index)


def _plain_first(method: Callable) -> Callable:
    @wraps(method)
    def changed(self: Batches, *args: Any, **kwargs: Any) -> Any:
        self.become_plain()
        return method(self, *args, **kwargs)

    return changed


def _passed_on(method: Callable) -> Callable:
    @wraps(method)
    def changed(self: Row, *args: Any, **kwargs: Any) -> Any:
        original = self.batches.become_plain()[self.index]
        value = method(original, *args, **kwargs)
        dict.clear(self)
        dict.update(self, original)
        return value

    return changed


def _of_rows(method: Callable) -> Callable:
    @wraps(method)
    def read(self: Batches, *args: Any) -> Any:
        return method([*self], *([*arg] if isinstance(arg, Batches) else arg for arg in args))

    return read


# A list's own methods, which know nothing of columns.
_CHANGES = (
    "append extend insert remove pop clear sort reverse __setitem__ __delitem__ __iadd__ __imul__"
)
_READS = (
    "copy count index __add__ __mul__ __rmul__ __contains__ __reversed__ __repr__ __eq__ __ne__ "
    "__lt__ __le__ __gt__ __ge__"
)
_CHANGES_OF_ROW = "__setitem__ __delitem__ __ior__ update setdefault pop popitem clear"
for _name in _CHANGES.split():
    setattr(Batches, _name, _plain_first(getattr(list, _name)))
for _name in _READS.split():
    setattr(Batches, _name, _of_rows(getattr(list, _name)))
for _name in _CHANGES_OF_ROW.split():
    setattr(Row, _name, _passed_on(getattr(dict, _name)))
