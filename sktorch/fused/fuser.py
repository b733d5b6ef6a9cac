"""One epoch of many models in lockstep.

Tasks with the same key (structure, loss, class of optimizer, shapes) go together: their tensors are
stacked, every step is one step of all, and each model ends where it would have ended alone. Others
go alone, beside them.
"""

import copy
import math
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, pairwise

import torch

from sktorch._device import current_device
from sktorch.fused.epoch import BlockedBatches, EpochTask, StackKey
from sktorch.fused.lockstep import LockstepEpoch
from sktorch.fused.merging import Merging
from sktorch.fused.stack import Stack
from sktorch.fused.trial import Program, make_program, try_program
from sktorch.fused.uneven_step import PartProgram
from sktorch.training.cpu import subnormals_flushed, threads_for

# The memory of a stack's models on a CPU: about its caches. Between a quarter and twice as much the
# time of a step was the same, below a quarter Python's share grows.
CACHE_BYTES = 16 * 2**20
# A stack is kept for as many runs: an epoch may have further passes, to validate and to score.
N_RUNS_KEPT = 4
# Reuse a program up to 25 % wider than needed. Recording another costs about 100 steps.
MAX_WIDTH_RATIO = 1.25
# Of a program for the last batches of some models, which takes a single step of an epoch.
MAX_PART_WIDTH_RATIO = 8.0
# The share of a GPU's free memory that a stack may take.
STACK_GPU_FRACTION = 0.4


@dataclass
class StackJob:
    """Tasks that go together, and the width of their stack, which may be wider."""

    tasks: list[EpochTask]
    key: StackKey
    width: int


class Fuser:
    """Takes tasks through their epochs together; keeps what it learns for the next ones.

    On a CPU as many threads as there are workers train a stack each. `report` is told one line of
    text about every new kind of task.
    """

    def __init__(
        self, n_workers: int | None = None, report: Callable[[str], object] | None = None
    ) -> None:
        self.n_workers = n_workers or torch.get_num_threads()
        self._report = report
        self._reported: set[str] = set()
        self._n_tasks: dict[StackKey, int] = {}
        self._programs: dict[tuple[StackKey, int], Program] = {}
        self._widths: defaultdict[StackKey, set[int]] = defaultdict(set)
        self._max_width: defaultdict[StackKey, float] = defaultdict(lambda: math.inf)
        self._stacks: dict[Hashable, tuple[int, Stack]] = {}
        self._merging = Merging()
        self._n_runs = 0
        # One trial at a time: they silence warnings, which is a setting of the process.
        self._trial_lock = threading.Lock()

    def run(self, tasks: Sequence[EpochTask]) -> None:
        """Take tasks through all their batches; errors are written to them."""
        self._n_runs += 1
        waiting = sorted(tasks, key=lambda task: task.order)
        _share_batches(waiting)
        with ExitStack() as stack:
            lanes = {task.lane: None for task in waiting}
            pools = {lane: stack.enter_context(self._pool(lanes)) for lane in lanes}
            while waiting := [task for task in waiting if _goes_on(task)]:
                jobs = self._jobs(waiting)
                n_threads = max(self.n_workers // len(jobs), 1)
                for outcome in [pools[lane].submit(job, n_threads) for lane, job in jobs]:
                    outcome.result()
        first = self._n_runs - N_RUNS_KEPT
        self._stacks = {key: kept for key, kept in self._stacks.items() if kept[0] > first}

    def _pool(self, lanes: Collection[torch.device]) -> ThreadPoolExecutor:
        """Return the threads of one of several devices, which work side by side.

        A GPU has one. It runs one kernel after the other in any case, and several threads that
        start them wait for Python's lock.
        """
        on_cpu = all(lane.type == "cpu" for lane in lanes)
        return ThreadPoolExecutor(max(self.n_workers // len(lanes), 1) if on_cpu else 1)

    def _jobs(self, tasks: list[EpochTask]) -> list[tuple[torch.device, Callable[[int], None]]]:
        """Return functions of a number of threads, of each stack and single task; by devices."""
        by_key: defaultdict[StackKey, list[EpochTask]] = defaultdict(list)
        by_reason: defaultdict[str, list[EpochTask]] = defaultdict(list)
        for task in tasks:
            try:
                by_key[task.stack_key()].append(task)
            except Exception as error:  # NotStackable, or whatever an attribute does when looked at
                by_reason[f"alone: {error}"].append(task)
        for why, others in by_reason.items():
            self._tell(others, why, len(others))
        alone = [*chain.from_iterable(by_reason.values())]
        stacks: list[StackJob] = []
        for key, alike in self._merging.merge(by_key).items():
            n_tasks = self._n_tasks[key] = max(len(alike), self._n_tasks.get(key, 0))
            if len(alike) > 1:
                parts = sorted(self._cut(key, alike), key=len, reverse=True)
                stacks += [StackJob(part, key, self._width(key, len(part))) for part in parts]
                continue
            if n_tasks == 1:  # else it is the last of several
                self._tell(alike, "alone: there is no other of its kind", 1)
            alone += alike
        return [
            *((stack.tasks[0].lane, partial(self._run_together, stack)) for stack in stacks),
            *((task.lane, partial(self._run_alone, task)) for task in alone),
        ]

    def _cut(self, key: StackKey, tasks: list[EpochTask]) -> list[list[EpochTask]]:
        """Cut tasks into stacks, with the same settings of the optimizer beside each other."""
        numbers = {task.settings: number for number, task in enumerate(reversed(tasks))}
        tasks = sorted(tasks, key=lambda task: -numbers[task.settings])
        sizes = tasks[:1] if key.shapes is None else tasks  # Only padded ones differ in theirs.
        device, n_bytes = tasks[0].device, max(1, *(task.n_bytes for task in sizes))
        on_cpu = device.type == "cpu"
        room = (
            STACK_GPU_FRACTION * torch.cuda.mem_get_info(device)[0]
            if device.type == "cuda"
            else CACHE_BYTES
        )
        width = min(max(room // n_bytes, 4 if on_cpu else 1), self._max_width[key])
        n_stacks = math.ceil(len(tasks) / width)
        if on_cpu and len(tasks) >= 4 * self.n_workers:  # every worker gets as many stacks
            n_stacks = self.n_workers * math.ceil(n_stacks / self.n_workers)
        cuts = [round(number * len(tasks) / n_stacks) for number in range(n_stacks + 1)]
        return [tasks[start:end] for start, end in pairwise(cuts)]

    def _width(self, key: StackKey, n_tasks: int, max_ratio: float = MAX_WIDTH_RATIO) -> int:
        """Return a width that there was before, if it is not much more: it has a program."""
        known = self._widths[key]
        width = min((w for w in known if n_tasks <= w <= max_ratio * n_tasks), default=n_tasks)
        known.add(width)
        return width

    def _run_alone(self, task: EpochTask, n_threads: int) -> None:
        with _at_work([task], n_threads):
            task.run_alone()

    def _run_together(self, job: StackJob, n_threads: int) -> None:
        """Take a stack through the batches that all its tasks have of the same shape."""
        tasks = job.tasks
        with _at_work(tasks, n_threads):
            try:
                if self._run_in_lockstep(job):
                    return
            except torch.OutOfMemoryError:
                self._stacks.clear()
                half = len(tasks) // 2
                self._max_width[job.key] = min(self._max_width[job.key], len(tasks) - half)
                for part in (tasks[:half], tasks[half:]):
                    if len(part) > 1:
                        self._run_together(StackJob(part, job.key, len(part)), n_threads)
                    else:
                        self._run_alone(part[0], n_threads)
                return
            except Exception as error:  # The rows of one task may be why: alone it shows whose.
                self._tell(tasks, f"alone after an error: {error}", len(tasks))
            for task in filter(_goes_on, tasks):
                self._run_alone(task, n_threads)

    def _run_in_lockstep(self, job: StackJob) -> bool:
        """Return whether the stack can be trained; if not, nothing has changed."""
        known = self._programs.get((job.key, job.width))
        if known is not None and known.recording is None:
            return self._was_merged(job)
        stack = self._stack(job)
        program = self._program(job, stack)
        if program.recording is None:
            return self._was_merged(job)
        if job.tasks[0].fills_up and not program.takes_filled_up:
            was_filled_up = any(task.n_rows != task.n_own_rows for task in job.tasks)
            for task in job.tasks:
                task.model.mixes_rows = True
            if was_filled_up:  # Their batches have other lengths than the program now.
                return True
        draws = program.recording.random
        seed = sum(task.model.net.stream_.next_seed() for task in job.tasks) % 2**63 if draws else 0
        LockstepEpoch(job.tasks, stack, program, seed, partial(self._part_program, job)).run()
        if stack.optimizer is not None:
            self._stacks[_stack_id(job)] = self._n_runs, stack
        return True

    def _part_program(self, job: StackJob, tasks: list[EpochTask]) -> PartProgram | None:
        """Return a program for some tasks of a stack, whose next batches are of one length."""
        if tasks[0].fills_up or not tasks[0].shared_batches.is_whole:
            return None
        key = job.key._replace(batch_shape=(tasks[0].n_rows, *job.key.batch_shape[1:]))
        part = StackJob(tasks, key, self._width(key, len(tasks), MAX_PART_WIDTH_RATIO))
        program = self._programs.get((key, part.width)) or self._program(part, self._stack(part))
        alike = program.is_like(self._programs[job.key, job.width])
        return PartProgram(program, part.width) if alike else None

    def _was_merged(self, job: StackJob) -> bool:
        """Say whether a stack was padded that can't be trained; from now on its tasks are not."""
        if job.key.shapes is not None:
            self._merging.refuse(job.key)
        return job.key.shapes is not None

    def _stack(self, job: StackJob) -> Stack:
        """Return the stack of these tasks' last epoch if the models are the same, or a new one."""
        objectives, shapes = [task.model.objective for task in job.tasks], job.key.shapes
        if not job.tasks[0].training:
            return Stack(objectives, width=job.width, shapes=shapes)
        _, stack = self._stacks.pop(_stack_id(job), (None, None))
        if stack is not None and stack.renew():
            return stack
        optimizers = [task.model.net.optimizer_ for task in job.tasks]
        settings = None if job.key.is_scheduled else [task.settings for task in job.tasks]
        return Stack(objectives, optimizers, settings, job.width, shapes)

    def _program(self, job: StackJob, stack: Stack) -> Program:
        key = job.key, stack.width
        with self._trial_lock:
            untried = self._merging.untried(job.key, job.tasks)
            if key not in self._programs:
                generator = torch.Generator(job.tasks[0].device)
                rows = untried or [0]
                self._programs[key] = make_program(job.tasks, stack, generator, rows)
            elif untried:
                program = self._programs[key]
                self._programs[key] = try_program(program, job.tasks, stack, untried)
            if untried:
                self._merging.count_as_tried(job.key, [job.tasks[row] for row in untried])
        reason = self._programs[key].reason
        how = f"together, {len(job.tasks)} in a stack" if reason is None else f"alone: {reason}"
        if job.key.shapes is not None:
            how = f"padded {how}" if reason is None else f"not padded: {reason}"
        self._tell(job.tasks, how, self._n_tasks.get(job.key, len(job.tasks)))
        return self._programs[key]

    def _tell(self, tasks: list[EpochTask], how: str, n_models: int) -> None:
        """Report once per kind whether its models train stacked or alone."""
        if self._report is None:
            return
        module = tasks[0].model.net.module_
        numbers = {task.n_parameters for task in tasks}
        n_parameters = " to ".join(f"{n:,}" for n in sorted({min(numbers), max(numbers)}))
        what = "train" if tasks[0].training else "evaluate"
        line = f"{type(module).__name__} of {n_parameters} parameters: {what} {how}"
        key = re.sub(r"[\d.]+(x| in a stack)", "", line)
        if key not in self._reported:
            self._reported.add(key)
            self._report(f"{n_models} × {line}")


@contextmanager
def _at_work(tasks: list[EpochTask], n_threads: int) -> Iterator[None]:
    """Set the number of threads for the work; store an error in the tasks."""
    first = tasks[0]
    work = first.model.net.work_.multiply_adds * first.n_rows * len(tasks)
    try:
        with current_device(first.lane), threads_for(work, n_threads), subnormals_flushed():
            yield
    except BaseException as error:
        for task in tasks:
            task.error = error


def _stack_id(job: StackJob) -> Hashable:
    """Return what identifies a stack from epoch to epoch, whatever the length of its batches."""
    return (
        job.key.model,
        job.key.shapes,
        job.width,
        *(id(task.model.objective) for task in job.tasks),
    )


def _share_batches(tasks: list[EpochTask]) -> None:
    """Let tasks with the same batches in the same order share them: they are fetched once."""
    shared: dict[Hashable, BlockedBatches] = {}
    for task in tasks:
        if task.data_key is not None:
            # Share a copy: a module trained alone may write to its own batches.
            if task.data_key not in shared:
                shared[task.data_key] = copy.copy(task.batches)
            task.shared_batches = shared[task.data_key]


def _goes_on(task: EpochTask) -> bool:
    return not task.is_over and not task.cancelled()
