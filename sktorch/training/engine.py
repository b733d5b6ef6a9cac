"""How steps are computed: precision, compilation, capture in a CUDA graph."""

import torch

from sktorch.training.cuda_graph import CapturedStep, is_capturable
from sktorch.training.precision import Precision
from sktorch.training.step import demands_closure, make_step


class Engine:
    """Makes the training step of an epoch; what is compiled or captured is kept for the next.

    Parameters
    ----------
    device : torch.device
    precision : str
        A name of `sktorch.training.precision.PRECISIONS`.
    compile : bool or dict
        Whether to compile the module; a dict holds arguments of ``torch.compile``.
    clip_norm : float or None
        What the norm of the gradients is clipped to.
    accumulate : int
        Number of batches whose gradients are averaged for a step of the optimizer.

    Attributes
    ----------
    eager_reason : str or None
        Why steps are not replayed from a CUDA graph; None where they are.
    kept : dict or None
        What passes with other models find out about this one, for its further passes. None, as it
        begins, where somebody may change the model in between.
    scheduled_by_batch : bool
        Whether a schedule changes the learning rate after each batch; a graph holds it.
    """

    def __init__(self, device, precision, compile, clip_norm, accumulate):
        self.device, self.accumulate = device, accumulate
        self.precision = Precision.named(precision, device.type)
        self._compile, self.clip_norm = compile, clip_norm
        self._compiled = self._captured = None
        self._reason = "no step was made"
        self.kept, self.scheduled_by_batch = None, False

    @property
    def eager_reason(self):
        """Why steps are not replayed from a CUDA graph."""
        return self._reason if self._captured is None else self._captured.reason

    @property
    def is_plain(self):
        """Whether an epoch is one step of the uncompiled module a batch."""
        return self.accumulate == 1 and not (self._compile or isinstance(self._compile, dict))

    def step(self, module, loss_function, optimizer, *, observed):
        """The training step for one epoch.

        Parameters
        ----------
        module : torch.nn.Module
        loss_function : callable
        optimizer : torch.optim.Optimizer
        observed : bool
            Whether callbacks look at each batch, which a replayed graph would not let them.

        Returns
        -------
        step : TrainStep or CapturedStep
        """
        if self.accumulate > 1 and demands_closure(type(optimizer)):
            raise ValueError(
                f"gradient_accumulation={self.accumulate} can't be used with "
                f"{type(optimizer).__name__}, which evaluates the loss itself. Set "
                "gradient_accumulation=1, and a larger batch_size instead."
            )
        step = make_step(
            self._callable(module),
            loss_function,
            optimizer,
            precision=self.precision,
            clip_norm=self.clip_norm,
        )
        self._reason = self._why_eager(optimizer, observed)
        if self._reason is not None:
            self._captured = None
            return step
        if self._captured is None or not self._captured.is_of(module, optimizer):
            self._captured = CapturedStep(step, module, optimizer)
        self._captured.renew(step, _constants(module, loss_function))
        return self._captured

    def _callable(self, module):
        """The module, compiled if asked for; a compiled one shares its parameters."""
        has_options = isinstance(self._compile, dict)
        if not (has_options or self._compile):
            return module
        if self._compiled is None or self._compiled[0] is not module:
            options = self._compile if has_options else {}
            self._compiled = module, torch.compile(module, **options)
        return self._compiled[1]

    def _why_eager(self, optimizer, observed):
        reasons = {
            f"the device is {self.device.type}, not cuda": self.device.type != "cuda",
            "callbacks look at each batch": observed,
            "the optimizer needs a closure": demands_closure(type(optimizer)),
            "the optimizer is not capturable": not is_capturable(optimizer),
            "gradients are accumulated": self.accumulate > 1,
            "the learning rate changes after each batch": self.scheduled_by_batch,
            "float16 needs a gradient scaler, which waits for the device": (
                self.precision.scaler.is_enabled()
            ),
        }
        return next((reason for reason, holds in reasons.items() if holds), None)


def _constants(module, loss_function):
    """What a graph holds as constants: numbers of the layers, and which parameters are trained."""
    criterion = getattr(loss_function, "criterion", None)
    layers = [*module.modules()]
    layers += criterion.modules() if isinstance(criterion, torch.nn.Module) else []
    return [
        *(v for layer in layers for v in vars(layer).values() if isinstance(v, bool | int | float)),
        *(parameter.requires_grad for parameter in module.parameters()),
    ]
