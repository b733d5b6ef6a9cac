"""One model's epoch: the batches that are left, alone or as one of many."""

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from sktorch.data.structure import Batch, Outputs, tree_leaves, tree_map
from sktorch.fused.model import Model
from sktorch.fused.padding import Shapes
from sktorch.fused.short_batches import filled_size, filled_up, filling, filling_weight
from sktorch.fused.stack import stackable_settings
from sktorch.training.fingerprint import NotStackable


class BlockedBatches(Protocol):
    """The batches of an epoch or several, as `sktorch.data.batches.EpochBatches` has them."""

    n_epochs: int
    sizes: list[int]
    is_whole: bool  # Every example has all rows.
    is_weighted: bool

    def example(self, number: int) -> Batch:
        """Return tensors whose rows have the layout of a batch's."""
        ...

    def block(self, number: int) -> tuple[int, Batch]:
        """Return the batches fetched together with a batch, and the number of the first."""
        ...

    def rows_of_block(self, number: int) -> tuple[int, Tensor]:
        """Return the number of a block's first batch, and the numbers of its rows."""
        ...


class StackKey(NamedTuple):
    """What tasks of one stack have in common: their models, and the shape of their next batch."""

    model: tuple  # whether it trains, its structure, the engine's settings and device, a schedule
    batch_shape: tuple[Hashable, ...]  # number of rows, then the layout of a row
    is_scheduled: bool
    shapes: Shapes | None = None  # to which the models are padded, whose sizes are not in the key


@dataclass(eq=False)
class EpochTask:
    """One model's way through the batches of an epoch, in training or evaluation.

    Tasks with equal `data_key` have the same batches in the same order. Tasks that meet are sorted
    by `order`: the same rows of a stack, and dropout masks, in every run. `after_step` is called
    after each step of the optimizer, whose settings it may change. What ends the task before its
    time becomes its `error`.
    """

    model: Model
    batches: BlockedBatches
    training: bool
    after_step: Callable[[], object] | None = None
    cancelled: Callable[[], bool] = bool
    order: tuple[int, ...] = ()
    data_key: Hashable = None
    losses: list[float] = field(default_factory=list)
    outputs: list[Outputs] = field(default_factory=list)
    error: BaseException | None = None
    settings: tuple = ()  # the optimizer's, as `stack_key` found them
    n_done: int = 0

    def __post_init__(self) -> None:
        self.shared_batches = self.batches
        self.model.set_mode(self.training)

    @property
    def optimizer(self) -> Optimizer | None:
        """The optimizer; None in an evaluation."""
        return self.model.net.optimizer_ if self.training else None

    @property
    def n_epochs(self) -> int:
        """Number of epochs that the batches are of."""
        return self.batches.n_epochs

    @property
    def sizes(self) -> list[int]:
        """Number of rows of each batch that is done."""
        return self.batches.sizes[: self.n_done]

    @property
    def is_over(self) -> bool:
        """Whether no batch is left, or an error has ended the task."""
        return self.n_done == len(self.batches.sizes) or self.error is not None

    @property
    def fills_up(self) -> bool:
        """Whether short batches are filled up with rows of weight zero."""
        if not self.training or not self.batches.is_weighted or self.model.mixes_rows:
            return False
        return self.model.objective.loss_function.judges_rows_apart

    @property
    def n_rows(self) -> int:
        """Number of rows of the next batch, filled up; zero when none is left."""
        if self.n_done == len(self.batches.sizes):
            return 0
        return filled_size(self.batches.sizes) if self.fills_up else self.n_own_rows

    @property
    def n_own_rows(self) -> int:
        """Number of rows of the next batch, if there is one, as it was drawn."""
        return self.batches.sizes[self.n_done]

    @property
    def device(self) -> torch.device:
        """The device of the batches."""
        return self.shared_batches.example(self.n_done)[1].device

    @property
    def lane(self) -> torch.device:
        """The device of the fit: tensors don't tell two of a CPU apart, as tests do."""
        return self.model.engine.device

    @property
    def n_parameters(self) -> int:
        """Number of elements of the module's parameters."""
        return sum(p.numel() for p in self.model.net.module_.parameters())

    @property
    def n_bytes(self) -> float:
        """About the memory that the model takes in a stack."""
        parameters = sum(p.nbytes for p in self.model.net.module_.parameters())
        activations = self.model.net.work_.activation_bytes * self.n_rows
        return 4 * parameters + 2 * activations if self.training else parameters + activations

    def next_block(self) -> list[Any]:
        """Return the next batches of one length that are fetched together, along a new dimension.

        Inputs, targets, and weights if there are any, filled up. Other tasks share them: nobody may
        write to them.
        """
        block, n_rows = self._own_block(), self.n_rows
        return block if n_rows == self.n_own_rows else filled_up(block, n_rows)

    def _own_block(self) -> list[Any]:
        """Return the next block of batches as they were drawn."""
        first, block = self.shared_batches.block(self.n_done)
        return [tree_map(partial(self._cut, first), x) for x in block if x is not None]

    def next_rows(self) -> Tensor:
        """Return the numbers of the rows of `next_block`; the first one's fill up a batch."""
        rows = self._cut(*self.shared_batches.rows_of_block(self.n_done))
        n_given, n_rows = self.n_own_rows, self.n_rows
        return rows if n_given == n_rows else rows[:, filling(n_given, n_rows, rows.device)]

    def filling_weight(self, weights: Tensor) -> Tensor:
        """Return the factors of the weights of a batch's rows that filling it up takes."""
        return filling_weight(self.n_own_rows, self.n_rows, weights)

    def _cut(self, first: int, block: Tensor) -> Tensor:
        """Cut a block that begins with a batch of a number into those from the next batch on."""
        n_rows = self.n_own_rows
        start = sum(self.batches.sizes[first : self.n_done])
        n_batches = (len(block) - start) // n_rows
        return block[start : start + n_batches * n_rows].unflatten(0, (n_batches, n_rows))

    def next_batch(self) -> list[Any]:
        """Return a copy of the next batch: inputs, targets, and weights if there are any."""
        return [tree_map(lambda x: x[0].clone(), part) for part in self.next_block()]

    def _batches_left(self) -> Iterator[Batch]:
        while self.n_rows:
            block = self._own_block()
            for number in range(len(block[1])):
                yield (*(tree_map(itemgetter(number), part) for part in block), None)[:3]
                self.n_done += 1

    def run_alone(self) -> None:
        """Go through the batches that are left by the engine of a single model."""
        self.shared_batches = self.batches  # The module may write to its input.
        net, run, engine = self.model.net, self.model.run, self.model.engine
        batches = self._batches_left()
        if self.training:
            losses, _ = run(True, engine.train_in_mode, net, batches, None, self.after_step)
        else:
            losses, _, outputs = run(False, engine.evaluate_in_mode, net, batches)
            self.outputs.append(outputs)
        self.losses += losses

    def stack_key(self) -> StackKey:
        """Return what tasks of one stack have in common; raise `NotStackable` if it is alone."""
        engine = self.model.engine
        if engine.precision.scaler.is_enabled():
            raise NotStackable("float16 needs a gradient scaler for each model")
        if self.training:
            self.settings = stackable_settings(self.model.net.optimizer_)
        is_scheduled = self.after_step is not None
        structure = self.model.structure(self.training)
        model = self.training, structure, engine.settings, engine.device, is_scheduled
        example = self.shared_batches.example(self.n_done)
        return StackKey(model, (self.n_rows, *shapes_of_rows(example)), is_scheduled)


def shapes_of_rows(batch: Iterable[Any]) -> Iterator[Hashable]:
    """Yield shape, dtype and device of a row of each tensor, None where there are no weights."""
    for x in chain.from_iterable(map(tree_leaves, batch)):
        yield x if x is None else (x.shape[1:], x.dtype, x.device)
