"""The training step that an optimizer needs."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from sktorch.data.structure import Batch
from sktorch.training.loop import TrainStep
from sktorch.training.objective import Objective
from sktorch.training.precision import Precision


def make_step(
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    precision: Precision,
    clip_norm: float | None = None,
) -> TrainStep:
    """Return the training step that suits an optimizer."""
    kind = ClosureStep if demands_closure(type(optimizer)) else TrainStep
    return kind(objective, optimizer, precision, clip_norm)


class ClosureStep(TrainStep):
    """A step of an optimizer that evaluates the loss itself, several times, as LBFGS does.

    The loss and the output are those of the first evaluation.
    """

    def __post_init__(self) -> None:
        # The optimizer reads the gradients inside its step: no scale may be left in them.
        unscaled = torch.amp.GradScaler("cpu", enabled=False)
        self.precision = replace(self.precision, scaler=unscaled)
        super().__post_init__()

    def __call__(
        self,
        batch: Batch,
        first: bool = True,
        last: bool = True,
        share: float = 1.0,
        on_gradient: Callable[[Batch], object] | None = None,
    ) -> tuple[Tensor, Any]:
        """Fit the parameters to a batch, which is a group of its own."""
        evaluations: list[tuple[Tensor, Any]] = []

        def closure() -> Tensor:
            self.zero_grad()
            loss, output = self.forward_backward(batch, on_gradient=on_gradient)
            # Optimizers convert the loss to a float, of which torch warns if it has a gradient.
            evaluations.append((loss.detach(), output))
            if self.clip_norm is not None:
                self.clip(self.clip_norm)
            return evaluations[-1][0]

        optimizer: Any = self.optimizer  # torch's annotation asks for a closure of floats
        optimizer.step(closure)
        return evaluations[0]


def demands_closure(optimizer_class: type[torch.optim.Optimizer]) -> bool:
    """Say whether the optimizer's ``step`` has to be given a closure."""
    return _has_required_closure(optimizer_class.step)


@cache
def _has_required_closure(step: Callable) -> bool:
    closure = inspect.signature(step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty
