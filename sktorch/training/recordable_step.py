"""The training step in a form to be recorded: gradients are written to tensors that stay."""

from collections.abc import Hashable, Iterable
from itertools import chain, compress
from operator import and_
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from sktorch.data.structure import Batch, Outputs
from sktorch.recording.replayed_optimizer import ReplayedOptimizer, Update
from sktorch.training.fingerprint import NotStackable, fingerprint
from sktorch.training.loop import TrainStep
from sktorch.training.objective import clip_factor
from sktorch.training.optimizers import is_of_torch


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
        self._tensors = [*parameters, *step.objective.buffers()]
        self.state = [*self._tensors, *self._gradients]
        of_module = {*map(id, step.objective.module.parameters())}
        self._is_clipped = [id(p) in of_module for p in self._trained]
        self.used: list[bool] | None = None  # whether the loss depends on each parameter trained
        self.is_uneven = False  # whether that differs between batches: then all steps are eager
        self._stepper: Any = None
        self._settings: list | None = None
        self._is_foreign = False  # whether others' code takes part in the optimizer's step
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
        self._is_foreign = not is_of_torch(self._optimizer) or step.optimizer is self._optimizer
        if scheduled or self._is_foreign:
            self._stepper, self._settings = step.optimizer, None
        elif settings != self._settings:
            self._stepper, self._settings = ReplayedOptimizer(step.optimizer), settings

    @property
    def replayed_update(self) -> Update | None:
        """What the optimizer does in a step, if it is known as a program."""
        known = isinstance(self._stepper, ReplayedOptimizer)
        return self._stepper.update if known else None

    def has_replaced(self, pointers: list[int]) -> bool:
        """Say whether the module has other tensors now, or these are elsewhere in memory."""
        tensors = [*self.objective.parameters(), *self.objective.buffers()]
        return [*map(id, tensors)] != [*map(id, self._tensors)] or pointers != self.pointers()

    def pointers(self) -> list[int]:
        """Return where the tensors of the state are in memory."""
        return [tensor.data_ptr() for tensor in self.state]

    def forget_memory(self) -> None:
        """Replay no step of the optimizer that wrote to memory which was given up."""
        if self._settings is not None:
            self._stepper = ReplayedOptimizer(self._step.optimizer)

    def kind(self) -> Hashable:
        """Return what steps have in common that one recording serves, or raise `NotStackable`."""
        groups = self._optimizer.param_groups
        stepped = {id(p) for group in groups for p in group["params"] if p.requires_grad}
        if stepped != {*map(id, self._trained)}:
            raise NotStackable("the optimizer has other parameters than those that are trained")
        own_zero_grad = type(self._optimizer).zero_grad is not Optimizer.zero_grad
        if own_zero_grad or "zero_grad" in vars(self._optimizer):
            raise NotStackable("the optimizer has a zero_grad of its own")
        if any(getattr(layer, "sparse", False) for layer in self.objective.modules()):
            raise NotStackable("gradients are sparse")
        step = self._step
        return "step", fingerprint(self.objective), step.clip_norm, step.precision.backward

    def compute(
        self, batch: Batch, first: bool = True, last: bool = True, share: float = 1.0
    ) -> Tensor:
        """Return the loss of a batch; write its gradients, or add them to those of the group."""
        if first:
            self._step.zero_grad()
            self._holds_gradients = False
        loss, _ = self.objective.forward(*batch)
        with self._step.precision.backward():
            scaled = loss if share == 1 else loss * share
            gradients = torch.autograd.grad(scaled, self._trained, allow_unused=True)
        if first and any(parameter.grad is not None for parameter in self._trained):
            raise NotStackable("it calls backward() itself")
        self._note_used([new is not None for new in gradients])
        with torch.no_grad():
            for gradient, new in zip(self._gradients, gradients, strict=True):
                if new is not None:
                    gradient.copy_(new) if first else gradient.add_(new)
            if last and self._step.clip_norm is not None:
                self._clip(self._step.clip_norm)
        return loss.detach()

    def _clip(self, max_norm: float) -> None:
        chosen = map(and_, self._is_clipped, self.used or [])
        gradients = [*compress(self._gradients, chosen)]
        factor = clip_factor(gradients, max_norm)
        for gradient in gradients:
            gradient.mul_(factor)

    def compute_eagerly(
        self, batch: Batch, first: bool = True, last: bool = True, share: float = 1.0
    ) -> Tensor:
        """Do what `compute` does as `TrainStep` does it."""
        step = self._step
        if first:
            step.zero_grad()
            self._holds_gradients = False
        loss, _ = step.forward_backward(batch, share)
        if last and step.clip_norm is not None:
            step.clip(step.clip_norm)
        self._note_used([parameter.grad is not None for parameter in self._trained])
        self._take_gradients()
        return loss.detach()

    def finish(
        self, loss: Tensor, first: bool = True, last: bool = True, share: float = 1.0
    ) -> tuple[Tensor, Outputs]:
        """Step the optimizer after the last batch of a group; return the loss, and no output."""
        if self._is_foreign or not self._holds_gradients:  # Others may have replaced some.
            self._hand_gradients_over(self.used or [])
        if last:
            self._stepper.step()
        return loss, ()

    def run_eagerly(
        self, batch: Batch, first: bool = True, last: bool = True, share: float = 1.0
    ) -> tuple[Tensor, Outputs]:
        """Step as `TrainStep` does; a later step of the same group may be a replay."""
        result = self._step(batch, first, last, share)
        self._holds_gradients = False
        gradients = [parameter.grad for parameter in self._trained]
        if not last and all(g is None or g.layout is torch.strided for g in gradients):
            used = [gradient is not None for gradient in gradients]
            self.is_uneven |= first and used != (self.used or used)
            self.used = self.used or used
            self._take_gradients()
            self._hand_gradients_over(used)
        return result

    def _note_used(self, used: list[bool]) -> None:
        """Raise if a loss depends on other parameters than those of other batches."""
        self.is_uneven |= used != (self.used or used)
        if self.is_uneven:
            raise NotStackable("batches of some shapes train other parameters")
        self.used = used

    def _take_gradients(self) -> None:
        for parameter, gradient in zip(self._trained, self._gradients, strict=True):
            if parameter.grad is not None and parameter.grad is not gradient:
                gradient.copy_(parameter.grad)

    def _hand_gradients_over(self, used: list[bool]) -> None:
        for parameter, gradient, is_used in zip(self._trained, self._gradients, used, strict=True):
            parameter.grad = gradient if is_used else None
        for parameter in self._fixed:
            parameter.grad = None  # of a time when it was trained
        self._holds_gradients = True


def _groups_of(optimizer: Optimizer) -> list[list[int]]:
    return [[id(p) for p in group["params"]] for group in optimizer.param_groups]


def _settings_of(optimizer: Optimizer) -> list:
    """Return what an optimizer's operations depend on, beside the values of its tensors.

    Of tensors that is their memory: a replay writes there.
    """
    entries: Iterable[dict] = chain(optimizer.param_groups, optimizer.state.values())
    return [_setting(value) for entry in entries for value in entry.values()]


def _setting(value: Any) -> Any:
    if isinstance(value, list):
        return [*map(_setting, value)]
    return value.data_ptr() if isinstance(value, Tensor) else value
