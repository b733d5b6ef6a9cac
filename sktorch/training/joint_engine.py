"""The engine of a model that several processes train: each computes its share of every batch.

All processes know every batch, or at least its targets. Each calls the module on its own rows,
gathers the outputs of the others, and computes the loss of the whole batch: so any loss is that of
one process, whatever it makes of weights, of classes, or of several rows at once. Gradients flow
back to the own rows, and those of the processes together are the gradient of the batch.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sktorch.data.structure import Batch, Inputs, Outputs, call_module, n_rows_of, tree_map
from sktorch.training.engine import Engine
from sktorch.training.joint_batch_norm import joint_batch_norms
from sktorch.training.objective import Objective
from sktorch.training.processes import OneProcess, SeveralProcesses
from sktorch.training.randomness import RandomStream, never_draws
from sktorch.training.runner import Evaluated, Observer, Step, Trained, Trainee
from sktorch.training.shared_batches import SharedBatches, can_be_shared


def make_engine(processes: OneProcess, *args: Any) -> Engine:
    """Return the engine of a model, which one process trains or several."""
    if isinstance(processes, SeveralProcesses):
        return JointEngine(processes, *args)
    return Engine(*args)


class JointEngine(Engine):
    """The runner of one model that several processes train."""

    def __init__(self, processes: SeveralProcesses, *args: Any) -> None:
        super().__init__(*args)
        self._processes = processes
        self._known: dict[int, SharedBatches] = {}  # by the batches that a job keeps

    def train(
        self,
        net: Trainee,
        batches: Iterable[Batch],
        observer: Observer | None = None,
        after_step: Callable[[], object] | None = None,
    ) -> Trained:
        """Fit a net to every batch once, in train mode."""
        # Equal on every rank are the numbers that the order of rows is drawn with, but not others.
        seed = (net.stream_.next_seed() + self._processes.rank) % 2**32
        self._own_stream = RandomStream(seed, self.device)
        trained = super().train(net, self._shared(net, batches), observer, after_step)
        # Layers of the user's own may keep what they see of a rank's rows.
        self._processes.copy_first(net.module_.buffers())
        return trained

    def evaluate(
        self, net: Trainee, batches: Iterable[Batch], observer: Observer | None = None
    ) -> Evaluated:
        """Evaluate a net on every batch, in eval mode."""
        return super().evaluate(net, self._shared(net, batches), observer)

    def _shared(self, net: Trainee, batches: Iterable[Batch]) -> Iterable[Batch]:
        """Return batches of an epoch, of which this process loads its share if that is possible."""
        if not can_be_shared(batches):
            return batches
        if id(batches) not in self._known:
            self._known[id(batches)] = SharedBatches(batches, self._processes)
        return self._known[id(batches)].drawing(net.stream_, self._own_stream)

    def step(self, net: Trainee, **settings: Any) -> Step:
        """Return the training step of an epoch, of the share of this process."""
        step, objective = super().step(net, **settings), self.objective(net)
        run: Callable = _call
        if not all(map(never_draws, objective.modules())):
            run = self._own_stream.run_in_torch
        return JointStep(step, self._processes, [*objective.parameters()], run)

    def _make_objective(self, module: Any, criterion: nn.Module) -> Objective:
        return JointObjective(self._processes, module, criterion, self.precision.autocast)

    def _why_eager(self, *_: Any) -> str:
        return "several processes train the model together"


class JointObjective(Objective):
    """The forward pass of a batch of which this process computes its share of the outputs."""

    def __init__(self, processes: SeveralProcesses, *args: Any) -> None:
        super().__init__(*args)
        self._processes = processes

    def forward(self, X: Inputs, y: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Outputs]:
        """Return the mean loss of a batch and the module's output, of all its rows."""
        processes, module, n_rows = self._processes, self.module, len(y)
        n_own = processes.n_own(n_rows)

        def joint(own: Tensor) -> Tensor:
            return _joint(own[:n_own], processes, n_rows)

        own = X
        if n_rows_of(X) == n_rows:  # else these are the rows that this process has loaded
            # A module may not take a batch of no rows: it gets one, whose output is left out.
            rows = processes.share(n_rows) if n_own else slice(1)
            own = tree_map(lambda x: x[rows], X)
        elif "X" in self.loss_function.arguments.context:
            X = tree_map(joint, X)
        norms = joint_batch_norms(module, processes, has_rows=n_own > 0)
        with self.autocast(), norms:
            output = tree_map(joint, call_module(module, own))
            return self.loss_function(output, y, weight, X=X, module=module), output


@dataclass
class JointStep:
    """A training step whose gradients are those of all processes."""

    step: Step
    processes: SeveralProcesses
    parameters: list[nn.Parameter]
    run: Callable  # calls the step, with this rank's random numbers

    def __call__(
        self,
        batch: Batch,
        first: bool = True,
        last: bool = True,
        share: float = 1.0,
        on_gradient: Callable[[Batch], object] | None = None,
    ) -> tuple[Tensor, Outputs]:
        """Step as `sktorch.training.loop.TrainStep` does."""
        when_there = partial(self._average, last, on_gradient)
        return self.run(self.step, batch, first, last, share, when_there)

    def _average(self, last: bool, on_gradient: Callable | None, batch: Batch) -> None:
        if last:  # Those of earlier batches are in the sum.
            self.processes.average_gradients(self.parameters)
        if on_gradient is not None:
            on_gradient(batch)


def _joint(own: Tensor, processes: SeveralProcesses, n_rows: int) -> Tensor:
    """Return the outputs of all rows, of which the gradient flows back to those of this process.

    Every process computes the loss, and the mean of their gradients is taken. So a term of the
    parameters alone counts once, and an output, which one process computes, has to count for all.
    """
    share, joint = processes.share(n_rows), processes.gathered(own.detach(), n_rows)
    if not own.requires_grad:
        return joint
    own.register_hook(lambda gradient: gradient * processes.size)
    return torch.cat([joint[: share.start], own, joint[share.stop :]])


def _call(function: Callable, *args: Any) -> Any:
    return function(*args)
