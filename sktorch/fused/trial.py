"""Whether a stack of models is used: its step is recorded, and compared with a model alone."""

import copy
import time
import warnings
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, vmap
from torch.overrides import TorchFunctionMode

from sktorch._private.torch import tree_flatten, tree_leaves, tree_unflatten
from sktorch.fused.epoch import EpochTask
from sktorch.fused.padding import corner
from sktorch.fused.stack import Stack, skeleton
from sktorch.fused.stacked_block import stacked_block
from sktorch.recording.record import Recording, record
from sktorch.training.fingerprint import NotStackable, attributes
from sktorch.training.objective import Objective, loss_and_gradients
from sktorch.training.randomness import RandomStream, numpy_and_python_state
from sktorch.training.step import make_step

# Differences to the model alone, relative to the largest number, that count as rounding.
TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-3}
# In 16 bits sums of a batch's gradients, which cancel, were seen to differ by 0.07.
TOLERANCE_16_BIT = 0.2
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
    leaves them alone. If it `takes_filled_up` batches, rows of weight zero have no part in it. It
    is right for models of the `structures` that were tried.
    """

    recording: Recording | None = None
    without_gradient: frozenset[str] = frozenset()
    takes_filled_up: bool = False
    reason: str | None = None
    structures: frozenset[Hashable] = frozenset()

    def usable_recording(self) -> Recording:
        """Return the recording; raise `NotWorthStacking` if there is none."""
        if self.recording is None:
            raise NotWorthStacking(self.reason)
        return self.recording


class NotWorthStacking(Exception):
    """A stack is of no use; the message says why."""


def make_program(tasks: list[EpochTask], stack: Stack, generator: torch.Generator) -> Program:
    """Record a step of a stack, and compare it with its first model alone: numbers and time.

    Of the stack only the gradients change, of the models nothing.
    """
    # A throw-away stream: the trial may draw random numbers, and must not take the model's.
    stream = RandomStream(0, tasks[0].device)
    try:
        return stream.run(_tried_program, tasks, stack, generator)
    except NotWorthStacking as why:
        return Program(reason=str(why))


def _tried_program(tasks: list[EpochTask], stack: Stack, generator: torch.Generator) -> Program:
    """Return a program that agrees with a model of each structure alone; raise if there is none."""
    of_each = {task.model.structure(task.training): n for n, task in reversed([*enumerate(tasks)])}
    smallest = min((tasks[row] for row in of_each.values()), key=lambda task: task.n_parameters)
    on_cpu = smallest.device.type == "cpu"
    if on_cpu:
        _check_small(_largest(tasks))
    recording, value, after = _recorded(tasks, stack, generator)
    if recording.random and len(of_each) > 1:
        raise NotWorthStacking("padded it draws other random numbers, and can't be compared")
    for row in of_each.values():
        alone, without_gradient = _step_alone(tasks[row])
        if not recording.random:
            _check_agreement(alone(tasks[row].next_batch()), (value, after), tasks[row], row)
        if on_cpu and tasks[row] is smallest:
            _check_worth(recording, alone, tasks[row], tasks, stack, generator)
    filled_up = smallest.fills_up and _ignores_rows(recording, tasks, stack, generator)
    return Program(recording, without_gradient, filled_up, structures=frozenset(of_each))


def _largest(tasks: list[EpochTask]) -> EpochTask:
    """Return the task whose module, called with a padded stack's tensors, is closest to them."""
    return max(tasks, key=lambda task: task.n_parameters)


def _recorded(
    tasks: list[EpochTask], stack: Stack, generator: torch.Generator
) -> tuple[Recording, tuple, dict[str, Tensor]]:
    """Return a recording of the step, what a replay returned and wrote, and the buffers after."""
    task = _largest(tasks)
    bare = skeleton(task.model.objective)
    step, inputs = _step_of_stack(task, bare), _inputs(tasks, stack)
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
    if not all(_close(*pair, _tolerances(task)) for pair in pairs):
        raise NotWorthStacking("replayed it computes something else")
    if task.training:
        value = stack.gradients, *value
    return recording, value, given[3]


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
    return all(_close(first, second, _tolerances(tasks[0])) for first, second in pairs)


@contextmanager
def _or_alone() -> Iterator[None]:
    """Inside, whatever can't be batched or repeated is a reason to train alone."""
    try:
        yield
    except torch.OutOfMemoryError:
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
    step, _ = _step_alone(task)
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


def _step_of_stack(task: EpochTask, bare: Objective) -> Callable:
    """Return a function of stacked tensors and a batch, differentiated and batched."""
    engine, structure = task.model.engine, tree_flatten(task.next_batch())[1]
    options: dict[str, Any] = {
        "backward": engine.precision.backward,
        "clip_norm": engine.settings.gradient_clip,
    }

    def compute(trained: dict, fixed: dict, buffers: dict, *tensors: Tensor) -> tuple:
        batch = tree_unflatten(tensors, structure)
        with _OwnEmbeddings():
            if task.training:
                return loss_and_gradients(bare, trained, fixed, buffers, batch, **options)
            return functional_call(bare, (trained, fixed, buffers), (*batch,))

    batched = vmap(compute, randomness="different")

    def step(
        trained: dict, gradients: dict, fixed: dict, buffers: dict, masks: dict, *tensors: Tensor
    ) -> tuple:
        """Return the losses, and write the gradients to where the optimizer reads them."""
        losses, others = batched(trained, fixed, buffers, *tensors)
        for name in masks.keys() & buffers.keys():
            buffers[name].mul_(masks[name])
        if not task.training:
            return losses, others
        for name, gradient in others.items():
            gradients[name].copy_(gradient * masks[name] if name in masks else gradient)
        return (losses,)

    return step


class _OwnEmbeddings(TorchFunctionMode):
    """Embeds out-of-range codes as NaN.

    Under vmap all models' tables are one, so such a code would read another model's row. Alone it
    is an error; so is a loss that is not finite.
    """

    def __torch_function__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is not F.embedding:
            return function(*args, **kwargs)
        return _embedding_or_nan(*args, **kwargs)


def _embedding_or_nan(input: Tensor, weight: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    unknown = (input < 0) | (input >= weight.shape[0])
    rows = F.embedding(input.masked_fill(unknown, 0), weight, *args, **kwargs)
    return rows.masked_fill(unknown.unsqueeze(-1), torch.nan)


class _Frozen(torch.optim.Optimizer):
    """An optimizer that leaves the parameters as they are."""

    def step(self, closure: Any = None) -> Any:
        """Do nothing."""


def _step_alone(task: EpochTask) -> tuple[Callable, frozenset[str]]:
    """Return a model's own step on a copy, as a function, and the parameters without a gradient.

    It is the step that trains the model alone, but for the optimizer's part.
    """
    objective = copy.deepcopy(task.model.objective)
    if not task.training:

        @torch.no_grad()
        def evaluate(batch: list) -> tuple:
            return objective(*batch), _buffers(objective)

        return evaluate, frozenset()
    groups = task.model.net.optimizer_.param_groups
    stepped = {id(p) for group in groups for p in group["params"]}
    own = zip(objective.named_parameters(), task.model.objective.parameters(), strict=True)
    trained = {n: p for (n, p), source in own if p.requires_grad and id(source) in stepped}
    engine, frozen = task.model.engine, _Frozen([*trained.values()], {})
    train = make_step(objective, frozen, engine.precision, engine.settings.gradient_clip)

    def step(batch: Any) -> tuple:
        loss, _ = train(batch)
        gradients = {name: parameter.grad for name, parameter in trained.items()}
        return (gradients, loss), _buffers(objective)

    state = copy.deepcopy(objective.state_dict())
    (gradients, _), _ = step(task.next_batch())
    objective.load_state_dict(state)
    return step, frozenset(name for name, g in gradients.items() if g is None)


def _buffers(objective: Objective) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in objective.named_buffers()}


def _check_agreement(alone: tuple, stacked: tuple, task: EpochTask, row: int) -> None:
    """Raise if what a model computes alone is not its row of what the stack computes."""
    (value_alone, buffers_alone), (value, buffers) = alone, stacked
    pairs = [(buffers[name], b) for name, b in buffers_alone.items()]
    if task.training:
        gradients, value_alone = value_alone[0], value_alone[1:]
        pairs += [(value[0][name], g) for name, g in gradients.items() if g is not None]
        value = value[1:]
    own = [(corner(many[row], one.shape), one) for many, one in pairs]
    results = zip(tree_leaves(value), tree_leaves(value_alone), strict=True)
    own += [(many[row], one) for many, one in results]  # Padding must not reach them.
    if not all(_close(*pair, _tolerances(task)) for pair in own):
        raise NotWorthStacking("batched it computes something else")


def _tolerances(task: EpochTask) -> dict[torch.dtype, float]:
    """Return the tolerance of each dtype: none is finer than the precision of the products."""
    return TOLERANCE if task.model.engine.precision.autocast is nullcontext else {}


def _close(stacked: Tensor, alone: Tensor, tolerances: dict[torch.dtype, float]) -> bool:
    if stacked.shape != alone.shape:
        return False
    tolerance = tolerances.get(alone.dtype, TOLERANCE_16_BIT)
    alone, stacked = alone.double(), stacked.double()
    scale = alone.abs().max() if alone.numel() else 0
    near = (stacked - alone).abs() <= tolerance * scale + 1e-7
    return bool((near | (stacked.isnan() & alone.isnan()) | (stacked == alone)).all())


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
