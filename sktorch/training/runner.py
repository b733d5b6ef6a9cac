"""The door between a training and what computes it: one model alone, or many together."""

from collections.abc import Callable, Iterable
from typing import Protocol

import torch
from torch import Tensor, nn

from sktorch.data.structure import Batch, Outputs
from sktorch.training.cost import Work
from sktorch.training.randomness import RandomStream

Trained = tuple[list[float], list[int]]
# A training step of a batch, as `sktorch.training.loop.TrainStep`: to the loss and the output.
Step = Callable[..., tuple[Tensor, Outputs]]
Evaluated = tuple[list[float], list[int], Outputs]


class Trainee(Protocol):
    """What a runner needs of a net."""

    module_: nn.Module
    criterion_: nn.Module
    optimizer_: torch.optim.Optimizer
    stream_: RandomStream  # entered by the caller: the net's own random numbers
    work_: Work


class Observer(Protocol):
    """What is called around each batch."""

    def before(self, batch: Batch) -> object:
        """Look at a batch before its step."""

    def on_gradient(self, batch: Batch) -> object:
        """Look at a batch when its gradients are there, before they are clipped."""

    def after(self, batch: Batch, loss: Tensor, output: Outputs) -> object:
        """Look at a batch after its step, with the loss and the output of before."""


class Runner(Protocol):
    """Takes a net through the batches of an epoch."""

    def train(
        self,
        net: Trainee,
        batches: Iterable[Batch],
        observer: Observer | None = None,
        after_step: Callable[[], object] | None = None,
    ) -> Trained:
        """Fit the net to every batch once; return each batch's loss and number of rows."""
        ...

    def evaluate(
        self, net: Trainee, batches: Iterable[Batch], observer: Observer | None = None
    ) -> Evaluated:
        """Return each batch's loss and number of rows, and the outputs of all rows."""
        ...
