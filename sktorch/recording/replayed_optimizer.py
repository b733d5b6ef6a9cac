"""Replay an optimizer's step as the list of in-place operations that it performed once."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from sktorch._private.torch import OpOverload, TorchDispatchMode, schema
from sktorch.recording.torchscript import Source, Variable, call

# An operation, its arguments, and those by name.
_Write = tuple[OpOverload, tuple, dict[str, Any]]


class Steps(Protocol):
    """An optimizer, or something else that steps."""

    def step(self) -> Any:
        """Update the parameters from their gradients."""


class ReplayedOptimizer:
    """An optimizer whose steps are replayed, if each is the same list of in-place operations.

    An optimizer decides anew in every step what to do. A fused one performs a few operations in
    place, on the same parameters, gradients and states and with the same numbers every time. One
    that makes further tensors, or reads a value, is called as it is. The optimizer's settings must
    not change, and gradients must be written to the same tensors.
    """

    def __init__(self, optimizer: Steps) -> None:
        self._optimizer = optimizer
        self._writes: list[_Write] | None = None
        self._replay: Callable[[], object] | None = None
        self.update: Update | None = None  # what a replay does, where TorchScript can do it
        self._n_tries = 2  # The first step may make the states.

    def step(self) -> None:
        """Step, by replaying if the operations are known."""
        if self._writes is not None:
            self._replay = self._replay or self._compiled(self._writes)
            self._replay()
        elif self._n_tries:
            self._n_tries -= 1
            with _WriteRecorder() as recorder:
                self._optimizer.step()
            if recorder.writes is not None:
                self._writes, self.update = recorder.writes, _as_torchscript(recorder.writes)
        else:
            self._optimizer.step()

    def _compiled(self, writes: list[_Write]) -> Callable[[], object]:
        """Return a replay; it is compiled when it is needed, as a loop of steps does without."""
        if self.update is not None:
            try:
                self.update.source.compiled()
            except RuntimeError:  # TorchScript can't express an operation.
                self.update = None
        return self.update or partial(_perform, writes)


@dataclass(frozen=True)
class Update:
    """Operations in place as a program of TorchScript, with their tensors and numbers."""

    source: Source
    values: tuple[Any, ...]

    def __call__(self) -> None:
        """Perform the operations."""
        self.source.compiled()(*self.values)


def _as_torchscript(writes: list[_Write]) -> Update | None:
    """Return operations as a program of TorchScript, if they are on a CPU."""
    values: list[Any] = []

    def variable(value: Any) -> Any:
        """Return a variable for tensors and numbers with a fraction, and others as they are."""
        kind = _kind_of(value)
        if kind is None:
            return value
        values.append(value)
        return Variable(f"update_{len(values)}", kind)

    # Numbers are variables, so that another learning rate takes no other program. So are lists:
    # TorchScript takes a write to the tensors of a list of its own for one that nobody sees.
    lines, variables = [], []
    for operation, args, kwargs in writes:
        written = [*map(variable, args)]
        named = {name: variable(value) for name, value in kwargs.items()}
        variables += [v for v in (*written, *named.values()) if isinstance(v, Variable)]
        lines.append(call(operation, written, named))
    tensors = [t for value in values for t in (value if isinstance(value, list) else [value])]
    if any(t.device.type != "cpu" for t in tensors if isinstance(t, Tensor)):
        return None
    source = Source(tuple(map(Variable.declaration, variables)), tuple(lines))
    return Update(source, tuple(map(_detached, values)))


def _kind_of(value: Any) -> str | None:
    """Return a value's type in TorchScript, if it is to be a variable."""
    if isinstance(value, list) and value and all(isinstance(v, Tensor) for v in value):
        return "List[Tensor]"
    if isinstance(value, Tensor):
        return "Tensor"
    return "float" if isinstance(value, float) else None


def _detached(value: Any) -> Any:
    """Return tensors so that autograd does not object to a write to a parameter."""
    if isinstance(value, list):
        return [*map(_detached, value)]
    return value.detach() if isinstance(value, Tensor) else value


@torch.no_grad()
def _perform(writes: list[_Write]) -> None:
    for operation, args, kwargs in writes:
        operation(*args, **kwargs)


class _WriteRecorder(TorchDispatchMode):
    """Notes the operations in place; its list is None as soon as there is another operation."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[_Write] | None = []

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if not schema(operation).is_mutable:
            self.writes = None
        elif self.writes is not None:
            self.writes.append((operation, args, kwargs))
        return operation(*args, **kwargs)
