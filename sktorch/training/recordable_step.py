"""A training step as a function of tensors: gradients are written to tensors that stay the same."""

from collections.abc import Callable, Iterable
from itertools import chain, compress
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from sktorch.data.structure import Batch, Outputs, tree_leaves
from sktorch.recording.record import Recording, record
from sktorch.recording.replayed_optimizer import ReplayedOptimizer
from sktorch.training.loop import TrainStep
from sktorch.training.objective import clip_factor


class RecordableStep:
    """The step of `sktorch.training.loop.TrainStep`, with the same bits, in a form to be recorded.

    Its halves are `gradients_of`, which can be recorded, and `update`. A recording serves every
    step of the same kind: of equal modules and criteria, for batches of equal shape.
    """

    def __init__(self, step: TrainStep, optimizer: Optimizer) -> None:
        self.step, self.optimizer = step, optimizer
        parameters = [*step.objective.parameters()]
        self.trained = [p for p in parameters if p.requires_grad]
        self.gradients = [torch.empty_like(p) for p in self.trained]
        self.buffers = [*step.objective.buffers()]
        self._fixed = [p for p in parameters if not p.requires_grad]
        self._state = [*self.trained, *self.gradients, *self._fixed, *self.buffers]
        of_module = {*map(id, step.objective.module.parameters())}
        self._is_clipped = [id(p) in of_module for p in self.trained]
        self._is_used = [True] * len(self.trained)  # A loss may not depend on all of them.
        self._pointers: list[int] = []
        self._stepper: Any = None
        self._settings: list | None = None
        self._holds_gradients = False

    def renew(self, step: TrainStep, *, scheduled: bool) -> None:
        """Take the step of a new epoch; in a `scheduled` one the optimizer's settings change."""
        self.step = step
        settings = _settings_of(self.optimizer)
        # Optimizers of others may count their steps in Python.
        of_torch = type(self.optimizer).__module__.startswith("torch.optim.")
        if scheduled or not of_torch or step.optimizer is self.optimizer:
            self._stepper, self._settings = step.optimizer, None
        elif settings != self._settings:
            self._stepper, self._settings = ReplayedOptimizer(step.optimizer), settings

    def gradients_of(self, batch: Batch, first: bool, last: bool, share: float) -> Tensor:
        """Return the loss of a batch; write its gradients, or add them to those of the group."""
        loss, _ = self.step.objective.forward(*batch)
        with self.step.precision.backward():
            scaled = loss if share == 1 else loss * share
            gradients = torch.autograd.grad(scaled, self.trained, allow_unused=True)
        self._is_used = [new is not None for new in gradients]
        with torch.no_grad():
            for gradient, new in zip(self.gradients, gradients, strict=True):
                if new is not None:
                    gradient.copy_(new) if first else gradient.add_(new)
            if last and self.step.clip_norm is not None:
                self._clip(self.step.clip_norm)
        return loss.detach()

    def _clip(self, max_norm: float) -> None:
        chosen = [a and b for a, b in zip(self._is_clipped, self._is_used, strict=True)]
        gradients = [*compress(self.gradients, chosen)]
        factor = clip_factor(gradients, max_norm)
        for gradient in gradients:
            gradient.mul_(factor)

    def record(
        self, batch: Batch, first: bool, last: bool, share: float
    ) -> tuple[Recording, Tensor]:
        """Return a recording of `gradients_of`, which is called, and the loss."""

        def compute(*_: Tensor) -> Tensor:
            return self.gradients_of(batch, first, last, share)

        tensors = [*self._state, *tensors_of(batch)]
        return record(compute, None, *tensors, wide_products=False, planned_memory=False)

    def trains_all(self) -> bool:
        """Say whether the optimizer has just the parameters that require gradients."""
        groups = self.optimizer.param_groups
        stepped = {id(p) for group in groups for p in group["params"] if p.requires_grad}
        return stepped == {*map(id, self.trained)}

    def has_moved(self) -> bool:
        """Say whether a tensor has other memory than when this was last asked."""
        before, self._pointers = self._pointers, [tensor.data_ptr() for tensor in self._state]
        return before != self._pointers

    def bound(self, recording: Recording) -> Callable[[Batch], Tensor]:
        """Return a recording of a step of this kind as a function of a batch, for this step."""
        run = recording.flat()
        state = [tensor.detach() for tensor in self._state]  # Autograd is not to follow a replay.

        def replay(batch: Batch) -> Tensor:
            return run(None, *state, *tensors_of(batch))[0]

        return replay

    def update(self, last: bool) -> None:
        """Step the optimizer, if a batch is the last of its group, by the gradients written."""
        if not self._holds_gradients:
            for parameter, gradient, is_used in zip(
                self.trained, self.gradients, self._is_used, strict=True
            ):
                parameter.grad = gradient if is_used else None
            for parameter in self._fixed:
                parameter.grad = None  # of a time when it was trained
            self._holds_gradients = True
        if last:
            self._stepper.step()

    def run_eagerly(
        self, batch: Batch, first: bool, last: bool, share: float
    ) -> tuple[Tensor, Outputs]:
        """Step as `TrainStep` does; a later step of the same group may be a replay."""
        result = self.step(batch, first, last, share)
        self._holds_gradients = False
        if not last:
            for parameter, gradient in zip(self.trained, self.gradients, strict=True):
                if parameter.grad is not None:
                    gradient.copy_(parameter.grad)
            self.update(last)
        return result


def tensors_of(batch: Batch) -> list[Tensor]:
    """Return a batch's tensors: of the inputs, the targets, and the weights if there are any."""
    X, y, weight = batch
    return [*tree_leaves(X), y] if weight is None else [*tree_leaves(X), y, weight]


def _settings_of(optimizer: Optimizer) -> list:
    """Return what an optimizer's operations depend on, beside the values of its tensors."""
    entries: Iterable[dict] = chain(optimizer.param_groups, optimizer.state.values())
    return [
        id(value) if isinstance(value, Tensor | list) else value
        for entry in entries
        for value in entry.values()
    ]
