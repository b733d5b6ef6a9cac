"""Replay a training step from a recording, with the same bits, where that is faster.

Autograd and Python decide anew in every step which operations to run. For a small net that takes
longer than the operations. The first steps run eagerly; if enough are left to do, the next one is
recorded while it trains. A recording is used only after it gave, for another batch, the bits of the
eager step in less time, and is kept for further fits of the same kind.
"""

import time
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from sktorch.data.structure import Batch, Outputs, tree_map
from sktorch.recording.record import NotRecordable
from sktorch.training.fingerprint import NotStackable, Snapshot, fingerprint
from sktorch.training.loop import TrainStep
from sktorch.training.programs import Program, program_of
from sktorch.training.randomness import numpy_and_python_state
from sktorch.training.recordable_step import RecordableStep, tensors_of

# To record and try a step takes about as long as 30 steps, and a replay saves about half of one.
MIN_STEPS = 60
# Where a step takes longer, Python's share in it is too small to gain.
MAX_SECONDS = 0.005
# A replay has to take less than this share of the eager step's time.
MAX_TIME_RATIO = 0.97
# One fit records so many shapes of batches: each takes a program of its own.
MAX_SHAPES = 8

# A batch's shape, whether it is the first and the last of its group, and its share in the group.
Place = tuple[Hashable, bool, bool, float]


class RecordedStep:
    """A training step of one module, criterion and optimizer, replayed where that pays."""

    def __init__(self, step: TrainStep, optimizer: Optimizer) -> None:
        self._step = RecordableStep(step, optimizer)
        self._snapshot = Snapshot(step.objective)
        self._parameters = _parameters_of(optimizer)
        self._kind: Hashable = None
        self._programs: dict[Place, Program] = {}
        self._replays: dict[Place, Callable[[Batch], Tensor]] = {}
        self._n_epochs = self._n_steps = 0  # left to do

    @property
    def reason(self) -> str | None:
        """The reason why steps are not replayed; None where they are."""
        if self._replays:
            return None
        reasons = [program.reason for program in self._programs.values() if program.reason]
        return reasons[0] if reasons else "too few steps are left for a recording to pay"

    def belongs_to(self, step: TrainStep, optimizer: Optimizer) -> bool:
        """Say whether module, criterion and optimizer are the same, and nobody changed them."""
        known, objective = self._step.step.objective, step.objective
        return (
            self._step.optimizer is optimizer
            and known.module is objective.module
            and known.criterion is objective.criterion
            and self._parameters == _parameters_of(optimizer)
            and self._snapshot.holds()
        )

    def renew(self, step: TrainStep, n_epochs: int, n_batches: int, *, scheduled: bool) -> None:
        """Begin an epoch of so many batches, the first of so many epochs that are left."""
        self._n_epochs, self._n_steps = n_epochs, n_epochs * n_batches
        self._step.renew(step, scheduled=scheduled)
        if self._step.has_moved():  # Somebody gave a parameter other memory.
            recordings = {place: self._programs[place].recording for place in self._replays}
            self._replays = {place: self._step.bound(r) for place, r in recordings.items() if r}

    def __call__(
        self, batch: Batch, first: bool = True, last: bool = True, share: float = 1.0
    ) -> tuple[Tensor, Outputs]:
        """Step as `sktorch.training.loop.TrainStep` does; only an eager step returns an output."""
        self._n_steps -= 1
        place = _shape_of(batch), first, last, share
        replay = self._replays.get(place)
        if replay is None:
            return self._without_replay(place, batch)
        try:
            loss = replay(batch)
        except RuntimeError:
            self._step.step(batch)  # It says what is wrong in its own words.
            raise
        self._step.update(last)
        return loss, ()

    def _without_replay(self, place: Place, batch: Batch) -> tuple[Tensor, Outputs]:
        """Step eagerly, while recording, or while trying a recording."""
        program = self._program(place)
        if program is None or program.reason is not None:
            return self._step.run_eagerly(batch, *place[1:])
        if program.recording is not None:
            loss = self._tried(program, program.recording, place, batch)
        elif self._pays(program, place):
            loss = self._recorded(program, place, batch)
        else:
            return self._timed(program, place, batch)
        if loss is None:
            return self._step.run_eagerly(batch, *place[1:])
        self._step.update(last=place[2])
        return loss, ()

    def _program(self, place: Place) -> Program | None:
        """Return the program of a batch's shape; None if there are too many, or too few steps."""
        if place not in self._programs:
            if len(self._programs) == MAX_SHAPES:
                return None
            self._programs[place] = self._looked_up(place)
        return self._programs[place]

    def _looked_up(self, place: Place) -> Program:
        if not self._step.trains_all():
            return Program(reason="the optimizer has other parameters than require gradients")
        try:
            self._kind = self._kind or _kind_of(self._step.step)
        except Exception as error:  # NotStackable, or whatever an attribute does when looked at
            return Program(reason=str(error))
        return program_of((self._kind, place))

    def _pays(self, program: Program, place: Place) -> bool:
        """Say whether to record now: so many steps are left, or have been done in all fits."""
        if program.n_steps < 2:  # The first one sets up what the others use.
            return False
        usual = place == next(iter(self._programs))
        left = self._n_steps if usual else self._n_epochs
        return program.n_steps + left >= MIN_STEPS

    def _timed(self, program: Program, place: Place, batch: Batch) -> tuple[Tensor, Outputs]:
        """Step eagerly, and note how long it takes."""
        start = time.thread_time()
        result = self._step.run_eagerly(batch, *place[1:])
        program.n_steps += 1
        program.seconds = min(program.seconds, time.thread_time() - start)
        if program.n_steps >= 2 and program.seconds > MAX_SECONDS:
            milliseconds = 1000 * program.seconds
            program.reason = f"a step takes {milliseconds:.0f} ms, and Python little of it"
        return result

    def _recorded(self, program: Program, place: Place, batch: Batch) -> Tensor | None:
        """Record the step of a batch, which trains; return its loss, None if it has to go again."""
        state, numbers = _State(self._step), numpy_and_python_state()
        try:
            recording, loss = self._step.record(batch, *place[1:])
        except NotRecordable as why:
            program.reason = str(why)
            return why.value
        except Exception as error:
            state.restore()
            program.reason = f"it can't be recorded, {_first_line(error)}"
            return None
        if numpy_and_python_state() != numbers:  # Every replay would have the same numbers.
            program.reason = "it draws from the generators of numpy or Python"
        elif _has_changed(self._step.step, self._kind):
            program.reason = "it keeps something in its attributes from one call to the next"
        else:
            program.recording = recording
        return loss

    def _tried(
        self, program: Program, recording: Any, place: Place, batch: Batch
    ) -> Tensor | None:
        """Step eagerly; use a recording from now on if it gives the same, and is faster."""
        replay, state = self._step.bound(recording), _State(self._step)
        n_calls = 1 if program.is_faster else 3
        try:
            replayed, seconds = state.after(lambda: replay(_copied(batch)), n_calls)
        except RuntimeError as error:
            state.restore()
            program.reason = f"it can't be replayed, {_first_line(error)}"
            return None
        eager, eager_seconds = state.after(
            lambda: self._step.gradients_of(_copied(batch), *place[1:]), n_calls
        )
        if not all(map(_same_bits, replayed, eager)):
            program.reason = "replayed it computes something else"
        elif not program.is_faster and seconds > MAX_TIME_RATIO * eager_seconds:
            program.reason = f"replayed it takes {seconds / eager_seconds:.2f} of the time"
        else:
            program.is_faster = True
            self._replays[place] = replay
        return eager[0]


class _State:
    """What a step reads and writes, beside the parameters, to do it again from the same place."""

    def __init__(self, step: RecordableStep) -> None:
        self._tensors = [*step.gradients, *step.buffers]
        self._values = [tensor.clone() for tensor in self._tensors]
        self._numbers = torch.get_rng_state()

    def restore(self) -> None:
        """Go back."""
        torch.set_rng_state(self._numbers)
        for tensor, value in zip(self._tensors, self._values, strict=True):
            tensor.copy_(value)

    def after(self, function: Callable[[], Tensor], n_calls: int) -> tuple[list[Tensor], float]:
        """Call a function from here; return its value with the state, and the shortest time."""
        times = []
        for _ in range(n_calls):
            self.restore()
            start = time.thread_time()
            value = function()
            times.append(time.thread_time() - start)
        state = [tensor.clone() for tensor in self._tensors]
        return [value, *state, torch.get_rng_state()], min(times)


def _kind_of(step: TrainStep) -> Hashable:
    """Return what steps have in common that one recording serves, beside the shape of batches."""
    return (
        fingerprint(step.objective),
        step.clip_norm,
        step.precision.backward,
        torch.get_num_threads(),
        torch.get_default_dtype(),
        torch.are_deterministic_algorithms_enabled(),
    )


def _has_changed(step: TrainStep, kind: Hashable) -> bool:
    """Say whether a call has changed an attribute, which a replay would not do again."""
    try:
        return _kind_of(step) != kind
    except NotStackable:
        return True


def _parameters_of(optimizer: Optimizer) -> list[list[int]]:
    return [[id(p) for p in group["params"]] for group in optimizer.param_groups]


def _shape_of(batch: Batch) -> Hashable:
    return tuple([(x.shape, x.dtype, x.stride()) for x in tensors_of(batch)])


def _copied(batch: Batch) -> Batch:
    X, y, weight = batch
    return tree_map(Tensor.clone, X), y.clone(), None if weight is None else weight.clone()


def _same_bits(a: Tensor, b: Tensor) -> bool:
    """Say whether two tensors are equal, with their signs of zero and their NaN."""
    return torch.equal(a.reshape(-1).view(torch.uint8), b.reshape(-1).view(torch.uint8))


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
