"""A training step recorded once as a CUDA graph, then replayed: no Python, one launch a step."""

import torch

from sktorch.data.structure import tree_leaves, tree_map

# torch asks for a few steps on a side stream before a capture: they set up what can't be recorded.
WARM_UP_STEPS = 3
# Of the optimizers that don't say whether they are capturable, those that count no steps.
CAPTURABLE = {torch.optim.SGD}


class CapturedStep:
    """A `TrainStep` whose full batches are replayed from a CUDA graph.

    The first full batches train eagerly, as the warm-up that a capture needs; then the step is
    captured, and every further full batch is copied into the graph's input and replayed. Batches
    of another shape (the short one at the end of an epoch) train eagerly. When a setting of the
    optimizer changes (a schedule's learning rate, which a graph holds as a constant), it is
    captured anew. A step that can't be captured goes on eagerly.

    Parameters
    ----------
    step : TrainStep
        Or a step of a stack of models.
    module : torch.nn.Module
    optimizer : torch.optim.Optimizer
        Of the step; the optimizer must be capturable.
    generators : sequence of torch.Generator, default=()
        Those that the step draws from, but for the device's default one.

    Attributes
    ----------
    reason : str or None
        Why steps run eagerly; None while they are, or are about to be, replayed.
    """

    def __init__(self, step, module, optimizer, generators=()):
        self.step, self.module, self.optimizer, self.reason = step, module, optimizer, None
        self._generators = generators
        self._shape = self._settings = self._graph = self._constants = None
        self._warmed_up = 0
        self._stream = torch.cuda.Stream()

    def __call__(self, batch, *place):
        """As `TrainStep`."""
        shape, settings = _shape_of(batch), self._optimizer_settings()
        self._shape = self._shape or shape
        if self.reason is not None or shape != self._shape:
            return self.step(batch, *place)
        if settings != self._settings:
            self._settings, self._graph, self._warmed_up = settings, None, 0
        if self._graph is None and self._warmed_up < WARM_UP_STEPS:
            self._warmed_up += 1
            return self._step_aside(batch)
        if self._graph is None and not self._capture(batch):
            return self.step(batch, *place)
        return self._replay(batch)

    def renew(self, step, constants):
        """Take the step of a new epoch; it is captured anew if one of its constants is another."""
        self.step = step
        if constants != self._constants:
            self._constants, self._settings = constants, None

    def is_of(self, module, optimizer):
        """Whether it trains this module with this optimizer."""
        return self.module is module and self.optimizer is optimizer

    def _step_aside(self, batch):
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            result = self.step(batch)
        torch.cuda.current_stream().wait_stream(self._stream)
        return result

    def _capture(self, batch):
        """Record the step, which does not run it; return whether that was possible."""
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
                self._results = loss, output.detach()
        except RuntimeError as error:
            self.reason = f"the step can't be captured: {str(error).splitlines()[0]}"
            torch.cuda.synchronize()
            return False
        self._graph = graph
        return True

    def _replay(self, batch):
        for place, part in zip(self._inputs, batch, strict=True):
            if part is not None:
                for tensor, new in zip(tree_leaves(place), tree_leaves(part), strict=True):
                    tensor.copy_(new)
        self._graph.replay()
        loss, output = self._results
        return loss.clone(), output

    def _optimizer_settings(self):
        return [
            [value for name, value in group.items() if name != "params" and not _is_tensor(value)]
            for group in self.optimizer.param_groups
        ]


def is_capturable(optimizer):
    """Whether a CUDA graph can hold the optimizer's step."""
    return all(
        group.get("capturable", type(optimizer) in CAPTURABLE) for group in optimizer.param_groups
    )


def _is_tensor(value):
    return isinstance(value, torch.Tensor)


def _shape_of(batch):
    return [
        None if tensor is None else (tensor.shape, tensor.dtype)
        for part in batch
        for tensor in tree_leaves(part)
    ]
