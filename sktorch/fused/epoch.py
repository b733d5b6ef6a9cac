"""A model's way through the batches of an epoch, alone or as one of many."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter

import torch
from torch import nn

from sktorch.data.structure import tree_leaves, tree_map
from sktorch.fused.stack import NotStackable, Objective, fingerprint, stackable_settings
from sktorch.losses.adapters import LossFunction
from sktorch.training.cost import Work
from sktorch.training.loop import evaluate, train_epoch
from sktorch.training.precision import Precision
from sktorch.training.randomness import RandomStream
from sktorch.training.step import make_step

_UNKNOWN = Work(multiply_adds=0, activation_bytes=0)


@dataclass(eq=False)
class EpochTask:
    """One model's way through the batches of an epoch.

    Attributes
    ----------
    module, criterion : torch.nn.Module
    way : object
        Has the ``sizes`` of the batches (numbers of rows, a list), ``block(number)``, which returns
        the number of a first batch and ``(X, y, weight)`` of this one and further ones up to the
        batch of that number at least, and an ``identity`` that ways to the same batches share
        (None: not known).
    stream : RandomStream
        The model's own random numbers.
    optimizer : torch.optim.Optimizer or None
        None evaluates, in eval mode and without gradients.
    precision : Precision
    clip_norm : float or None
    work : Work
        What a row costs in the forward pass.
    cancelled : callable
        Whether nobody waits for the result any more.
    after_step : callable or None
        Called after each step of the optimizer; it may change the optimizer's settings.
    order : tuple of int
        Among passes that meet: the same rows of a stack, and dropout masks, in every run.
    kept : dict or None
        What is found out about the module and the criterion, for their further passes. None where
        somebody may change them in between.
    losses : list of float
        Of each batch, when the pass is over: its mean loss.
    outputs : list of torch.Tensor
        Of an evaluation.
    error : BaseException or None
        What ended the pass before its time.
    settings : tuple
        Of the optimizer, where it can step a stack (`kind` asks).
    n_done : int
        Number of batches that are done.
    """

    module: torch.nn.Module
    criterion: torch.nn.Module
    way: object
    stream: RandomStream
    optimizer: torch.optim.Optimizer | None = None
    precision: Precision = field(default_factory=lambda: Precision.named("float32", "cpu"))
    clip_norm: float | None = None
    work: Work = _UNKNOWN
    cancelled: Callable = bool
    after_step: Callable | None = None
    order: tuple = ()
    kept: dict | None = None
    losses: list = field(default_factory=list)
    outputs: list = field(default_factory=list)
    error: BaseException | None = None
    settings: tuple = ()
    n_done: int = 0

    def __post_init__(self):
        self.reusable = self.kept is not None
        self.kept = self.kept if self.reusable else {}
        if "objective" not in self.kept:
            self.kept["objective"] = Objective(self.module, self.criterion)
        self.objective = self.kept["objective"]
        self.shared_batches = self.way
        set_mode(self.module, self.optimizer is not None)

    @property
    def sizes(self):
        """Number of rows of each batch that is done."""
        return self.way.sizes[: self.n_done]

    @property
    def is_over(self):
        """Whether no batch is left, or an error has ended the pass."""
        return self.n_done == len(self.way.sizes) or self.error is not None

    @property
    def n_rows(self):
        """Number of rows of the next batch; zero when none is left."""
        return 0 if self.n_done == len(self.way.sizes) else self.way.sizes[self.n_done]

    def ahead(self):
        """The next batches, those of as many rows that are fetched at once.

        Inputs, targets, and weights if there are any, all of shape (n_batches, n_rows, ...). They
        are shared with passes that go the same way: nobody may write to them.
        """
        first, block = self.shared_batches.block(self.n_done)
        n_rows, sizes = self.n_rows, self.way.sizes
        start = sum(sizes[first : self.n_done])
        n_batches = (len(block[1]) - start) // n_rows
        shape, rows = (n_batches, n_rows), slice(start, start + n_batches * n_rows)
        return [tree_map(lambda x: x[rows].unflatten(0, shape), x) for x in block if x is not None]

    def batch(self):
        """The next batch: inputs, targets, and weights if there are any."""
        return [tree_map(lambda x: x[0].clone(), part) for part in self.ahead()]

    def _batches(self):
        """The batches that are left, one by one; without weights they have None."""
        while self.n_rows:
            ahead = self.ahead()
            for number in range(len(ahead[1])):
                yield (*(tree_map(itemgetter(number), part) for part in ahead), None)[:3]
                self.n_done += 1

    def alone(self):
        """Go through the batches that are left, by the loop of a single model."""
        self.shared_batches = self.way  # The module may write to its input.
        batches, mode = self._batches(), ("draws", self.optimizer is None)
        on_cpu = self.device.type == "cpu"
        # Whoever draws random numbers holds a lock: not needed for those that draw none. Of layers
        # that are not torch's own it is known after a pass.
        draws = not (on_cpu and all(map(_never_draws, self.module.modules())))
        with self.stream if self.kept.get(mode, draws) else nullcontext():
            before = torch.get_rng_state()
            self._go(batches)
            if mode not in self.kept and draws:
                drawn = not torch.equal(before, torch.get_rng_state())
                self.kept[mode] = drawn or not on_cpu

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
        return self.shared_batches.block(self.n_done)[1][1].device

    @property
    def n_bytes(self):
        """About the memory that the model takes in a stack."""
        parameters = sum(p.nbytes for p in self.module.parameters())
        if self.optimizer is None:
            return parameters + self.work.activation_bytes * self.n_rows
        return 4 * parameters + 2 * self.work.activation_bytes * self.n_rows

    def kind(self):
        """What passes that can go together share.

        Raises
        ------
        NotStackable
            If the pass can't go with others; the message says why.
        """
        if self.precision.scaler.is_enabled():
            raise NotStackable("float16 needs a gradient scaler for each model")
        if self.optimizer is not None:
            self.settings = stackable_settings(self.optimizer)
        mode = "kind", self.optimizer is None
        if mode not in self.kept:
            settings = self.precision.autocast, self.precision.backward, self.clip_norm
            self.kept[mode] = (
                fingerprint(self.objective),
                type(self.optimizer),
                fingerprint(settings),
                self._names_in_groups(),
            )
        return *self.kept[mode], shape_of(self.ahead()), self.after_step is not None

    def _names_in_groups(self):
        if self.optimizer is None:
            return None
        names = {id(p): name for name, p in self.objective.named_parameters()}
        groups = self.optimizer.param_groups
        return tuple(tuple(names.get(id(p)) for p in group["params"]) for group in groups)


def _never_draws(layer):
    """Whether a layer is one of torch's, or of ours, that draws no random numbers."""
    own = type(layer).__module__.startswith(("torch.nn.", "sktorch.modules."))
    by_name = type(layer).__name__.startswith(("Dropout", "RReLU", "FractionalMaxPool"))
    by_name = by_name or "AlphaDropout" in type(layer).__name__
    return own and not (by_name or getattr(layer, "dropout", 0))


def set_mode(module, training):
    """Train or eval mode, as ``module.train()`` and ``module.eval()`` set it."""
    layers = [*module.modules()]
    if any(type(layer).train is not nn.Module.train for layer in layers):
        module.train() if training else module.eval()  # Some layers know better, as frozen norms.
        return
    for layer in layers:
        if layer.training is not training:  # Module.train() sets every one, which is slower.
            layer.training = training


def shape_of(batches):
    """Shapes of a batch of these and dtypes and devices of its tensors, hashable."""
    return tuple(
        tuple((tuple(x.shape[1:]), x.dtype, x.device) for x in tree_leaves(part))
        for part in batches
    )
