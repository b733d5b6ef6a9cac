"""A model's way through the batches of an epoch, alone or as one of many."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import chain, islice

import torch
from torch import nn

from sktorch.data.structure import each, leaves
from sktorch.training.loop import evaluate, train_epoch
from sktorch.training.losses import LossFunction
from sktorch.training.precision import Precision
from sktorch.training.randomness import RandomStream
from sktorch.training.stacking import Objective, Unlike, fingerprint, stackable_settings
from sktorch.training.step import make_step


@dataclass(eq=False)
class Pass:
    """One model's way through the batches of an epoch.

    Attributes
    ----------
    module, criterion : torch.nn.Module
    blocks : iterator of tuple
        ``(X, y, weight)`` each, of one or several batches.
    stream : RandomStream
        The model's own random numbers.
    optimizer : torch.optim.Optimizer or None
        None evaluates, in eval mode and without gradients.
    precision : Precision
    clip_norm : float or None
    row_bytes : float
        About the memory that a row takes in the forward pass.
    batch_size : int or None
        Number of rows of a batch: blocks hold whole batches, the last one a shorter one, too.
        None where every block is a batch.
    cancelled : callable
        Whether nobody waits for the result any more.
    after_step : callable or None
        Called after each step of the optimizer; it may change the optimizer's settings.
    order : tuple of int
        Among passes that meet: the same rows of a stack, and dropout masks, in every run.
    losses, sizes : list
        Of each batch: its mean loss and its number of rows, when the pass is over.
    outputs : list of torch.Tensor
        Of an evaluation.
    error : BaseException or None
        What ended the pass before its time.
    settings : tuple
        Of the optimizer, where it can step a stack (`kind` asks).
    """

    module: torch.nn.Module
    criterion: torch.nn.Module
    blocks: Iterator
    stream: RandomStream
    optimizer: torch.optim.Optimizer | None = None
    precision: Precision = field(default_factory=lambda: Precision.named("float32", "cpu"))
    clip_norm: float | None = None
    row_bytes: float = 0.0
    batch_size: int | None = None
    cancelled: Callable = bool
    after_step: Callable | None = None
    order: tuple = ()
    losses: list = field(default_factory=list)
    sizes: list = field(default_factory=list)
    outputs: list = field(default_factory=list)
    error: BaseException | None = None
    settings: tuple = ()

    def __post_init__(self):
        self.objective = Objective(self.module, self.criterion)
        set_mode(self.module, self.optimizer is not None)
        self._place, self._block = 0, next(self.blocks, None)

    @property
    def is_over(self):
        """Whether no batch is left, or an error has ended the pass."""
        return self._block is None or self.error is not None

    @property
    def n_rows(self):
        """Number of rows of the next batch; zero when none is left."""
        if self._block is None:
            return 0
        n_left = len(self._block[1]) - self._place
        return min(self.batch_size or n_left, n_left)

    @property
    def n_ahead(self):
        """Number of batches of as many rows as the next that are at hand."""
        return (len(self._block[1]) - self._place) // self.n_rows

    def ahead(self, n_batches):
        """The next batches: inputs, targets, and weights if there are any.

        All of shape (n_batches, n_rows, ...).
        """
        n_rows, start = self.n_rows, self._place
        shape, rows = (n_batches, n_rows), slice(start, start + n_batches * n_rows)
        parts = [part for part in self._block if part is not None]
        return [each(lambda x: x[rows].unflatten(0, shape), part) for part in parts]

    def advance(self, n_batches):
        """Go past batches that are at hand."""
        n_rows = self.n_rows
        self.sizes += [n_rows] * n_batches
        self._place += n_batches * n_rows
        if self._place == len(self._block[1]):
            self._place, self._block = 0, next(self.blocks, None)

    @property
    def batch(self):
        """The next batch: inputs, targets, and weights if there are any."""
        return [each(lambda x: x[0], part) for part in self.ahead(1)]

    def _batches(self):
        """The batches that are left, one by one; without weights they have None."""
        while self.n_rows:
            yield (*self.batch, None)[:3]
            self.advance(1)

    def alone(self):
        """Go through the batches that are left, by the loop of a single model."""
        batches = self._batches()
        # Whoever draws random numbers holds a lock: not needed for those that draw none.
        with self.stream:
            before = torch.get_rng_state()
            self._go(islice(batches, 1))
            draws = self.device.type != "cpu" or not torch.equal(before, torch.get_rng_state())
        with self.stream if draws else nullcontext():
            self._go(batches)

    def _go(self, batches):
        first = next(batches, None)
        if first is None:
            return
        batches = chain([first], batches)
        loss_function = LossFunction(self.criterion)
        if self.optimizer is None:
            losses, _, outputs = evaluate(
                self.module, loss_function, batches, autocast=self.precision.autocast
            )
            self.outputs.append(outputs)
        else:
            options = {"precision": self.precision, "clip_norm": self.clip_norm}
            step = make_step(self.module, loss_function, self.optimizer, **options)
            losses, _ = train_epoch(self.module, step, batches, after_step=self.after_step)
        self.losses += losses

    @property
    def device(self):
        """The device that the batches are on."""
        return self._block[1].device

    @property
    def n_bytes(self):
        """About the memory that the model takes in a stack."""
        parameters = sum(p.nbytes for p in self.module.parameters())
        if self.optimizer is None:
            return parameters + self.row_bytes * self.n_rows
        return 4 * parameters + 2 * self.row_bytes * self.n_rows

    def kind(self):
        """What passes that can go together share.

        Raises
        ------
        Unlike
            If the pass can't go with others; the message says why.
        """
        if self.precision.scaler.is_enabled():
            raise Unlike("float16 needs a gradient scaler for each model")
        if self.optimizer is not None:
            self.settings = stackable_settings(self.optimizer)
        settings = self.precision.autocast, self.precision.backward, self.clip_norm
        return (
            fingerprint(self.objective),
            type(self.optimizer),
            fingerprint(settings),
            shape_of(self.batch),
            self.after_step is not None,
            self._names_in_groups(),
        )

    def _names_in_groups(self):
        if self.optimizer is None:
            return None
        names = {id(p): name for name, p in self.objective.named_parameters()}
        groups = self.optimizer.param_groups
        return tuple(tuple(names.get(id(p)) for p in group["params"]) for group in groups)


def set_mode(module, training):
    """Train or eval mode, as ``module.train()`` and ``module.eval()`` set it."""
    layers = [*module.modules()]
    if any(type(layer).train is not nn.Module.train for layer in layers):
        module.train() if training else module.eval()  # Some layers know better, as frozen norms.
        return
    for layer in layers:
        if layer.training is not training:  # Module.train() sets every one, which is slower.
            layer.training = training


def shape_of(batch):
    """Shapes, dtypes and devices of a batch's tensors, hashable."""
    return tuple(tuple((tuple(x.shape), x.dtype, x.device) for x in leaves(part)) for part in batch)
