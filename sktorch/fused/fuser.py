"""One epoch of many models in lockstep.

A *pass* is one model's way through the batches of an epoch. Passes of one kind (structure, loss,
class of optimizer, shapes) go together: their tensors are stacked, every step is one step of all,
and each model ends where it would have ended alone. Others pass alone, beside them.
"""

import copy
import math
import re
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise

import torch

from sktorch._private.torch import tree_leaves
from sktorch.fused.stack import Stack
from sktorch.fused.trial import make_program, stacked_batches
from sktorch.recording.replayed_optimizer import ReplayedOptimizer
from sktorch.training.cpu import subnormals_flushed, threads_for
from sktorch.training.cuda_graph import CapturedStep, is_capturable
from sktorch.training.optimizers import without_hooks

# What the models of one stack may take on a CPU: about its caches. Between a quarter and twice as
# much the time of a step was the same, below a quarter Python's share grows.
CACHE_BYTES = 16 * 2**20
# A stack is kept for as many runs: an epoch may have further passes, to validate and to score.
N_RUNS_KEPT = 4
# What a stack may be wider than its members, so that it needs no program of its own when some fits
# have ended: to make one takes as long as a hundred steps.
MAX_WIDTH_RATIO = 1.25
# The share of a GPU's free memory that a stack may take.
GPU_FRACTION = 0.4


class Fuser:
    """Takes passes through their epochs together; keeps what it learns for the next ones.

    Parameters
    ----------
    n_workers : int, default: torch.get_num_threads()
        Number of threads on a CPU, each with a stack of its own.
    report : callable, default=None
        Told one line of text about every new kind of pass.
    """

    def __init__(self, n_workers=None, report=None):
        self.n_workers = n_workers or torch.get_num_threads()
        self._report = report
        self._programs, self._reported, self._n_of_kind = {}, set(), {}
        self._stacks, self._n_runs = {}, 0
        self._widths, self._largest = defaultdict(set), defaultdict(lambda: math.inf)
        # One at a time: they silence warnings, which is a setting of the process.
        self._making = threading.Lock()

    def run(self, passes):
        """Take passes through all their batches; errors are written to them."""
        self._n_runs += 1
        waiting = sorted(passes, key=lambda one: one.order)
        _share_ways(waiting)
        on_cpu = all(one.device.type == "cpu" for one in waiting)
        # A GPU runs one kernel after the other in any case, and several threads that start them
        # wait for Python's lock.
        with ThreadPoolExecutor(self.n_workers if on_cpu else 1) as pool:
            while waiting := [one for one in waiting if _goes_on(one)]:
                jobs = self._jobs(waiting)
                share = max(self.n_workers // len(jobs), 1)
                for outcome in [pool.submit(self._work, *job, share) for job in jobs]:
                    outcome.result()
        first = self._n_runs - N_RUNS_KEPT
        self._stacks = {key: kept for key, kept in self._stacks.items() if kept[0] > first}

    def _jobs(self, passes):
        """Stacks and single passes, each with its kind and width (None: alone)."""
        kinds, jobs, unlike = defaultdict(list), [], defaultdict(list)
        for one in passes:
            try:
                kinds[one.kind()].append(one)
            except Exception as error:  # NotStackable, or whatever an attribute does when looked at
                unlike[f"alone: {error}"].append(one)
        for why, members in unlike.items():
            self._tell(members, why, len(members))
            jobs += [(None, None, [one]) for one in members]
        for kind, members in kinds.items():
            n_together = self._n_of_kind[kind] = max(len(members), self._n_of_kind.get(kind, 0))
            if len(members) == 1:
                if n_together == 1:  # else those that are left of others
                    self._tell(members, "alone: there is no other of its kind", 1)
                jobs.append((None, None, members))
            else:
                stacks = sorted(self._cut(kind, members), key=len, reverse=True)
                jobs += [(kind, self._width(kind, len(stack)), stack) for stack in stacks]
        return jobs

    def _cut(self, kind, members):
        """Cut members in stacks, neighbours with the same settings."""
        if members[0].optimizer is not None:
            numbers = {one.settings: number for number, one in enumerate(reversed(members))}
            members = sorted(members, key=lambda one: -numbers[one.settings])
        device, n_bytes = members[0].device, max(members[0].n_bytes, 1)
        on_cpu = device.type == "cpu"
        room = (
            GPU_FRACTION * torch.cuda.mem_get_info(device)[0]
            if device.type == "cuda"
            else CACHE_BYTES
        )
        width = min(max(room // n_bytes, 4 if on_cpu else 1), self._largest[kind])
        n_stacks = math.ceil(len(members) / width)
        if on_cpu and len(members) >= 4 * self.n_workers:  # every worker gets as many stacks
            n_stacks = self.n_workers * math.ceil(n_stacks / self.n_workers)
        cuts = [round(number * len(members) / n_stacks) for number in range(n_stacks + 1)]
        return [members[start:end] for start, end in pairwise(cuts)]

    def _width(self, kind, n_members):
        """One that there was before, if it is not much more: each takes a program of its own."""
        known = self._widths[kind]
        width = min(
            (w for w in known if n_members <= w <= MAX_WIDTH_RATIO * n_members), default=n_members
        )
        known.add(width)
        return width

    def _work(self, kind, width, members, n_threads):
        work = members[0].work.multiply_adds * members[0].n_rows * len(members)
        try:
            with threads_for(work, n_threads), subnormals_flushed():
                if kind is None:
                    members[0].alone()
                else:
                    self._together(kind, width, members, n_threads)
        except BaseException as error:
            for one in members:
                one.error = error

    def _together(self, kind, width, members, n_threads):
        """Take a stack through the batches that all its members have of the same shape."""
        try:
            if self._in_lockstep(kind, width, members):
                return
            parts = [[one] for one in members]
        except torch.OutOfMemoryError:
            if len(members) == 1:
                raise
            self._stacks.clear()
            half = len(members) // 2
            self._largest[kind] = min(self._largest[kind], len(members) - half)
            parts = [members[:half], members[half:]]
        except Exception as error:  # The rows of a single one may be why: alone it shows whose.
            self._tell(members, f"alone after an error: {error}", len(members))
            parts = [[one] for one in members if _goes_on(one)]
        for part in parts:
            self._work(kind if len(part) > 1 else None, len(part), part, n_threads)

    def _in_lockstep(self, kind, width, members):
        """Whether the stack could be trained; nothing has changed otherwise."""
        known = self._programs.get((kind, width))
        if known is not None and known.recording is None:
            return False
        stack = self._stack(members, width)
        program = self._program(kind, members, stack)
        if program.recording is None:
            return False
        draws = program.recording.random
        seed = sum(one.stream.next_seed() for one in members) % 2**63 if draws else 0
        LockstepEpoch(members, stack, program, seed).go()
        if stack.optimizer is not None and all(one.reusable for one in members):
            self._stacks[_key(members, width)] = self._n_runs, stack
        return True

    def _stack(self, members, width):
        """That of these members' last training if nothing has changed since, or a new one."""
        if members[0].optimizer is None:
            return Stack([one.objective for one in members], width=width)
        _, stack = self._stacks.pop(_key(members, width), (None, None))
        if stack is not None and stack.is_current():
            return stack
        optimizers = [one.optimizer for one in members]
        scheduled = members[0].after_step is not None
        settings = None if scheduled else [one.settings for one in members]
        return Stack([one.objective for one in members], optimizers, settings, width)

    def _program(self, kind, members, stack):
        key = kind, stack.width
        with self._making:
            if key not in self._programs:
                generator = torch.Generator(members[0].device)
                self._programs[key] = make_program(members, stack, generator)
        reason = self._programs[key].reason
        how = f"together, {len(members)} in a stack" if reason is None else f"alone: {reason}"
        self._tell(members, how, self._n_of_kind[kind])
        return self._programs[key]

    def _tell(self, members, how, n_models):
        """Report what becomes of models of a kind, once."""
        if self._report is None:
            return
        one = members[0]
        n_parameters = sum(p.numel() for p in one.module.parameters())
        what = "evaluate" if one.optimizer is None else "train"
        name = type(one.module).__name__
        line = f"{name} of {n_parameters:,} parameters: {what} {how}"
        key = re.sub(r"[\d.]+(x| in a stack)", "", line)
        if key not in self._reported:
            self._reported.add(key)
            self._report(f"{n_models} × {line}")


def _key(members, width):
    """Of the stack in which they train."""
    return width, *((id(one.objective), one.after_step is None) for one in members)


def _can_be_captured(one, optimizer):
    """Whether a CUDA graph may hold a stack's step; a schedule changes the optimizer's settings."""
    on_cuda = one.device.type == "cuda"
    return on_cuda and one.after_step is None and is_capturable(optimizer)


def _share_ways(passes):
    """Let passes to the same batches in the same order go one way: they are fetched once."""
    ways = {}
    for one in passes:
        identity = one.way.identity
        if identity is not None:
            # Nobody's own: a pass that goes alone may write to the batches of its way.
            if identity not in ways:
                ways[identity] = copy.copy(one.way)
            one.shared_batches = ways[identity]


def _goes_on(one):
    return not one.is_over and not one.cancelled()


class _StackStep:
    """A training step of a stack: every model's loss of a batch, after which it has stepped."""

    def __init__(self, members, stack, program):
        self.generator = torch.Generator(members[0].device)
        self._run = partial(program.recording.flat(), self.generator)
        self._tensors = tree_leaves((stack.trained, stack.gradients, stack.fixed, stack.buffers))
        self._renew = stack.renew_settings
        self._scheduled, self._after_steps = members[0].after_step is not None, []
        stack.use_gradients(program.without_gradient)
        self._optimizer = without_hooks(stack.optimizer)
        if not self._scheduled:  # The settings stay.
            self._optimizer = ReplayedOptimizer(self._optimizer)

    def begin(self, members, seed):
        """Another way through the batches begins."""
        self.generator.manual_seed(seed)
        self._after_steps = [one.after_step for one in members] if self._scheduled else []
        if self._scheduled:
            self._renew()

    def __call__(self, batch):
        (loss,) = self._run(*self._tensors, *batch)
        self._optimizer.step()
        for after_step in self._after_steps:
            after_step()
        if self._scheduled:
            self._renew()
        return loss, loss  # the second for an output, which only evaluations give

    def forget_gradients(self):
        """They are written anew, and stay where the optimizer reads them."""


def _evaluation(members, stack, program, seed):
    """An evaluating step of a stack: every model's loss and output of a batch."""
    generator = torch.Generator(members[0].device).manual_seed(seed)
    run = partial(program.recording.flat(), generator)
    tensors = tree_leaves((stack.fixed, stack.buffers))
    return lambda batch: run(*tensors, *batch)


def _training(members, stack, program, seed):
    """A training step of a stack, the one of its last way if there is one."""
    if program not in stack.steps:
        step = captured = _StackStep(members, stack, program)
        if _can_be_captured(members[0], stack.optimizer):
            captured = CapturedStep(step, stack, stack.optimizer, [step.generator])
        stack.steps[program] = step, captured
    step, captured = stack.steps[program]
    step.begin(members, seed)
    return captured


class LockstepEpoch:
    """A stack on its way through the batches of its members."""

    def __init__(self, members, stack, program, seed):
        self.members, self.stack = members, stack
        self.losses, self.outputs = [], []
        self._askers = {one.cancelled for one in members}
        make = _evaluation if stack.optimizer is None else _training
        self._step = make(members, stack, program, seed)

    def go(self):
        """Go on while all have a batch of as many rows; then give every member what is its own.

        What fails in a step leaves all as it was before that batch.
        """
        n_rows = self.members[0].n_rows
        while all(one.n_rows == n_rows and not one.is_over for one in self.members):
            n_before = len(self.losses)
            try:
                for batch in stacked_batches(self.members, self.stack.width):
                    loss, output = self._step(batch)
                    self.losses.append(loss)
                    self.outputs.append(output)
            except BaseException:
                self._advance(len(self.losses) - n_before)
                self._finish()
                raise
            self._advance(len(self.losses) - n_before)
            if all(cancelled() for cancelled in self._askers):
                break
        self._finish()

    def _advance(self, n_batches):
        for one in self.members:
            one.n_done += n_batches
            try:
                if not one.is_over:
                    one.ahead()
            except Exception as error:  # of reading its rows: the others can go on
                one.error = error

    def _finish(self):
        if not self.losses:
            return
        self.stack.unstack()
        losses = torch.stack(self.losses, 1)[: len(self.members)].tolist()
        for one, own in zip(self.members, losses, strict=True):
            one.losses += own
        if self.stack.optimizer is None:
            for number, one in enumerate(self.members):
                one.outputs += [output[number] for output in self.outputs]
