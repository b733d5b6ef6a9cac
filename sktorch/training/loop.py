"""The classic recipe: zero_grad, forward, backward, clip, step for every batch; evaluate; infer."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain, islice

import torch
from torch import Tensor, nn

from sktorch.data.structure import (
    Batch,
    Inputs,
    Outputs,
    call_module,
    concatenated,
    n_rows_of,
    tree_leaves,
    tree_map,
)
from sktorch.training.objective import Context, Objective, clip_factor
from sktorch.training.optimizers import without_hooks
from sktorch.training.precision import Precision
from sktorch.training.runner import Evaluated, Observer, Step, Trained


def train_epoch(
    module: nn.Module,
    step: Step,
    batches: Iterable[Batch],
    *,
    accumulate: int = 1,
    observer: Observer | None = None,
    after_step: Callable[[], object] | None = None,
) -> Trained:
    """Fit the parameters to every batch once; return each batch's loss and number of rows.

    The module is in train mode.
    """
    losses, sizes = [], []
    for batch, first, last, share in _grouped(batches, accumulate):
        if observer is None:
            loss, _ = step(batch, first, last, share)
        else:
            observer.before(batch)
            # An observer may have looked at predictions, of the module or of a layer.
            if not all(layer.training for layer in module.modules()):
                set_mode(module, training=True)
            loss, output = step(batch, first, last, share, observer.on_gradient)
            observer.after(batch, loss, tree_map(Tensor.detach, output))
        if after_step is not None and last:
            after_step()
        losses.append(loss)
        sizes.append(batch[1].shape[0])
    # Losses cross to the host once, when the epoch is over.
    return torch.stack(losses).tolist() if losses else [], sizes


@dataclass
class TrainStep:
    """A training step of a batch: zero_grad, forward, backward, clip, step."""

    objective: Objective
    optimizer: torch.optim.Optimizer
    precision: Precision
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        if not self.precision.scaler.is_enabled():  # A scaler needs the whole optimizer.
            self.optimizer = without_hooks(self.optimizer)

    def __call__(
        self,
        batch: Batch,
        first: bool = True,
        last: bool = True,
        share: float = 1.0,
        on_gradient: Callable[[Batch], object] | None = None,
    ) -> tuple[Tensor, Outputs]:
        """Fit the parameters to a batch; return its loss and output before the parameters change.

        Gradients are added up, each with its share, from the first batch of a group to its last.
        """
        if first:
            self.zero_grad()
        loss, output = self.forward_backward(batch, share, on_gradient)
        if last:
            if self.clip_norm is not None:
                self.clip(self.clip_norm)
            self.precision.scaler.step(self.optimizer)
            self.precision.scaler.update()
        return loss.detach(), output

    def zero_grad(self) -> None:
        """Forget the gradients of earlier batches."""
        self.optimizer.zero_grad()

    def forward_backward(
        self,
        batch: Batch,
        share: float = 1.0,
        on_gradient: Callable[[Batch], object] | None = None,
    ) -> tuple[Tensor, Outputs]:
        """Return loss and output of a batch; add a share of the gradients to the parameters'."""
        # Nothing has hooks on the objective, and nn.Module would look for them.
        loss, output = self.objective.forward(*batch)
        with self.precision.backward():
            self.precision.scaler.scale(loss if share == 1 else loss * share).backward()
        if on_gradient is not None:
            on_gradient(batch)
        return loss, output

    @torch.no_grad()
    def clip(self, max_norm: float) -> None:
        """Scale the gradients of the module so that the norm of all together is at most this."""
        if self.precision.scaler.is_enabled():
            self.precision.scaler.unscale_(self.optimizer)
        parameters = self.objective.module.parameters()
        gradients = [p.grad for p in parameters if p.grad is not None]
        factor = clip_factor(gradients, max_norm)
        for gradient in gradients:
            gradient.mul_(factor)


def _grouped(batches: Iterable[Batch], size: int) -> Iterator[tuple[Batch, bool, bool, float]]:
    """Yield each batch, whether it is the first and the last of its group, and its share in it."""
    batches = iter(batches)
    while group := list(islice(batches, size)):
        for position, batch in enumerate(group, start=1):
            yield batch, position == 1, position == len(group), 1 / len(group)


@torch.no_grad()
def evaluate(
    objective: Objective, batches: Iterable[Batch], *, observer: Observer | None = None
) -> Evaluated:
    """Return each batch's loss and number of rows and all outputs; the module is in eval mode."""
    module = objective.module
    losses, sizes, outputs = [], [], []
    for batch in batches:
        if observer is not None:
            observer.before(batch)
            if any(layer.training for layer in module.modules()):
                set_mode(module, training=False)
        loss, output = objective(*batch)
        if observer is not None:
            observer.after(batch, loss, output)
        losses.append(loss)
        sizes.append(batch[1].shape[0])
        outputs.append(output)
    return torch.stack(losses).tolist(), sizes, concatenated(outputs)


# Under no_grad, not inference_mode: a module that keeps a tensor (a cached mask, a positional
# table) could not train with it afterwards, and inference_mode was not measured to be faster.
@torch.no_grad()
def infer(
    module: nn.Module,
    inputs: Iterable[Inputs],
    n_rows: int | None,
    *,
    autocast: Context = nullcontext,
) -> Outputs:
    """Return the outputs of all rows, in eval mode; `n_rows` counts them, where it is known."""
    set_mode(module, training=False)
    computed = _outputs(module, inputs, autocast)
    first = next(computed)
    if n_rows in (None, n_rows_of(first)):
        return concatenated([first, *computed])
    rows, done = tree_map(lambda x: x.new_empty(n_rows, *x.shape[1:]), first), 0
    for output in chain([first], computed):
        n_done = done + n_rows_of(output)
        for whole, part in zip(tree_leaves(rows), tree_leaves(output), strict=True):
            whole[done:n_done] = part
        done = n_done
    return rows


def set_mode(module: nn.Module, *, training: bool) -> None:
    """Set train or eval mode, as ``module.train()`` and ``module.eval()`` set it."""
    layers = [*module.modules()]
    if any(type(layer).train is not nn.Module.train for layer in layers):
        module.train() if training else module.eval()  # Some layers know better, as frozen norms.
        return
    for layer in layers:
        if layer.training is not training:  # Module.train() sets every one, which is slower.
            layer.training = training


def _outputs(module: nn.Module, inputs: Iterable[Inputs], autocast: Context) -> Iterator[Outputs]:
    for X in inputs:
        with autocast():
            output = call_module(module, X)
        yield output
