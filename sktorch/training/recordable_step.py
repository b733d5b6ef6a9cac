"""The training step in a form to be recorded: gradients are written to tensors that stay."""

from collections.abc import Hashable, Iterable
from itertools import chain, compress
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from sktorch.data.structure import Batch, Outputs
from sktorch.recording.replayed_optimizer import ReplayedOptimizer
from sktorch.training.fingerprint import NotStackable, fingerprint
from sktorch.training.loop import TrainStep
from sktorch.training.objective import clip_factor


class RecordableStep:
    """The step of `sktorch.training.loop.TrainStep`, with the same bits.

    What is computed, and recorded, are the gradients; what follows is the optimizer's step.
    """

    def __init__(self, step: TrainStep, optimizer: Optimizer) -> None:
        self._step, self._optimizer, self.objective = step, optimizer, step.objective
        self._groups = _groups_of(optimizer)
        parameters = [*step.objective.parameters()]
        self._trained = [p for p in parameters if p.requires_grad]
        self._fixed = [p for p in parameters if not p.requires_grad]
        self._gradients = [torch.empty_like(p) for p in self._trained]
        self.written = [*self._gradients, *step.objective.buffers()]
        self.state = [*parameters, *self.written]
        of_module = {*map(id, step.objective.module.parameters())}
        self._is_clipped = [id(p) in of_module for p in self._trained]
        self._is_used = [True] * len(self._trained)  # A loss may not depend on all of them.
        self._stepper: Any = None
        self._settings: list | None = None
        self._holds_gradients = False

    def belongs_to(self, step: TrainStep, optimizer: Optimizer) -> bool:
        """Say whether module, criterion, optimizer and its parameters are the same."""
        return (
            self.objective is step.objective
            and self._optimizer is optimizer
            and self._groups == _groups_of(optimizer)
        )

    def renew(self, step: TrainStep, *, scheduled: bool) -> None:
        """Take the step of a new epoch; in a `scheduled` one the optimizer's settings change."""
        self._step = step
        settings = _settings_of(self._optimizer)
        # Optimizers of others may count their steps in Python.
        of_torch = type(self._optimizer).__module__.startswith("torch.optim.")
        if scheduled or not of_torch or step.optimizer is self._optimizer:
            self._stepper, self._settings = step.optimizer, None
        elif settings != self._settings:
            self._stepper, self._settings = ReplayedOptimizer(step.optimizer), settings

    def kind(self) -> Hashable:
        """Return what steps have in common that one recording serves, or raise `NotStackable`."""
        groups = self._optimizer.param_groups
        stepped = {id(p) for group in groups for p in group["params"] if p.requires_grad}
        if stepped != {*map(id, self._trained)}:
            raise NotStackable("the optimizer has other parameters than those that are trained")
        step = self._step
        return "step", fingerprint(self.objective), step.clip_norm, step.precision.backward

    def compute(
        self, batch: Batch, first: bool = True, last: bool = True, share: float = 1.0
    ) -> Tensor:
        """Return the loss of a batch; write its gradients, or add them to those of the group."""
        loss, _ = self.objective.forward(*batch)
        with self._step.precision.backward():
            scaled = loss if share == 1 else loss * share
            gradients = torch.autograd.grad(scaled, self._trained, allow_unused=True)
        self._is_used = [new is not None for new in gradients]
        with torch.no_grad():
            for gradient, new in zip(self._gradients, gradients, strict=True):
                if new is not None:
                    gradient.copy_(new) if first else gradient.add_(new)
            if last and self._step.clip_norm is not None:
                self._clip(self._step.clip_norm)
        return loss.detach()

    def _clip(self, max_norm: float) -> None:
        chosen = [a and b for a, b in zip(self._is_clipped, self._is_used, strict=True)]
        gradients = [*compress(self._gradients, chosen)]
        factor = clip_factor(gradients, max_norm)
        for gradient in gradients:
            gradient.mul_(factor)

    def finish(
        self, loss: Tensor, first: bool = True, last: bool = True, share: float = 1.0
    ) -> tuple[Tensor, Outputs]:
        """Step the optimizer after the last batch of a group; return the loss, and no output."""
        if not self._holds_gradients:
            self._hand_gradients_over()
        if last:
            self._stepper.step()
        return loss, ()

    def run_eagerly(
        self, batch: Batch, first: bool = True, last: bool = True, share: float = 1.0
    ) -> tuple[Tensor, Outputs]:
        """Step as `TrainStep` does; a later step of the same group may be a replay."""
        result = self._step(batch, first, last, share)
        self._holds_gradients = False
        if not last:
            self._is_used = [parameter.grad is not None for parameter in self._trained]
            for parameter, gradient in zip(self._trained, self._gradients, strict=True):
                if parameter.grad is not None:
                    gradient.copy_(parameter.grad)
            self._hand_gradients_over()
        return result

    def _hand_gradients_over(self) -> None:
        for parameter, gradient, is_used in zip(
            self._trained, self._gradients, self._is_used, strict=True
        ):
            parameter.grad = gradient if is_used else None
        for parameter in self._fixed:
            parameter.grad = None  # of a time when it was trained
        self._holds_gradients = True


def _groups_of(optimizer: Optimizer) -> list[list[int]]:
    return [[id(p) for p in group["params"]] for group in optimizer.param_groups]


def _settings_of(optimizer: Optimizer) -> list:
    """Return what an optimizer's operations depend on, beside the values of its tensors."""
    entries: Iterable[dict] = chain(optimizer.param_groups, optimizer.state.values())
    return [
        id(value) if isinstance(value, Tensor | list) else value
        for entry in entries
        for value in entry.values()
    ]
