"""The engine for one model: trains it epoch by epoch, eagerly, compiled, or replayed."""

from collections.abc import Callable, Iterable, Sized
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from sktorch._errors import errors_name
from sktorch.data.batches import Batches
from sktorch.data.structure import Batch
from sktorch.training.blocks import train_blocks
from sktorch.training.cuda_graph import CapturedStep, is_capturable
from sktorch.training.loop import TrainStep, evaluate, set_mode, train_epoch
from sktorch.training.objective import Objective
from sktorch.training.precision import Precision
from sktorch.training.recordable_step import RecordableStep
from sktorch.training.replayed_step import MIN_STEPS_LEFT, TOO_FEW_STEPS, ReplayedStep
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
    """The runner of one model; what is compiled or recorded serves its later epochs.

    It is asked for `n_epochs` epochs at most, from which it decides whether to record a step.
    """

    def __init__(self, device: torch.device, settings: StepSettings, n_epochs: int = 1) -> None:
        self.device, self.settings = device, settings
        self.max_epochs = max(n_epochs, 1)
        self._n_epochs = n_epochs  # left
        self.precision = Precision.named(settings.precision, device.type)
        self._compiled: tuple[nn.Module, Any] | None = None
        self._objective: Objective | None = None
        self._replayed: CapturedStep | ReplayedStep | None = None
        self._reason: str | None = "no step was made"

    @property
    def eager_reason(self) -> str | None:
        """The reason why steps are not replayed; None where they are."""
        return self._reason if self._replayed is None else self._replayed.reason

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
        """Fit a net to every batch once, in train mode."""
        # Once an epoch: a module's own train() may count.
        set_mode(net.module_, training=True)
        return self.train_in_mode(net, batches, observer, after_step)

    def evaluate(
        self, net: Trainee, batches: Iterable[Batch], observer: Observer | None = None
    ) -> Evaluated:
        """Evaluate a net on every batch, in eval mode."""
        set_mode(net.module_, training=False)
        return self.evaluate_in_mode(net, batches, observer)

    def train_in_mode(
        self,
        net: Trainee,
        batches: Iterable[Batch],
        observer: Observer | None = None,
        after_step: Callable[[], object] | None = None,
    ) -> Trained:
        """Fit a net to every batch once; its module is in train mode."""
        n_epochs = batches.n_epochs if isinstance(batches, Batches) else 1
        step = self.step(
            net,
            n_epochs=n_epochs,
            n_batches=_length(batches) // n_epochs,
            observed=observer is not None,
            scheduled=after_step is not None,
        )
        alone = after_step is None and self.settings.gradient_accumulation == 1
        if alone and isinstance(step, ReplayedStep) and type(batches) is Batches:
            return train_blocks(step, batches.blocks())
        return train_epoch(
            net.module_,
            step,
            batches,
            accumulate=self.settings.gradient_accumulation,
            observer=observer,
            after_step=after_step,
        )

    def evaluate_in_mode(
        self, net: Trainee, batches: Iterable[Batch], observer: Observer | None = None
    ) -> Evaluated:
        """Evaluate a net on every batch; its module is in eval mode."""
        return evaluate(self.objective(net), batches, observer=observer)

    def objective(self, net: Trainee) -> Objective:
        """Return the loss of the net's module and criterion; the same object while these are."""
        known, module, criterion = self._objective, net.module_, net.criterion_
        if known is None or known.module is not module or known.criterion is not criterion:
            known = self._objective = self._make_objective(module, criterion)
        return known

    def _make_objective(self, module: Any, criterion: nn.Module) -> Objective:
        return Objective(module, criterion, self.precision.autocast)

    def step(
        self,
        net: Trainee,
        *,
        n_epochs: int = 1,
        n_batches: int = 1,
        observed: bool = False,
        scheduled: bool = False,
    ) -> Step:
        """Return the training step of some epochs, replayed where it can be and that pays."""
        optimizer, settings = net.optimizer_, self.settings
        n_epochs, self._n_epochs = self._n_epochs, max(self._n_epochs - n_epochs, 1)
        if settings.gradient_accumulation > 1 and demands_closure(type(optimizer)):
            raise ValueError(
                f"gradient_accumulation={settings.gradient_accumulation} can't be used with "
                f"{type(optimizer).__name__}, which evaluates the loss itself. Set "
                "gradient_accumulation=1, and a larger batch_size instead."
            )
        objective = self.objective(net)
        if settings.is_compiled:
            objective = self._make_objective(self._compile(net.module_), net.criterion_)
        step = make_step(objective, optimizer, self.precision, settings.gradient_clip)
        self._reason = self._why_eager(optimizer, observed, scheduled)
        if self._reason is not None:
            self._replayed = None
            return step
        if self.device.type == "cuda":
            return self._captured(step, net)
        if self._replayed is None and n_epochs * n_batches < MIN_STEPS_LEFT:
            self._reason = TOO_FEW_STEPS
            return step
        replayed = self._recorded(step, net)
        replayed.step.renew(step, scheduled=scheduled)
        replayed.renew(n_epochs, n_batches)
        return replayed

    def _recorded(self, step: TrainStep, net: Trainee) -> ReplayedStep:
        """Return a step as one that may be recorded; the same one while nobody changes the net."""
        known = self._replayed
        if isinstance(known, ReplayedStep) and known.belongs_to(step, net.optimizer_):
            return known
        self._replayed = ReplayedStep(RecordableStep(step, net.optimizer_))
        return self._replayed

    def _captured(self, step: TrainStep, net: Trainee) -> Step:
        """Return a step as one that is captured in a CUDA graph."""
        captured = self._replayed
        if not isinstance(captured, CapturedStep) or not captured.belongs_to(
            net.module_, net.optimizer_
        ):
            captured = self._replayed = CapturedStep(step, net.module_, net.optimizer_)
        captured.renew(step, _constants(step.objective))
        return captured

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
        on_cuda = self.device.type == "cuda"
        reasons = {
            f"the device is {self.device.type}, neither cpu nor cuda": (
                self.device.type not in ("cpu", "cuda")
            ),
            "callbacks look at each batch": observed,
            "the optimizer needs a closure": demands_closure(type(optimizer)),
            "the optimizer is not capturable": on_cuda and not is_capturable(optimizer),
            "gradients are accumulated": on_cuda and self.settings.gradient_accumulation > 1,
            "the learning rate changes after each batch": on_cuda and scheduled,
            "float16 needs a gradient scaler, which waits for the device": (
                self.precision.scaler.is_enabled()
            ),
            "the module is compiled": not on_cuda and self.settings.is_compiled,
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


def _length(batches: Iterable) -> int:
    """Return the number of batches, a guess where it is not known."""
    return len(batches) if isinstance(batches, Sized) else 10
