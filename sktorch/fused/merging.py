"""Which models of several widths go in one stack, padded, rather than in one of each width."""

import heapq
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from itertools import combinations, count
from typing import NamedTuple

from sktorch.fused.epoch import EpochTask, StackKey
from sktorch.fused.padding import Shapes, largest, n_elements
from sktorch.fused.sizes import meanings, shapes_of, without_sizes

# Measured on one core, in float32: what a step of a stack takes beside its arithmetic, a recording
# with its trial, and the arithmetic.
STEP_SECONDS = 1.5e-4
RECORDING_SECONDS = 0.03
MULTIPLY_ADD_SECONDS = 3e-11
UPDATE_SECONDS = 2e-9  # of an element, by the optimizer
PADDING_SECONDS = 5e-5  # of a model, whenever it is stacked and taken apart again
SMALLEST_EPSILON = 1e-37  # In float32 smaller ones are flushed to zero.
# How many epochs a training is taken to have; nobody knows in advance.
N_EPOCHS = 10

Kinds = Mapping[StackKey, list[EpochTask]]


class _Group(NamedTuple):
    """Kinds of tasks that would go in one stack."""

    keys: list[StackKey]
    n_tasks: int
    shapes: Shapes
    seconds_per_element: float  # of a parameter, in a step
    overhead: float  # seconds that each stack takes beside the arithmetic, in a step
    padding: float  # seconds that each model of a padded stack takes, in a step

    @property
    def seconds(self) -> float:
        """Return the time of a step of all tasks."""
        of_model = self.seconds_per_element * n_elements(self.shapes)
        if len(self.keys) > 1:
            of_model += self.padding
        return self.overhead + self.n_tasks * of_model


class Merging:
    """Finds the kinds of tasks that differ in sizes alone, and merges those where that is faster.

    What it has decided stays, since each stack of other shapes takes a recording of its own.
    """

    def __init__(self) -> None:
        self._merged: dict[StackKey, StackKey] = {}
        self._loose: dict[StackKey, StackKey] = {}
        self._meanings: defaultdict[Hashable, list[tuple[frozenset, ...]]] = defaultdict(list)
        self._refused: set[StackKey] = set()
        self._tried: defaultdict[Hashable, set[Hashable]] = defaultdict(set)

    def merge(self, by_key: Kinds) -> Kinds:
        """Return tasks by the keys of their stacks."""
        paddable = {key: ts for key, ts in by_key.items() if all(map(_keeps_zeros, ts))}
        alike: defaultdict[StackKey, list[StackKey]] = defaultdict(list)
        for key in paddable:
            alike[self._without_sizes(key)].append(key)
        for loose, keys in alike.items():
            if len(keys) > 1 and loose not in self._refused:
                self._decide(loose, {key: by_key[key] for key in keys})
        merged: defaultdict[StackKey, list[EpochTask]] = defaultdict(list)
        for key, tasks in by_key.items():
            merged[self._merged.get(key, key) if key in paddable else key] += tasks
        return merged

    def refuse(self, key: StackKey) -> None:
        """Merge no more what was merged under a key."""
        self._refused.add(key._replace(shapes=None))
        for own, merged in [*self._merged.items()]:
            if merged._replace(shapes=None) in self._refused:
                self._merged.pop(own)

    def untried(self, key: StackKey, tasks: list[EpochTask]) -> list[int]:
        """Return which tasks of a stack have sizes that were not tried in a padded one."""
        if key.shapes is None:
            return []
        rows = {structure: row for row, structure in enumerate(map(_structure, tasks))}
        return [
            row
            for structure, row in rows.items()
            if structure not in self._tried[key.model, key.shapes]
        ]

    def count_as_tried(self, key: StackKey, tasks: list[EpochTask]) -> None:
        """Take it that padding to these shapes is right for models of these sizes."""
        self._tried[key.model, key.shapes].update(map(_structure, tasks))

    def _without_sizes(self, key: StackKey) -> StackKey:
        if key not in self._loose:
            training, structure, *rest = key.model
            loose = without_sizes(structure)
            model = training, loose, self._number(loose, meanings(structure)), *rest
            self._loose[key] = key._replace(model=model)
        return self._loose[key]

    def _number(self, loose: Hashable, found: tuple[frozenset, ...]) -> int:
        """Return the number of the models of which each attribute has a meaning in common."""
        kinds = self._meanings[loose]
        for number, known in enumerate(kinds):
            common = tuple(map(frozenset.intersection, known, found))
            if all(common):
                kinds[number] = common
                return number
        kinds.append(found)
        return len(kinds) - 1

    def _decide(self, loose: StackKey, kinds: Kinds) -> None:
        """Decide about the kinds that are new, and those that are not merged yet."""
        if all(key in self._merged for key in kinds):
            return
        there = {merged for merged in self._merged.values() if merged.shapes is not None}
        there = {key for key in there if key._replace(shapes=None) == loose}
        groups = []
        for key, tasks in kinds.items():
            if self._merged.get(key, key) == key:
                group = _group(key, tasks)
                joined = _joined(group, there)
                if joined is None:
                    groups.append(group)
                self._merged[key] = joined or key
        for group in _merged_groups(groups):
            if len(group.keys) > 1:
                self._merged |= dict.fromkeys(group.keys, loose._replace(shapes=group.shapes))


def _structure(task: EpochTask) -> Hashable:
    return task.model.structure(task.training)


def _keeps_zeros(task: EpochTask) -> bool:
    """Say whether an optimizer leaves zeros without a gradient as they are."""
    optimizer = task.optimizer
    if optimizer is None:
        return True
    # Without an epsilon, or with one that is flushed to zero, Adam divides zero by zero.
    return all(group.get("eps", 1) >= SMALLEST_EPSILON for group in optimizer.param_groups)


def _group(key: StackKey, tasks: list[EpochTask]) -> _Group:
    """Return a kind as a group, with the estimated times of a step."""
    task = tasks[0]
    shapes = shapes_of(key.model[1])
    multiply_adds = task.model.net.work_.multiply_adds * task.n_rows * (3 if task.training else 1)
    n_parameters = max(n_elements(shapes), 1)
    per_element = multiply_adds * MULTIPLY_ADD_SECONDS / n_parameters
    if task.training:
        per_element += UPDATE_SECONDS
    n_steps = task.batches.sizes.count(task.n_own_rows) / task.n_epochs
    overhead = STEP_SECONDS + RECORDING_SECONDS / (n_steps * N_EPOCHS)
    padding = PADDING_SECONDS / n_steps
    return _Group([key], len(tasks), shapes, per_element, overhead, padding)


def _joined(group: _Group, there: Iterable[StackKey]) -> StackKey | None:
    """Return the padded stack, of those there are, that a group joins at the least cost."""
    costs = {
        key: group.n_tasks * group.seconds_per_element * n_elements(key.shapes)
        for key in there
        if key.shapes is not None and largest(key.shapes, group.shapes) == key.shapes
    }
    best = min(costs, key=costs.__getitem__, default=None)
    return best if best is not None and costs[best] < group.seconds else None


def _merged_groups(groups: list[_Group]) -> list[_Group]:
    """Merge the two groups that save most by it, again and again until no two do."""
    there, numbers = dict(enumerate(groups)), count(len(groups))
    queue = [_saving(there, *pair) for pair in combinations(there, 2)]
    heapq.heapify(queue)
    while queue and queue[0][0] < 0:
        _, *pair = heapq.heappop(queue)
        if all(number in there for number in pair):
            number = next(numbers)
            there[number] = _merged_pair(*map(there.pop, pair))
            for other in there:
                if other != number:
                    heapq.heappush(queue, _saving(there, other, number))
    return [*there.values()]


def _saving(groups: Mapping[int, _Group], first: int, second: int) -> tuple[float, int, int]:
    """Return the seconds that merging two groups adds to a step, and their numbers."""
    pair = groups[first], groups[second]
    return _merged_pair(*pair).seconds - sum(group.seconds for group in pair), first, second


def _merged_pair(first: _Group, second: _Group) -> _Group:
    return _Group(
        first.keys + second.keys,
        first.n_tasks + second.n_tasks,
        largest(first.shapes, second.shapes),
        max(first.seconds_per_element, second.seconds_per_element),
        max(first.overhead, second.overhead),
        max(first.padding, second.padding),
    )
