"""The door between a training and what computes it: one model alone, or many together."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sktorch.data.batches import Batches
from sktorch.data.structure import Batch, Outputs
from sktorch.training.cost import Work
from sktorch.training.randomness import RandomStream

Trained = tuple[list[float], list[int]]
# A training step of a batch, as `sktorch.training.loop.TrainStep`: to the loss and the output.
Step = Callable[..., tuple[Tensor, Outputs]]
Evaluated = tuple[list[float], list[int], Outputs]


class Trainee(Protocol):
    """A net, as far as a runner needs it."""

    module_: nn.Module
    criterion_: nn.Module
    optimizer_: torch.optim.Optimizer
    stream_: RandomStream  # the net's own random numbers
    work_: Work


class Observer(Protocol):
    """An object whose methods are called around each batch."""

    def before(self, batch: Batch) -> object:
        """Look at a batch before its step."""

    def on_gradient(self, batch: Batch) -> object:
        """Look at a batch when its gradients are there, before they are clipped."""

    def after(self, batch: Batch, loss: Tensor, output: Outputs) -> object:
        """Look at a batch after its step, with the loss and the output that it began with."""


class Runner(Protocol):
    """Takes a net through the batches of an epoch."""

    @property
    def eager_reason(self) -> str | None:
        """The reason why steps are not replayed from a CUDA graph; None where they are."""

    @property
    def n_threads(self) -> int | None:
        """The number of CPU threads for large steps; None leaves it as it is set."""

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


class RunnerAround:
    """A runner that lets another one compute."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    @property
    def eager_reason(self) -> str | None:
        """The reason why steps are not replayed; None where they are."""
        return self._runner.eager_reason

    @property
    def n_threads(self) -> int | None:
        """The number of CPU threads for large steps; None leaves it as it is set."""
        return self._runner.n_threads


class SeededRunner(RunnerAround):
    """A runner that lets another draw from the net's stream.

    In numpy and Python, too, where ``user_code`` runs: in the net, in batches or in an observer. To
    swap their generators takes as long as a step.
    """

    def __init__(self, runner: Runner, *, user_code: bool = True) -> None:
        super().__init__(runner)
        self._user_code = user_code

    def train(
        self,
        net: Trainee,
        batches: Iterable[Batch],
        observer: Observer | None = None,
        after_step: Callable[[], object] | None = None,
    ) -> Trained:
        """Fit the net to every batch once."""
        run = self._drawing(net, batches, observer)
        return run(self._runner.train, net, batches, observer, after_step)

    def evaluate(
        self, net: Trainee, batches: Iterable[Batch], observer: Observer | None = None
    ) -> Evaluated:
        """Evaluate the net on every batch."""
        run = self._drawing(net, batches, observer)
        return run(self._runner.evaluate, net, batches, observer)

    def _drawing(self, net: Trainee, batches: Iterable[Batch], observer: Any) -> Callable:
        stream = net.stream_
        by_user = self._user_code or type(batches) is not Batches or observer is not None
        return stream.run if by_user else stream.run_in_torch
