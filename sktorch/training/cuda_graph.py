"""A training step recorded once as a CUDA graph, then replayed: no Python, one launch a step."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from sktorch.data.structure import Outputs, tree_leaves, tree_map

# torch asks for a few steps on a side stream before a capture: they set up what can't be recorded.
WARM_UP_STEPS = 3
# Of the optimizers that do not say whether they are capturable, those that count no steps.
CAPTURABLE = {torch.optim.SGD}


class Capturable(Protocol):
    """A training step, of a model or of a stack."""

    def __call__(self, batch: Any, *place: Any) -> tuple[Tensor, Outputs]:
        """Step; return the loss and the output."""
        ...

    def zero_grad(self) -> None:
        """Forget the gradients of earlier batches."""


class CapturedStep:
    """A step whose full batches are replayed from a CUDA graph.

    The first full batches train eagerly, as the warm-up that a capture needs; then the step is
    captured, and every further full batch is copied into the graph's input and replayed. Batches
    of another shape (the short one at the end of an epoch) train eagerly. When a setting of the
    optimizer changes (a schedule's learning rate, which a graph holds as a constant), it is
    captured anew. A step that can't be captured goes on eagerly, for the `reason` that is kept.

    The optimizer must be capturable. The generators are those that the step draws from, beside the
    device's default one.
    """

    def __init__(
        self,
        step: Capturable,
        module: object,
        optimizer: Optimizer,
        generators: Sequence[torch.Generator] = (),
    ) -> None:
        self.step, self.module, self.optimizer = step, module, optimizer
        self.reason: str | None = None
        self._generators = generators
        self._shape: list | None = None
        self._settings: list | None = None
        self._constants: list | None = None
        self._graph: torch.cuda.CUDAGraph | None = None
        self._n_warm_up_steps = 0
        self._stream = torch.cuda.Stream()

    def __call__(self, batch: Any, *place: Any) -> tuple[Tensor, Outputs]:
        """Step as `sktorch.training.loop.TrainStep` does."""
        shape, settings = _shape_of(batch), self._optimizer_settings()
        self._shape = self._shape or shape
        if self.reason is not None or shape != self._shape:
            return self.step(batch, *place)
        if settings != self._settings:
            self._settings, self._graph, self._n_warm_up_steps = settings, None, 0
        if self._graph is None and self._n_warm_up_steps < WARM_UP_STEPS:
            self._n_warm_up_steps += 1
            return self._step_aside(batch)
        graph = self._graph or self._capture(batch)
        return self.step(batch, *place) if graph is None else self._replay(graph, batch)

    def zero_grad(self) -> None:
        """Forget the gradients of earlier batches."""
        self.step.zero_grad()

    def renew(self, step: Capturable, constants: list) -> None:
        """Take the step of a new epoch; it is captured anew if one of its constants is another."""
        self.step = step
        if constants != self._constants:
            self._constants, self._settings = constants, None

    def belongs_to(self, module: object, optimizer: Optimizer) -> bool:
        """Say whether it trains this module with this optimizer."""
        return self.module is module and self.optimizer is optimizer

    def _step_aside(self, batch: Any) -> tuple[Tensor, Outputs]:
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            result = self.step(batch)
        torch.cuda.current_stream().wait_stream(self._stream)
        return result

    def _capture(self, batch: Any) -> torch.cuda.CUDAGraph | None:
        """Record the step, which does not run it; return None, with a reason, if it can't be."""
        self._inputs = [None if part is None else tree_map(torch.clone, part) for part in batch]
        self.step.zero_grad()
        graph = torch.cuda.CUDAGraph()
        for generator in self._generators:
            graph.register_generator_state(generator)
        try:
            # torch.cuda.graph leaves its own stream current where a capture fails.
            current = torch.cuda.stream(torch.cuda.current_stream())
            with current, torch.cuda.graph(graph, capture_error_mode="thread_local"):
                loss, output = self.step(self._inputs)
                self._results = loss, tree_map(Tensor.detach, output)
        except RuntimeError as error:
            self.reason = f"the step can't be captured: {str(error).splitlines()[0]}"
            torch.cuda.synchronize()
            return None
        self._graph = graph
        return graph

    def _replay(self, graph: torch.cuda.CUDAGraph, batch: Any) -> tuple[Tensor, Outputs]:
        for place, part in zip(self._inputs, batch, strict=True):
            if part is not None:
                for tensor, new in zip(tree_leaves(place), tree_leaves(part), strict=True):
                    tensor.copy_(new)
        graph.replay()
        loss, output = self._results
        return loss.clone(), output

    def _optimizer_settings(self) -> list:
        return [
            [
                value
                for name, value in group.items()
                if name != "params" and not isinstance(value, Tensor)
            ]
            for group in self.optimizer.param_groups
        ]


def is_capturable(optimizer: Optimizer) -> bool:
    """Say whether a CUDA graph can hold the optimizer's step."""
    return all(
        group.get("capturable", type(optimizer) in CAPTURABLE) for group in optimizer.param_groups
    )


def _shape_of(batch: Any) -> list:
    return [
        None if tensor is None else (tensor.shape, tensor.dtype)
        for part in batch
        for tensor in tree_leaves(part)
    ]
