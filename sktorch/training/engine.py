"""The engine for one model: trains it epoch by epoch, eagerly, compiled or from a CUDA graph."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from sktorch._errors import errors_name
from sktorch.data.structure import Batch
from sktorch.training.cuda_graph import CapturedStep, is_capturable
from sktorch.training.loop import evaluate, train_epoch
from sktorch.training.objective import Objective
from sktorch.training.precision import Precision
from sktorch.training.runner import Evaluated, Observer, Step, Trained, Trainee
from sktorch.training.step import demands_closure, make_step


@dataclass(frozen=True)
class StepSettings:
    """How a training step is computed; the names are those of the estimators' parameters."""

    precision: str = "float32"
    compile: bool | dict = False
    gradient_clip: float | None = None
    gradient_accumulation: int = 1

    @property
    def is_compiled(self) -> bool:
        """Whether the module is compiled; a dict, even an empty one, holds options."""
        return isinstance(self.compile, dict) or bool(self.compile)


class Engine:
    """The runner of one model; what is compiled or captured serves its later epochs."""

    def __init__(self, device: torch.device, settings: StepSettings) -> None:
        self.device, self.settings = device, settings
        self.precision = Precision.named(settings.precision, device.type)
        self._compiled: tuple[nn.Module, Any] | None = None
        self._captured: CapturedStep | None = None
        self._reason: str | None = "no step was made"

    @property
    def eager_reason(self) -> str | None:
        """The reason why steps are not replayed from a CUDA graph; None where they are."""
        return self._reason if self._captured is None else self._captured.reason

    @property
    def n_threads(self) -> None:
        """None: a model alone has the threads that are set."""

    def train(
        self,
        net: Trainee,
        batches: Iterable[Batch],
        observer: Observer | None = None,
        after_step: Callable[[], object] | None = None,
    ) -> Trained:
        """Fit a net to every batch once."""
        return train_epoch(
            net.module_,
            self.step(net, observed=observer is not None, scheduled=after_step is not None),
            batches,
            accumulate=self.settings.gradient_accumulation,
            observer=observer,
            after_step=after_step,
        )

    def evaluate(
        self, net: Trainee, batches: Iterable[Batch], observer: Observer | None = None
    ) -> Evaluated:
        """Evaluate a net on every batch."""
        objective = Objective(net.module_, net.criterion_, self.precision.autocast)
        return evaluate(objective, batches, observer=observer)

    def step(self, net: Trainee, *, observed: bool = False, scheduled: bool = False) -> Step:
        """Return the training step of an epoch, captured in a CUDA graph where it can be."""
        optimizer, settings = net.optimizer_, self.settings
        if settings.gradient_accumulation > 1 and demands_closure(type(optimizer)):
            raise ValueError(
                f"gradient_accumulation={settings.gradient_accumulation} can't be used with "
                f"{type(optimizer).__name__}, which evaluates the loss itself. Set "
                "gradient_accumulation=1, and a larger batch_size instead."
            )
        module = self._compile(net.module_) if settings.is_compiled else net.module_
        objective = Objective(module, net.criterion_, self.precision.autocast)
        step = make_step(objective, optimizer, self.precision, settings.gradient_clip)
        self._reason = self._why_eager(optimizer, observed, scheduled)
        if self._reason is not None:
            self._captured = None
            return step
        if self._captured is None or not self._captured.belongs_to(net.module_, optimizer):
            self._captured = CapturedStep(step, net.module_, optimizer)
        self._captured.renew(step, _constants(objective))
        return self._captured

    def _compile(self, module: nn.Module) -> Any:
        """Return the module compiled, once for all epochs; it shares its parameters."""
        known = self._compiled
        if known is None or known[0] is not module:
            options = self.settings.compile if isinstance(self.settings.compile, dict) else {}
            with errors_name("compile"):
                known = self._compiled = module, torch.compile(module, **options)
        return known[1]

    def _why_eager(
        self, optimizer: torch.optim.Optimizer, observed: bool, scheduled: bool
    ) -> str | None:
        reasons = {
            f"the device is {self.device.type}, not cuda": self.device.type != "cuda",
            "callbacks look at each batch": observed,
            "the optimizer needs a closure": demands_closure(type(optimizer)),
            "the optimizer is not capturable": not is_capturable(optimizer),
            "gradients are accumulated": self.settings.gradient_accumulation > 1,
            "the learning rate changes after each batch": scheduled,
            "float16 needs a gradient scaler, which waits for the device": (
                self.precision.scaler.is_enabled()
            ),
        }
        return next((reason for reason, holds in reasons.items() if holds), None)


def _constants(objective: Objective) -> list[bool | int | float]:
    """Return what a graph holds as constants: layers' numbers, and which parameters are trained."""
    return [
        *(
            value
            for layer in objective.modules()
            for value in vars(layer).values()
            if isinstance(value, bool | int | float)
        ),
        *(parameter.requires_grad for parameter in objective.module.parameters()),
    ]
