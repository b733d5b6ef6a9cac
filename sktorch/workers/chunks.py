"""Cut the tasks of a call in chunks, so that fits that can be stacked land together."""

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import pairwise
from numbers import Integral, Real
from typing import Any, NamedTuple

from sktorch._private.search_tasks import SearchTask

# A function with its arguments and keyword arguments, as joblib notes a call.
Call = tuple[Callable[..., Any], Sequence[Any], dict[str, Any]]

# Fewer fits than this gain little by being one program.
MIN_TASKS = 8
# Fits of one kind take about as long as each other, so that each worker has its share at once.
# Beyond what it runs side by side, or where kinds differ, those who are done sooner take further
# chunks.
TASKS_AT_ONCE = 256
CHUNKS_PER_WORKER = 3


class Task(NamedTuple):
    """Calls that joblib submits as one batch, their number, and who is told the outcome."""

    number: int
    calls: list[Call]
    search: SearchTask | None  # what they are of
    callback: Callable[[Any], object]


def cut(tasks: Sequence[Task], n_workers: int) -> list[list[Task]]:
    """Cut tasks in chunks for so many workers: those of one kind, then of one fold, together."""
    kinds = _kinds(tasks)
    n_chunks = n_workers
    if len(kinds) > 1 or len(tasks) > TASKS_AT_ONCE * n_workers:
        n_chunks *= CHUNKS_PER_WORKER
    size = max(math.ceil(len(tasks) / n_chunks), MIN_TASKS)
    return [*_joined((piece for alike in kinds for piece in _pieces(alike, size)), size)]


def _kinds(tasks: Sequence[Task]) -> list[list[Task]]:
    """Part tasks by what only fits of one stack have in common, as far as parameters tell.

    Real numbers, such as learning rates, may differ within a stack. Whole numbers, as the widths of
    layers, and names and classes make a stack of their own.
    """
    values: defaultdict[str, list[Any]] = defaultdict(list)
    for task in tasks:
        for name, value in _parameters(task).items():
            values[name].append(value)
    parting = {name for name, those in values.items() if not _are_real_numbers(those)}
    kinds: defaultdict[Hashable, list[Task]] = defaultdict(list)
    for task in tasks:
        own = _parameters(task).items()
        kinds[tuple((name, repr(value)) for name, value in own if name in parting)].append(task)
    return [*kinds.values()]


def _parameters(task: Task) -> dict[str, Any]:
    return {} if task.search is None else dict(task.search.parameters)


def _are_real_numbers(values: list[Any]) -> bool:
    are_numbers = all(isinstance(value, Real) for value in values)
    return are_numbers and not all(isinstance(value, Integral) for value in values)


def _pieces(tasks: list[Task], size: int) -> Iterator[list[Task]]:
    """Yield tasks of one kind in equal pieces of about a size, fold after fold."""
    tasks = sorted(tasks, key=lambda task: 0 if task.search is None else task.search.fold)
    n_pieces = max(round(len(tasks) / size), 1)
    for start, end in pairwise(round(n * len(tasks) / n_pieces) for n in range(n_pieces + 1)):
        yield tasks[start:end]


def _joined(pieces: Iterator[list[Task]], size: int) -> Iterator[list[Task]]:
    """Yield one piece or more at a time, as many as do not exceed a size together."""
    chunk: list[Task] = []
    for piece in pieces:
        if chunk and len(chunk) + len(piece) > size:
            yield chunk
            chunk = []
        chunk = chunk + piece
    if chunk:
        yield chunk
