"""A stack on its way through the batches of its models, in lockstep."""

from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor

from sktorch._private.torch import tree_leaves
from sktorch.data.structure import Outputs, tree_map
from sktorch.fused.epoch import EpochTask
from sktorch.fused.stack import Stack
from sktorch.fused.stacked_block import StackedBlock, stacked_block
from sktorch.fused.trial import Program
from sktorch.fused.uneven_step import FindProgram, uneven_gradients
from sktorch.recording.replayed_optimizer import ReplayedOptimizer, Update
from sktorch.recording.torchscript import Source, looped
from sktorch.training.cuda_graph import Capturable, CapturedStep, is_capturable
from sktorch.training.optimizers import without_hooks

StackBatch = Sequence[Tensor]
# Does the steps of a block; returns the losses of each.
Loop = Callable[[StackedBlock], Tensor]


class LockstepEpoch:
    """The batches of several tasks, each step one of all of them."""

    def __init__(
        self,
        tasks: list[EpochTask],
        stack: Stack,
        program: Program,
        seed: int,
        find_program: FindProgram,
    ) -> None:
        self.tasks, self.stack = tasks, stack
        self._n_rows = tasks[0].n_rows  # of the batches that the program takes
        self.losses: list[Tensor] = []
        self.outputs: list[Outputs] = []
        self._cancelled = {task.cancelled for task in tasks}
        self._find_loop: Callable[[StackedBlock], Loop | None] = _no_loop
        self._uneven_step: Callable[[], Tensor | None] = _nothing
        if stack.optimizer is None:
            self._step = _evaluation_step(tasks, stack, program, seed)
        else:
            step, self._step = _training_steps(tasks, stack, program, seed)
            self._find_loop = step.loop
            if self._step is step:  # A captured one goes from batch to batch by itself.
                self._uneven_step = partial(step.uneven, tasks, stack, find_program)

    def run(self) -> None:
        """Go on while all have a batch and a program for it; then give every task what is its own.

        What fails leaves all models and tasks as they were before: only a stack has changed.
        """
        n_before = [task.n_done for task in self.tasks]
        try:
            while not any(task.is_over for task in self.tasks):
                n_batches = self._run_batches()
                if not n_batches:
                    break
                self._advance(n_batches)
                if all(cancelled() for cancelled in self._cancelled):
                    break
        except BaseException:
            for task, n_done in zip(self.tasks, n_before, strict=True):
                task.n_done = n_done
            raise
        self._finish()

    def _run_batches(self) -> int:
        """Do the steps of the next batches; return how many of each task are done."""
        if all(task.n_rows == self._n_rows for task in self.tasks):
            block = stacked_block(self.tasks, self.stack.width)
            self._run_block(block)
            return len(block)
        losses = self._uneven_step()
        if losses is None:
            return 0
        self.losses.append(losses)
        return 1

    def _run_block(self, block: StackedBlock) -> None:
        """Do the steps of a block: one by one, until it is known how to do all that are left."""
        for number, batch in enumerate(block):
            loop = self._find_loop(block)
            if loop is not None:
                self.losses += loop(block.rest(number)).unbind()
                return
            loss, output = self._step(batch)
            self.losses.append(loss)
            self.outputs.append(output)

    def _advance(self, n_batches: int) -> None:
        for task in self.tasks:
            task.n_done += n_batches
            try:
                if not (task.is_over or task.shared_batches.is_whole):
                    task.shared_batches.block(task.n_done)
            except Exception as error:  # of reading its rows: the others can go on
                task.error = error

    def _finish(self) -> None:
        if not self.losses:
            return
        self.stack.unstack()
        losses = torch.stack(self.losses, 1)[: len(self.tasks)].tolist()
        for task, own in zip(self.tasks, losses, strict=True):
            task.losses += own
        if self.stack.optimizer is None:
            for number, task in enumerate(self.tasks):
                task.outputs += [tree_map(itemgetter(number), output) for output in self.outputs]


def _evaluation_step(
    tasks: list[EpochTask], stack: Stack, program: Program, seed: int
) -> Callable[[StackBatch], tuple[Tensor, Outputs]]:
    """Return a function from a batch of every model to their losses and outputs."""
    generator = torch.Generator(tasks[0].device).manual_seed(seed)
    run = partial(program.usable_recording().flat(), generator)
    tensors = tree_leaves((stack.fixed, stack.buffers, stack.masks))

    def step(batch: StackBatch) -> tuple[Tensor, Tensor]:
        loss, output = run(*tensors, *batch)
        return loss, output

    return step


def _training_steps(
    tasks: list[EpochTask], stack: Stack, program: Program, seed: int
) -> tuple["StackStep", Capturable]:
    """Return the stack's training step, that of its last epoch if there is one, and to call it."""
    if program not in stack.steps:
        step = StackStep(tasks, stack, program)
        captured: Capturable = step
        if _can_be_captured(tasks[0], stack):
            captured = CapturedStep(step, stack, stack.optimizer, [step.generator])
        stack.steps[program] = step, captured
    step, captured = stack.steps[program]
    step.begin(tasks, seed)
    return step, captured


def _no_loop(block: StackedBlock) -> None:
    """Say that the steps of a block are done one by one."""


def _nothing() -> None:
    """Say that batches of other lengths are left to other stacks."""


def _can_be_captured(task: EpochTask, stack: Stack) -> bool:
    """Say whether a CUDA graph may hold a stack's step: a schedule changes the settings in it."""
    on_cuda = task.device.type == "cuda"
    return on_cuda and task.after_step is None and is_capturable(stack.optimizer)


class StackStep:
    """A training step of a stack: from a batch of every model to their losses."""

    def __init__(self, tasks: list[EpochTask], stack: Stack, program: Program) -> None:
        self.generator = torch.Generator(tasks[0].device)
        self._recording = program.usable_recording()
        self._run = partial(self._recording.flat(), self.generator)
        self._loops: dict[bool, Loop | None] = {}
        written = stack.trained, stack.gradients
        self._tensors = tree_leaves((*written, stack.fixed, stack.buffers, stack.masks))
        self._is_scheduled = tasks[0].after_step is not None
        if self._is_scheduled:  # The stack holds its steps: without a cycle it goes at once.
            self._renew_settings = stack.renew_settings
        self._after_steps: list[Callable[[], object]] = []
        stack.use_gradients(program.without_gradient)
        self._optimizer = without_hooks(stack.optimizer)
        if not self._is_scheduled:  # The settings stay.
            self._optimizer = ReplayedOptimizer(self._optimizer)

    def begin(self, tasks: list[EpochTask], seed: int) -> None:
        """Prepare for another epoch."""
        self.generator.manual_seed(seed)
        if self._is_scheduled:
            self._after_steps = [task.after_step for task in tasks if task.after_step is not None]
            self._renew_settings()

    def __call__(self, batch: StackBatch) -> tuple[Tensor, Tensor]:
        """Step every model; return the losses, also in the place of the outputs."""
        (loss,) = self._run(*self._tensors, *batch)
        self._update()
        return loss, loss

    def uneven(
        self, tasks: list[EpochTask], stack: Stack, find_program: FindProgram
    ) -> Tensor | None:
        """Step every model on batches of several lengths; return the losses, None if it can't."""
        losses = uneven_gradients(tasks, stack, self.generator, find_program)
        if losses is not None:
            self._update()
        return losses

    def _update(self) -> None:
        self._optimizer.step()
        for after_step in self._after_steps:
            after_step()
        if self._is_scheduled:
            self._renew_settings()

    def loop(self, block: StackedBlock) -> Loop | None:
        """Return a function that does all steps of a block, if it is known how."""
        known = isinstance(self._optimizer, ReplayedOptimizer)
        update = self._optimizer.update if known else None
        source = self._recording.program.source
        if update is None or source is None:
            return None
        gathered = block.index is not None
        if gathered not in self._loops:
            self._loops[gathered] = self._looped(source, update, block)
        return self._loops[gathered]

    def _looped(self, source: Source, update: Update, block: StackedBlock) -> Loop | None:
        place = slice(len(self._tensors), len(self._tensors) + len(block.tensors))
        try:
            run = looped(source, place, update.source, gathered=block.index is not None)
        except RuntimeError:  # TorchScript can't express an operation of the optimizer.
            return None
        constants = self._recording.program.constants
        further = *self._recording.new_buffers(), *constants, *update.values
        return partial(_do_steps, run, self._tensors, further)

    def zero_grad(self) -> None:
        """Do nothing: gradients are written anew, where the optimizer reads them."""


def _do_steps(
    run: Callable[..., Tensor],
    tensors: list[Tensor],
    further: Sequence[Any],
    block: StackedBlock,
) -> Tensor:
    index = () if block.index is None else (block.index,)
    return run(*tensors, *block.tensors, *further, *index)
