"""Replay an optimizer's step as the list of in-place operations that it performed once."""

from typing import Any, Protocol

import torch

from sktorch._private.torch import TorchDispatchMode, schema


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
        self._writes: list[tuple] | None = None
        self._n_tries = 2  # The first step may make the states.

    def step(self) -> None:
        """Step, by replaying if the operations are known."""
        if self._writes is not None:
            with torch.no_grad():
                for operation, args, kwargs in self._writes:
                    operation(*args, **kwargs)
        elif self._n_tries:
            self._n_tries -= 1
            with _WriteRecorder() as recorder:
                self._optimizer.step()
            self._writes = recorder.writes
        else:
            self._optimizer.step()


class _WriteRecorder(TorchDispatchMode):
    """Notes the operations in place; its list is None as soon as there is another operation."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[tuple] | None = []

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if not schema(operation).is_mutable:
            self.writes = None
        elif self.writes is not None:
            self.writes.append((operation, args, kwargs))
        return operation(*args, **kwargs)
