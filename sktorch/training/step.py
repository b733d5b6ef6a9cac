"""One training step: zero_grad, forward, loss, backward, step.

A *batch* is ``(X, y, weight)``, tensors on the module's device; X may be a dict of tensors, and
``weight`` is None where rows are not weighted. A *loss function* takes ``(output, y, weight)``
and returns the batch's mean loss.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache

import torch
from torch import nn

from sktorch.data.structure import call_module
from sktorch.training.optimizers import without_hooks
from sktorch.training.precision import Precision


@dataclass
class TrainStep:
    """Fits a module's parameters to one batch per call.

    Attributes
    ----------
    module : torch.nn.Module
    loss_function : callable
        ``(output, y, weight) -> loss``, a scalar tensor.
    optimizer : torch.optim.Optimizer
    precision : Precision, default: the module's own
    clip_norm : float, default=None
        What the norm of all gradients together is clipped to.
    """

    module: nn.Module
    loss_function: Callable
    optimizer: torch.optim.Optimizer
    precision: Precision = field(default_factory=lambda: Precision.named("float32", "cpu"))
    clip_norm: float | None = None

    def __post_init__(self):
        if not self.precision.scaler.is_enabled():  # A scaler needs the whole optimizer.
            self.optimizer = without_hooks(self.optimizer)

    def __call__(self, batch, first=True, last=True, share=1.0, on_gradient=None):
        """Fit the parameters to one batch.

        Parameters
        ----------
        batch : tuple
            ``(X, y, weight)``.
        first, last : bool, default=True
            Whether the batch is the first and the last of those whose gradients are added up
            before the optimizer steps.
        share : float, default=1.0
            Its share in that sum.
        on_gradient : callable, default=None
            Called with the batch when its gradients are there.

        Returns
        -------
        loss, output : torch.Tensor
            Before the step, on the device: nothing waits for them. The loss is detached.
        """
        if first:
            self.forget_gradients()
        loss, output = self.forward_backward(batch, share, on_gradient)
        if last:
            self.update()
        return loss.detach(), output

    def forget_gradients(self):
        """Make room for those of another batch."""
        self.optimizer.zero_grad()

    def forward_backward(self, batch, share=1.0, on_gradient=None):
        """Loss and output of a batch; ``share`` of the loss's gradients is added to the others."""
        X, y, weight = batch
        with self.precision.autocast():
            output = call_module(self.module, X)
            loss = self.loss_function(output, y, weight)
        with self.precision.backward():
            self.precision.scaler.scale(loss if share == 1 else loss * share).backward()
        if on_gradient is not None:
            on_gradient(batch)
        return loss, output

    def update(self):
        """Let the optimizer step, after clipping."""
        scaler = self.precision.scaler
        if self.clip_norm is not None:
            if scaler.is_enabled():
                scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.module.parameters(), self.clip_norm)
        scaler.step(self.optimizer)
        scaler.update()


class ClosureStep(TrainStep):
    """A step of an optimizer that evaluates the loss itself, several times, as LBFGS does.

    The loss and output are those of its first evaluation. The gradients are the optimizer's as
    soon as they are there, so the loss is never scaled.
    """

    def __post_init__(self):
        unscaled = torch.amp.GradScaler("cpu", enabled=False)
        self.precision = replace(self.precision, scaler=unscaled)
        super().__post_init__()

    def __call__(self, batch, first=True, last=True, share=1.0, on_gradient=None):
        """As `TrainStep`, for a batch that is first and last."""
        evaluations = []

        def closure():
            self.forget_gradients()
            evaluations.append(self.forward_backward(batch, on_gradient=on_gradient))
            if self.clip_norm is not None:
                nn.utils.clip_grad_norm_(self.module.parameters(), self.clip_norm)
            return evaluations[-1][0]

        self.optimizer.step(closure)
        loss, output = evaluations[0]
        return loss.detach(), output


@cache
def demands_closure(optimizer_class):
    """Whether the optimizer's ``step`` has to be given a closure."""
    closure = inspect.signature(optimizer_class.step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


def make_step(module, loss_function, optimizer, **options):
    """The training step that an optimizer needs; arguments are the attributes of `TrainStep`."""
    kind = ClosureStep if demands_closure(type(optimizer)) else TrainStep
    return kind(module, loss_function, optimizer, **options)
