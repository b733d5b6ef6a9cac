"""Losses as modules of ``(output, target)``, and the mean loss of a batch."""

import copy
import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sktorch.losses.arguments import Arguments, arguments_of

# A loss as users give it: an instance, a class, or a function of (output, target).
Criterion = nn.Module | type[nn.Module] | Callable[..., Any]


def innermost(criterion: Criterion) -> Any:
    """Return the criterion without the modules and ``functools.partial`` around it."""
    match criterion:
        case AdaptedLoss(criterion=inner) | FunctionLoss(function=inner) | partial(func=inner):
            return innermost(inner)
    return criterion


def loss_arguments(criterion: Criterion, given: Iterable[str] = ()) -> Arguments:
    """Return what a criterion takes beside the output; ``given`` are its own parameters."""
    match criterion:
        case AdaptedLoss(criterion=inner):
            return loss_arguments(inner)
        case FunctionLoss():
            return criterion.takes
    return arguments_of(criterion, given)


class AdaptedLoss(nn.Module):
    """A loss around another that takes its output or target in parts."""

    def __init__(self, criterion: nn.Module) -> None:
        super().__init__()
        self.criterion = criterion

    def around(self, criterion: nn.Module) -> Self:
        """Return the same loss around another criterion."""
        return type(self)(criterion)


class GaussianLoss(AdaptedLoss):
    """``nn.GaussianNLLLoss`` of one output: columns of means, then as many of raw variances."""

    @staticmethod
    def mean_and_variance(output: Tensor) -> tuple[Tensor, Tensor]:
        """Return the means, and the variances made positive by softplus."""
        mean, raw_variance = output.chunk(2, dim=-1)
        return mean, F.softplus(raw_variance)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss of an output of shape (n_rows, 2 * n_targets)."""
        mean, variance = self.mean_and_variance(output)
        return self.criterion(mean, target, variance)


class ColumnsLoss(AdaptedLoss):
    """The mean of a criterion's losses for several columns of labels.

    ``encode`` makes the target of one column, as in `LabelLink`; ``n_classes`` and ``widths`` are
    the numbers of classes and of outputs of each column.
    """

    def __init__(
        self,
        criterion: nn.Module,
        encode: Callable[[Tensor, int, Tensor], Tensor],
        n_classes: Sequence[int],
        widths: Sequence[int],
    ) -> None:
        super().__init__(criterion)
        self.encode, self.n_classes, self.widths = encode, n_classes, widths

    def around(self, criterion: nn.Module) -> Self:
        """Return the same loss around another criterion."""
        return type(self)(criterion, self.encode, self.n_classes, self.widths)

    def forward(self, output: Tensor, target: Tensor, **context: Any) -> Tensor:
        """Return the loss of an output (n_rows, sum of widths) and codes (n_rows, n_columns)."""
        parts = zip(output.split(self.widths, dim=1), target.T, self.n_classes, strict=True)
        losses = [
            self.criterion(part, self.encode(codes, n, part), **context) for part, codes, n in parts
        ]
        return torch.stack(
            [loss.flatten(1).mean(1) if loss.ndim > 1 else loss for loss in losses]
        ).mean(0)


class EntriesLoss(AdaptedLoss):
    """A loss of labels for each entry of a row, of which it leaves the ``ignored`` ones out.

    Losses of single entries are scaled so that their mean is that of the entries that count.
    """

    def __init__(self, criterion: nn.Module, ignored: int) -> None:
        super().__init__(criterion)
        self.ignored = ignored

    def around(self, criterion: nn.Module) -> Self:
        """Return the same loss around another criterion."""
        return type(self)(criterion, self.ignored)

    def forward(self, output: Tensor, target: Tensor, **context: Any) -> Tensor:
        """Return the criterion's loss."""
        loss = self.criterion(output, target, **context)
        if loss.ndim == 0:
            return loss
        return loss * (target.numel() / (target != self.ignored).sum())


class MembersLoss(AdaptedLoss):
    """The mean of a criterion's losses for the members of an ensemble."""

    def forward(self, output: Tensor, target: Tensor, **context: Any) -> Tensor:
        """Return the loss of an output (n_rows, n_members, ...) and the target of one member."""
        if self._takes_members_as_rows:
            n_rows, n_members = output.shape[:2]
            repeated = target.unsqueeze(1).expand(-1, n_members, *target.shape[1:])
            losses = self.criterion(output.flatten(0, 1), repeated.flatten(0, 1), **context)
            return losses.unflatten(0, (n_rows, n_members)).mean(1) if losses.ndim else losses
        members = [self.criterion(member, target, **context) for member in output.unbind(1)]
        return torch.stack(members).mean(0)

    @property
    def _takes_members_as_rows(self) -> bool:
        """Whether the loss of all members' rows is that of the members, in fewer operations."""
        is_sum = getattr(innermost(self.criterion), "reduction", None) == "sum"
        return _judges_rows_apart(self.criterion) and not is_sum


class FunctionLoss(nn.Module):
    """A loss module made of a function of ``(output, target)`` and its further arguments.

    Tensors among the arguments are buffers, which move to other devices along with the module.
    """

    def __init__(self, function: Callable[..., Tensor], **arguments: Any) -> None:
        super().__init__()
        self.function, self.takes = function, arguments_of(function, arguments)
        tensors = {name: value for name, value in arguments.items() if torch.is_tensor(value)}
        self.arguments = {name: arguments[name] for name in arguments.keys() - tensors.keys()}
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor.clone())

    def extra_repr(self) -> str:
        """Return the function's name."""
        return getattr(innermost(self), "__name__", repr(innermost(self)))

    def forward(self, output: Any, *target: Tensor, **context: Any) -> Tensor:
        """Return the function's loss."""
        arguments = self.arguments | dict(self.named_buffers()) | context
        return self.function(output, *target, **arguments)


def ignore_index_of(criterion: Criterion, parameters: dict[str, Any]) -> int | None:
    """Return the target that a criterion made with these parameters leaves out, or None."""
    if isinstance(criterion, nn.Module):
        return getattr(criterion, "ignore_index", None)
    try:
        known = inspect.signature(criterion).parameters
    except (TypeError, ValueError):
        return None
    if "ignore_index" not in known:
        return None
    default = known["ignore_index"].default
    return parameters.get("ignore_index", None if default is inspect.Parameter.empty else default)


def per_row(criterion: nn.Module) -> nn.Module:
    """Return the criterion with one loss a row, not their mean, around the same parameters.

    One without a ``reduction`` is copied as it is; `LossFunction` raises if it returns one number.
    """
    if isinstance(criterion, AdaptedLoss):
        return criterion.around(per_row(criterion.criterion))
    rows: Any = copy.copy(criterion)
    if hasattr(rows, "reduction"):
        rows.reduction = "none"
    elif isinstance(rows, FunctionLoss) and _accepts_reduction(rows.function):
        rows.arguments = rows.arguments | {"reduction": "none"}
    return rows


def _accepts_reduction(function: Callable[..., Tensor]) -> bool:
    return "reduction" in inspect.signature(function).parameters


def _judges_rows_apart(criterion: nn.Module) -> bool:
    if isinstance(criterion, EntriesLoss | FunctionLoss):  # One counts entries of all rows.
        return False
    if isinstance(criterion, AdaptedLoss):
        return _judges_rows_apart(criterion.criterion)
    return type(criterion).__module__.startswith(("torch.nn.", "sktorch.losses."))


class LossFunction:
    """The mean loss of a batch, ``(output, y, weight, **context) -> loss``.

    Without weights it is the criterion's own. With weights it is ``mean(weight * loss)`` over the
    rows: with weights of mean one over the training data, the expected gradient of a batch is the
    gradient of the weighted risk. Of the context the criterion gets what it names.
    """

    def __init__(self, criterion: nn.Module) -> None:
        self.criterion = criterion

    @cached_property
    def arguments(self) -> Arguments:
        """What the criterion takes."""
        return loss_arguments(self.criterion)

    @cached_property
    def judges_rows_apart(self) -> bool:
        """Whether each row's loss is known to be computed from that row alone."""
        return _judges_rows_apart(self.criterion)

    @cached_property
    def per_row(self) -> nn.Module:
        """The criterion with one loss a row."""
        return per_row(self.criterion)

    def __call__(self, output: Any, y: Tensor, weight: Tensor | None, **context: Any) -> Tensor:
        """Return the loss of a batch, a scalar."""
        has_target, names = self.arguments
        target, named = (y,) if has_target else (), {name: context[name] for name in names}
        if weight is None:
            return self.criterion(output, *target, **named)
        losses = self.per_row(output, *target, **named)
        if losses.ndim == 0 or len(losses) != len(y):
            raise ValueError(
                f"sample_weight or class_weight was given, but criterion "
                f"{innermost(self.criterion)!r} returned a loss of shape {tuple(losses.shape)} for "
                f"{len(y)} rows. Give the criterion a `reduction` parameter that accepts 'none', "
                "or let it return one loss per row."
            )
        return (losses.reshape(len(y), -1).mean(1) * weight).mean()
