"""Replay a training step from a recording, with the same bits, where that is faster.

Autograd and Python decide anew in every step which operations to run. For a small net that takes
longer than the operations. The first steps run eagerly; if enough are left to do, the next one is
recorded while it trains. A recording is used only after it gave, for another batch, the bits of the
eager step in less time. It is kept for further fits of the same kind, and tried in each of them
where code takes part that is not torch's or this package's.
"""

import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from sktorch.data.batches import rows_of
from sktorch.data.structure import Batch, Outputs, tree_leaves, tree_map
from sktorch.recording.record import NotRecordable, Recording, record
from sktorch.recording.replayed_optimizer import Update
from sktorch.recording.torchscript import looped
from sktorch.training.code_reads import is_library_code
from sktorch.training.fingerprint import NotStackable, Snapshot
from sktorch.training.loop import TrainStep
from sktorch.training.programs import Program, program_of
from sktorch.training.randomness import (
    numpy_and_python_numbers_again,
    numpy_and_python_state,
    torch_numbers_again,
    torch_state,
)
from sktorch.training.recordable_step import RecordableStep

# To record and try a step takes about as long as 30 of them, and a replay saves half of one.
MIN_STEPS = 60
# To look for a recording takes as long as a replay or two save.
MIN_STEPS_LEFT = 5
# Where a step takes longer, Python's share in it is too small to gain.
MAX_SECONDS = 0.005
# A replay has to take less than this share of the eager step's time.
MAX_TIME_RATIO = 0.97
# One fit records so many shapes of batches: each takes a program of its own.
MAX_SHAPES = 8

TOO_FEW_STEPS = "too few steps are left for a recording to pay"

# Does the steps of a block: of so many batches, of so many rows each. It returns their losses.
Loop = Callable[[Batch, int, int], Tensor]
# The shapes of a batch's tensors, whether it is the first and the last of its group, and its share.
Place = tuple[Any, ...]


class ReplayedStep:
    """A training step that is replayed where a recording exists or pays."""

    def __init__(self, step: RecordableStep) -> None:
        self.step = step
        self._snapshot = Snapshot(step.objective)
        objective = step.objective
        self._of_library = is_library_code(objective.module) and is_library_code(
            objective.criterion
        )
        # In library code, nothing changes within an epoch. Some changes can't be watched.
        self._is_watched = not self._of_library and self._snapshot.holds()
        self._was_changed = False
        self._kind: Hashable = None
        self._programs: dict[Place, Program] = {}
        self._replays: dict[Place, Callable[[Batch], Tensor]] = {}
        self._loops: dict[Place, tuple[Update, Loop | None]] = {}
        self._pointers: list[int] = []
        self._n_epochs = self._n_steps = 0  # left after this one

    @property
    def reason(self) -> str | None:
        """The reason why nothing is replayed; None where something is."""
        if self.step.is_uneven:
            return "batches of some shapes train other parameters"
        if self._was_changed:
            return "what it reads changes from one step to the next"
        if self._replays:
            return None
        reasons = [program.reason for program in self._programs.values() if program.reason]
        return reasons[0] if reasons else TOO_FEW_STEPS

    def belongs_to(self, step: TrainStep, optimizer: Optimizer) -> bool:
        """Say whether module, criterion and optimizer are the same, and nobody changed them."""
        return self.step.belongs_to(step, optimizer) and self._snapshot.holds()

    def renew(self, n_epochs: int, n_batches: int) -> None:
        """Begin an epoch of so many batches, the first of so many epochs that are left."""
        self._n_epochs, self._n_steps = n_epochs - 1, n_epochs * n_batches
        self._follow_memory()

    def _follow_memory(self) -> None:
        """Bind replays anew if somebody gave a parameter, buffer or gradient other memory."""
        pointers = self.step.pointers()
        if pointers != self._pointers:
            self._pointers, self._loops = pointers, {}
            self.step.forget_memory()
            recordings = {place: self._programs[place].recording for place in self._replays}
            self._replays = {place: self._bound(r) for place, r in recordings.items() if r}

    def __call__(self, batch: Batch, *place: Any) -> tuple[Tensor, Outputs]:
        """Step as `sktorch.training.loop.TrainStep` does; a replay returns no output."""
        self._n_steps -= 1
        key = _shapes_of(batch), *place
        replay = self._replays.get(key)
        if replay is None or self.step.is_uneven or self._has_changed():
            result = self._without_replay(key, batch)
            self._follow_memory()
            return result
        return self._replayed(replay, batch, place)

    def loop(self, batch: Batch) -> Loop | None:
        """Return a function that does the steps of a block of such batches, if it is known how."""
        key, update = (_shapes_of(batch), True, True, 1.0), self.step.replayed_update
        if update is None or key not in self._replays or self.step.is_uneven or self._has_changed():
            return None
        known = self._loops.get(key)
        if known is None or known[0] is not update:
            known = self._loops[key] = update, self._looped(self._programs[key], batch, update)
        return known[1]

    def _looped(self, program: Program, batch: Batch, update: Update) -> Loop | None:
        if program.recording is None or program.recording.program.source is None:
            return None
        source, held = program.recording.program.source, program.recording.program.constants
        state = [tensor.detach() for tensor in self.step.state]
        place = slice(len(state), len(state) + len(_tensors_of(batch)))
        try:
            run = looped(source, place, update.source)
        except RuntimeError:  # TorchScript can't express an operation of the optimizer.
            return None

        def do_steps(block: Batch, n_batches: int, n_rows: int) -> Tensor:
            self._n_steps -= n_batches
            batches = [x.unflatten(0, (n_batches, n_rows)) for x in _tensors_of(block)]
            arguments = *state, *batches, *held, *update.values
            try:
                return run(*arguments)
            except RuntimeError:
                for number in range(n_batches):  # One of them says what is wrong in its own words.
                    self.step.run_eagerly(rows_of(block, number * n_rows, n_rows))
                raise

        return do_steps

    def _replayed(
        self, replay: Callable[[Batch], Tensor], batch: Batch, place: Sequence[Any]
    ) -> tuple[Tensor, Outputs]:
        try:
            loss = replay(batch)
        except RuntimeError:
            self.step.run_eagerly(batch, *place)  # It says what is wrong in its own words.
            raise
        return self.step.finish(loss, *place)

    def _without_replay(self, key: Place, batch: Batch) -> tuple[Tensor, Outputs]:
        """Step eagerly, while recording, or while trying a recording."""
        program, (_, *place) = self._program(key, batch), key
        is_eager = self.step.is_uneven or program is None or program.reason or self._has_changed()
        if program is None or is_eager:
            return self.step.run_eagerly(batch, *place)
        if key in self._replays:
            return self._replayed(self._replays[key], batch, place)
        recording = program.recording or program.borrowed
        if recording is None and not self._pays(program, key):
            return self._timed(program, batch, place)
        try:
            if recording is None:
                loss = self._recorded(program, batch, place)
            else:
                loss = self._tried(program, recording, key, batch)
        except _Undone:
            return self.step.run_eagerly(batch, *place)
        self._follow_memory()
        return self.step.finish(loss, *place)

    def _program(self, key: Place, batch: Batch) -> Program | None:
        """Return the program for batches of one shape; None if there are too many shapes."""
        if key not in self._programs:
            if len(self._programs) == MAX_SHAPES:
                return None
            self._programs[key] = self._looked_up(key, batch)
        return self._programs[key]

    def _looked_up(self, key: Place, batch: Batch) -> Program:
        if key[0] is None or any(x.layout is not torch.strided for x in _tensors_of(batch)):
            return Program(reason="a batch holds something else than dense tensors")
        try:
            self._kind = self._kind or self.step.kind()
        except Exception as error:  # NotStackable, or whatever an attribute does when looked at
            return Program(reason=str(error))
        program = program_of((self._kind, key, _structure_of(batch), *_settings_of_torch()))
        is_tried = program.is_faster and self._of_library and self.step.used in (None, program.used)
        if program.recording and is_tried:
            self._replays[key], self.step.used = self._bound(program.recording), program.used
        elif program.recording is None and program.reason is None and self._of_library:
            # Code of others may take the number of rows for a number in the arithmetic, which shows
            # in a trial only where what it multiplies is not zero.
            program.borrowed = self._of_other_length(key)
        return program

    def _of_other_length(self, key: Place) -> Recording | None:
        """Return a recording for batches of the same rows but another number, if there is one."""
        rows = _rows_of(key)
        alike = [program for other, program in self._programs.items() if _rows_of(other) == rows]
        return next((program.recording for program in alike if program.recording), None)

    def _pays(self, program: Program, key: Place) -> bool:
        """Say whether to record now: so many steps are left, or have been done in all fits."""
        if program.n_steps < 2:  # The first one sets up what the others use.
            return False
        is_usual = key == next(iter(self._programs))
        n_left = self._n_steps if is_usual else self._n_epochs
        return program.n_steps + 1 + n_left >= MIN_STEPS

    def _timed(self, program: Program, batch: Batch, place: list[Any]) -> tuple[Tensor, Outputs]:
        """Step eagerly, and note how long it takes."""
        start = time.thread_time()
        result = self.step.run_eagerly(batch, *place)
        program.n_steps += 1
        program.seconds = min(program.seconds, time.thread_time() - start)
        if program.n_steps >= 2 and program.seconds > MAX_SECONDS:
            milliseconds = 1000 * program.seconds
            program.reason = f"a step takes {milliseconds:.0f} ms, and Python little of it"
        return result

    def _recorded(self, program: Program, batch: Batch, place: list[Any]) -> Tensor:
        """Record the gradients of a batch while they are computed; return the loss."""
        state, numbers = _State(self.step.state), numpy_and_python_state()
        numbers_again = numpy_and_python_numbers_again()
        tensors = [*self.step.state, *_tensors_of(batch)]
        try:
            kind = self.step.kind()
            recording, loss = record(
                lambda *_: self.step.compute(batch, *place),
                None,
                *tensors,
                vectorized=False,
                planned_memory=False,
            )
        except NotRecordable as why:
            program.reason = str(why)
            return why.value
        except Exception as error:
            program.reason = f"it can't be recorded, {_first_line(error)}"
            numbers_again()
            raise state.undone() from error
        if numpy_and_python_state() != numbers:  # Every replay would have the same numbers.
            program.reason = "it draws from the generators of numpy or Python"
        elif self._differs_from(kind):
            program.reason = "it keeps something in its attributes from one step to the next"
        elif self.step.has_replaced(self._pointers):
            program.reason = "it replaces a parameter or buffer, rather than writing to it"
        else:
            program.recording, program.used = recording, self.step.used
        return loss

    def _has_changed(self) -> bool:
        """Say whether a step, or code between two, has changed what somebody's module reads."""
        self._was_changed = self._is_watched and not self._snapshot.holds()
        return self._was_changed

    def _differs_from(self, kind: Hashable) -> bool:
        """Say whether a step has changed an attribute, which a replay would not do again."""
        try:
            return self.step.kind() != kind or kind != self._kind
        except NotStackable:
            return True

    def _tried(self, program: Program, recording: Recording, key: Place, batch: Batch) -> Tensor:
        """Compute gradients eagerly; replay from now on if that gives the same and is faster."""
        _, *place = key
        replay, state = self._bound(recording), _State(self.step.state)
        is_borrowed, program.borrowed = recording is program.borrowed, None
        try:
            n_replays = 1 if program.is_faster else 3
            replayed, seconds = state.after(lambda: replay(_copied(batch)), n_replays)
        except RuntimeError as error:
            if not is_borrowed:
                program.reason = f"it can't be replayed, {_first_line(error)}"
            raise state.undone() from error
        try:
            eager, eager_seconds = state.after(lambda: self.step.compute_eagerly(batch, *place))
        except NotStackable as why:  # for this fit
            raise state.undone() from why
        if not all(map(_same_bits, replayed, eager)):
            program.reason = None if is_borrowed else "replayed it computes something else"
        elif not program.is_faster and seconds > MAX_TIME_RATIO * eager_seconds:
            program.reason = f"replayed it takes {seconds / eager_seconds:.2f} of the time"
        else:
            program.recording, program.used, program.is_faster = recording, self.step.used, True
            self._replays[key] = replay
        return eager[0]

    def _bound(self, recording: Recording) -> Callable[[Batch], Tensor]:
        """Return a recording of a step of this kind as a function of a batch, for this one."""
        # Detached, so that autograd does not follow a replay.
        state = [tensor.detach() for tensor in self.step.state]
        run = recording.flat()
        return lambda batch: run(None, *state, *_tensors_of(batch))[0]


class _Undone(Exception):
    """A step was broken off, and what it wrote is as before: it has to be done again, eagerly."""


class _State:
    """The values of tensors, and the random numbers, to start from there again."""

    def __init__(self, tensors: list[Tensor]) -> None:
        self._tensors = [tensor.detach() for tensor in tensors]
        self._values = [tensor.clone() for tensor in self._tensors]
        self._numbers_again = torch_numbers_again()

    def restore(self) -> None:
        """Go back."""
        self._numbers_again()
        for tensor, value in zip(self._tensors, self._values, strict=True):
            tensor.copy_(value)

    def undone(self) -> _Undone:
        """Go back after a step that was broken off; return the error to raise."""
        self.restore()
        return _Undone()

    def after(self, function: Callable[[], Any], n_calls: int = 1) -> tuple[list[Any], float]:
        """Call a function from here; return its value with the state, and the shortest time."""
        times = []
        for _ in range(n_calls):
            self.restore()
            start = time.thread_time()
            value = function()
            times.append(time.thread_time() - start)
        return [value, *map(Tensor.clone, self._tensors), torch_state()], min(times)


def _settings_of_torch() -> tuple:
    """Return settings of torch on which its choice of operations depends."""
    return (
        torch.get_num_threads(),
        torch.get_default_dtype(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_autocast_dtype("cpu"),
    )


def _tensors_of(batch: Batch) -> list[Tensor]:
    """Return a batch's tensors: of the inputs, the targets, and the weights if there are any."""
    X, y, weight = batch
    return [*tree_leaves(X), y] if weight is None else [*tree_leaves(X), y, weight]


def _shapes_of(batch: Batch) -> Hashable:
    """Return the names of inputs and the shapes of all tensors; None if there is something else."""
    names = tuple(batch[0]) if isinstance(batch[0], dict) else ()
    try:
        return names, tuple([(x.shape, x.dtype, x.stride()) for x in _tensors_of(batch)])
    except (AttributeError, RuntimeError):  # Nested tensors have no shape, and others no strides.
        return None


def _structure_of(batch: Batch) -> Hashable:
    """Return what each of a batch's tensors is."""
    X, y, weight = batch
    return tuple(X) if isinstance(X, dict) else type(X), X is y, weight is None


def _rows_of(key: Place) -> tuple:
    """Return what batches of several lengths have in common: the rows, and their place."""
    (names, shapes), *place = key[0] or ((), ()), *key[1:]
    return names, *((shape[1:], dtype) for shape, dtype, _ in shapes), *place


def _copied(batch: Batch) -> Batch:
    X, y, weight = batch
    return tree_map(Tensor.clone, X), y.clone(), None if weight is None else weight.clone()


def _same_bits(a: Tensor, b: Tensor) -> bool:
    """Say whether two tensors are equal, with their signs of zero and their NaN."""
    return torch.equal(a.reshape(-1).view(torch.uint8), b.reshape(-1).view(torch.uint8))


def _first_line(error: Exception) -> str:
    if isinstance(error, NotStackable):
        return str(error)
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
