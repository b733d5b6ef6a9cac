"""Whether a stack of models is used: its step is recorded, and compared with its models alone."""

import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from sktorch._private.torch import tree_flatten, tree_leaves, tree_unflatten
from sktorch.fused.agreement import (
    NotWorthStacking,
    WithoutDropout,
    check_agreement,
    close,
    step_alone,
    tolerances_of,
)
from sktorch.fused.epoch import EpochTask
from sktorch.fused.lookups import OwnTables
from sktorch.fused.stack import Stack, skeleton
from sktorch.fused.stacked_block import stacked_block
from sktorch.recording.record import Recording, record
from sktorch.training.fingerprint import NotStackable, attributes
from sktorch.training.objective import Objective, loss_and_gradients
from sktorch.training.randomness import RandomStream, numpy_and_python_state

# A stack has to take less than this share of the time of its models alone: copying costs, too.
MAX_TIME_RATIO = 0.95
# Where a step of a model alone takes longer on a CPU, Python's share is too small to gain. Not even
# a trial pays, which takes as long as ten steps of every model.
MAX_ALONE_SECONDS = 0.005


@dataclass(frozen=True, eq=False)
class Program:
    """A step of a stack, recorded; without a recording its models are better off alone.

    The recording is a function from the stack's tensors and a batch. In training it writes the
    gradients to those of the stack and returns the losses, in an evaluation it returns losses and
    outputs. Parameters without gradient are those that the loss does not depend on: an optimizer
    leaves them alone. If it `takes_filled_up` batches, rows of weight zero have no part in it.
    """

    recording: Recording | None = None
    without_gradient: frozenset[str] = frozenset()
    takes_filled_up: bool = False
    reason: str | None = None

    def is_like(self, other: "Program") -> bool:
        """Say whether two programs train the same parameters, and both draw numbers or none."""
        if self.recording is None or other.recording is None:
            return False
        facts = [(p.without_gradient, p.usable_recording().random) for p in (self, other)]
        return facts[0] == facts[1]

    def usable_recording(self) -> Recording:
        """Return the recording; raise `NotWorthStacking` if there is none."""
        if self.recording is None:
            raise NotWorthStacking(self.reason)
        return self.recording


def make_program(
    tasks: list[EpochTask], stack: Stack, generator: torch.Generator, rows: Iterable[int] = (0,)
) -> Program:
    """Record a step of a stack, and compare it with its models alone: numbers and time.

    The numbers are those of the models in some rows, the time is that of the smallest of them. Of
    the stack only the gradients change, of the models nothing.
    """
    # A throw-away stream: the trial may draw random numbers, and must not take the model's.
    stream = RandomStream(0, tasks[0].device)
    try:
        return stream.run(_tried_program, tasks, stack, generator, [*rows])
    except NotWorthStacking as why:
        return Program(reason=str(why))


def _tried_program(
    tasks: list[EpochTask], stack: Stack, generator: torch.Generator, rows: list[int]
) -> Program:
    """Return a program that agrees with models alone; raise if there is none."""
    smallest = min((tasks[row] for row in rows), key=lambda task: task.n_parameters)
    on_cpu = smallest.device.type == "cpu"
    if on_cpu:
        _check_small(_largest(tasks))
    recording = _recorded(tasks, stack, generator)
    alone, without_gradient = step_alone(smallest)
    _check_rows(recording, rows, tasks, stack)
    if on_cpu:
        _check_worth(recording, alone, smallest, tasks, stack, generator)
    filled_up = smallest.fills_up and _ignores_rows(recording, tasks, stack, generator)
    return Program(recording, without_gradient, filled_up)


def try_program(program: Program, tasks: list[EpochTask], stack: Stack, rows: list[int]) -> Program:
    """Return a program if it agrees with the models of further rows, too, or else one of no use."""

    def check() -> None:
        _check_rows(program.usable_recording(), rows, tasks, stack)

    try:
        RandomStream(0, tasks[0].device).run(check)
    except NotWorthStacking as why:
        return Program(reason=str(why))
    return program


def _check_rows(
    recording: Recording, rows: list[int], tasks: list[EpochTask], stack: Stack
) -> None:
    """Raise if models of some rows, by their own steps, compute something else than the stack."""
    compute: Callable = partial(recording, torch.Generator(tasks[0].device))
    mode: AbstractContextManager = nullcontext()
    if recording.random:
        if not stack.is_padded:  # Only padding leaves more to ask than the recording has shown.
            return
        compute = _step_of_stack(tasks, stack, skeleton(_largest(tasks).model.objective))
        mode = WithoutDropout()
    given = _inputs(tasks, stack)()
    models = stack.perturbed() if stack.is_padded else []
    if models:
        given = *_with_parameters(given, stack.stacked_parameters(models)), *given[3:]
    steps = {row: step_alone(tasks[row], models[row] if models else None)[0] for row in rows}
    random_state = torch.get_rng_state()
    with mode:
        value = compute(*given)
        results = ((stack.gradients, *value) if tasks[0].training else value), given[3]
        for row, step in steps.items():
            check_agreement(step(tasks[row].next_batch()), results, tasks[row], row)
    if recording.random and not torch.equal(random_state, torch.get_rng_state()):
        raise NotWorthStacking("it draws random numbers, which can't be compared")


def _with_parameters(given: tuple, parameters: dict[str, Tensor]) -> Iterator[dict]:
    """Yield a step's trained parameters, gradients and fixed parameters, with others' values."""
    trained, gradients, fixed = given[:3]
    yield {name: parameters[name] for name in trained}
    yield gradients
    yield {name: parameters[name] for name in fixed}


def _largest(tasks: list[EpochTask]) -> EpochTask:
    """Return the task whose module, called with a padded stack's tensors, is closest to them."""
    return max(tasks, key=lambda task: task.n_parameters)


def _recorded(tasks: list[EpochTask], stack: Stack, generator: torch.Generator) -> Recording:
    """Return a recording of the step, of which a replay computes the same."""
    task = _largest(tasks)
    bare = skeleton(task.model.objective)
    step, inputs = _step_of_stack(tasks, stack, bare), _inputs(tasks, stack)
    state, given = generator.get_state(), inputs()
    with warnings.catch_warnings(), _or_alone():
        # of vmap, about operations that it runs one by one
        warnings.filterwarnings("ignore", message="There is a performance drop")
        before = numpy_and_python_state()
        recording, value = record(step, generator, *given)
        draws_elsewhere = numpy_and_python_state() != before
    if _has_changed(bare, task.model.objective):
        raise NotWorthStacking("it keeps something in its attributes from one call to the next")
    if draws_elsewhere:  # Every replay would have the same numbers.
        raise NotWorthStacking("it draws from the generators of numpy or Python")
    first = [t.clone() for t in tree_leaves((value, given[1], given[3]))]
    generator.set_state(state)
    given = inputs()
    with _or_alone():
        value = recording(generator, *given)
    pairs = zip(tree_leaves((value, given[1], given[3])), first, strict=True)
    if not all(close(*pair, tolerances_of(task)) for pair in pairs):
        raise NotWorthStacking("replayed it computes something else")
    return recording


def _ignores_rows(
    recording: Recording, tasks: list[EpochTask], stack: Stack, generator: torch.Generator
) -> bool:
    """Say whether a step is the same whatever stands in rows of weight zero, here one half.

    It is another if the module computes statistics of a batch.
    """
    if tasks[0].n_own_rows < 2:  # All rows are the same.
        return False
    inputs, state = _inputs(tasks, stack), generator.get_state()
    results = []
    for repeats_first in (False, True):
        given = inputs()
        *others, weights = given[5:]
        half, n_rows = weights.shape[1] // 2, weights.shape[1]
        weights[:, half:] = 0
        for tensor in others:
            further = tensor[:, :1] if repeats_first else tensor.roll(-1, 1)[:, : n_rows - half]
            tensor[:, half:] = further
        generator.set_state(state)
        value = recording(generator, *given)
        results.append([t.clone() for t in tree_leaves((value, given[1], given[3]))])
    pairs = zip(*results, strict=True)
    return all(close(first, second, tolerances_of(tasks[0])) for first, second in pairs)


@contextmanager
def _or_alone() -> Iterator[None]:
    """Inside, whatever can't be batched or repeated is a reason to train alone."""
    try:
        yield
    except (torch.OutOfMemoryError, NotWorthStacking):
        raise
    except Exception as error:
        raise NotWorthStacking(f"it can't be batched, {_first_line(error)}") from error


def _inputs(tasks: list[EpochTask], stack: Stack) -> Callable[[], tuple]:
    """Return a function that makes the step's inputs: new ones of what a module may write to."""
    batch = next(iter(stacked_block(tasks, stack.width)))

    def inputs() -> tuple:
        buffers = {name: buffer.clone() for name, buffer in stack.buffers.items()}
        gradients = {name: g.fill_(torch.nan) for name, g in stack.gradients.items()}
        tensors = stack.trained, gradients, stack.fixed, buffers, stack.masks
        return *tensors, *(x.clone() for x in batch)

    return inputs


def _check_small(task: EpochTask) -> None:
    """Raise if a step of a model alone is large."""
    step, _ = step_alone(task)
    batch = task.next_batch()
    seconds = _seconds(lambda: step(batch))
    if seconds > MAX_ALONE_SECONDS:
        raise NotWorthStacking(f"a step takes {1000 * seconds:.0f} ms, and Python little of it")


def _check_worth(
    recording: Recording,
    alone: Callable,
    task: EpochTask,
    tasks: list[EpochTask],
    stack: Stack,
    generator: torch.Generator,
) -> None:
    """Raise if the stack takes longer than its models alone, which take as long as one of them."""
    given, batch, run = _inputs(tasks, stack)(), task.next_batch(), recording.flat()
    tensors = tree_leaves(given)
    seconds = _seconds(lambda: run(generator, *tensors)) / stack.width
    ratio = seconds / _seconds(lambda: alone(batch))
    if ratio > MAX_TIME_RATIO:
        raise NotWorthStacking(f"stacked it takes {ratio:.1f}x as long")


def _has_changed(bare: Objective, objective: Objective) -> bool:
    """Say whether a call has changed an attribute, which a recording would not do again."""
    try:
        return attributes(bare) != attributes(objective)
    except NotStackable:
        return True


def _step_of_stack(tasks: list[EpochTask], stack: Stack, bare: Objective) -> Callable:
    """Return a function of stacked tensors and a batch, differentiated and batched."""
    task, padded_lengths = tasks[0], _padded_lengths(tasks, stack)
    engine, structure = task.model.engine, tree_flatten(task.next_batch())[1]
    options: dict[str, Any] = {
        "backward": engine.precision.backward,
        "clip_norm": engine.settings.gradient_clip,
    }

    def compute(trained: dict, fixed: dict, buffers: dict, masks: dict, *tensors: Tensor) -> tuple:
        batch = tree_unflatten(tensors, structure)
        with OwnTables(padded_lengths):
            if task.training:
                given = trained, fixed, buffers, batch
                return loss_and_gradients(bare, *given, masks=masks, **options)
            return functional_call(bare, (trained, fixed, buffers), (*batch,))

    batched = vmap(compute, randomness="different")

    def step(
        trained: dict, gradients: dict, fixed: dict, buffers: dict, masks: dict, *tensors: Tensor
    ) -> tuple:
        """Return the losses, and write the gradients to where the optimizer reads them."""
        of_gradients = {name: mask for name, mask in masks.items() if name in trained}
        losses, others = batched(trained, fixed, buffers, of_gradients, *tensors)
        for name in masks.keys() & buffers.keys():
            buffers[name].mul_(masks[name])
        if not task.training:
            return losses, others
        for name, gradient in others.items():
            gradients[name].copy_(gradient)
        return (losses,)

    return step


def _padded_lengths(tasks: list[EpochTask], stack: Stack) -> set[int]:
    """Return the lengths of dimensions that have padding."""
    tensors = stack.tensors
    objectives = [task.model.objective for task in tasks]
    own = chain.from_iterable((*o.named_parameters(), *o.named_buffers()) for o in objectives)
    pairs = ((tensors[name].shape[1:], t.shape) for name, t in own)
    sizes = chain.from_iterable(zip(*shapes, strict=True) for shapes in pairs)
    return {padded for padded, size in sizes if size < padded}


def _seconds(function: Callable[[], object]) -> float:
    """Return the thread's time for a call, without other load: the shorter of two, warmed up."""
    times = []
    for _ in range(4):
        start = time.thread_time()
        function()
        times.append(time.thread_time() - start)
    return min(times[2:])


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
