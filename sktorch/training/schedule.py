"""Keep a learning-rate scheduler of torch in step with the training, after a warm-up."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from sktorch._errors import errors_name
from sktorch.training.cosine_schedulers import CosineLogLR

PER_BATCH = (lr_scheduler.OneCycleLR, lr_scheduler.CyclicLR, CosineLogLR)
# What a scheduler changes in an optimizer's parameter groups.
SCHEDULED = ("lr", "momentum", "betas")


class _ParameterGroups(Optimizer):
    """An optimizer's parameter groups, in the guise of an optimizer whose step does nothing.

    A scheduler wraps the ``step`` of its optimizer, to warn if its own step comes first. Wrapping
    the real optimizer's step would make `without_hooks` fall back to the slow step.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        # Optimizer.__init__ is left out: it would take the groups for new ones.
        self.optimizer = optimizer
        self.defaults, self.state = optimizer.defaults, optimizer.state

    @property
    def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]  # read only
        """Return the optimizer's own groups; its ``load_state_dict`` replaces the list."""
        return self.optimizer.param_groups

    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # no closure here
        """Count as a step for the scheduler's check."""


class Schedule:
    """A learning-rate schedule in step with the training.

    ``n_batches`` is the number of the optimizer's steps in an epoch (None: not known), ``warm_up``
    the number of batches over which learning rates rise to the scheduler's first. Of the optimizer
    only the learning rates change, and the momentum where a cycle includes it. Errors of the
    scheduler name the parameters in ``given``.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        make_scheduler: Callable[[Optimizer], LRScheduler],
        n_batches: int | None,
        n_epochs: int,
        warm_up: int,
        step_every: str | None,
        given: Mapping[str, Any] = {},
    ) -> None:
        self._optimizer, self._given = optimizer, given
        self._before = [
            {name: _copy(value) for name, value in group.items()}
            for group in optimizer.param_groups
        ]
        for group in optimizer.param_groups:
            group.pop("initial_lr", None)  # An earlier scheduler's: the group's lr is what counts.
        self._groups = _ParameterGroups(optimizer)
        try:
            with errors_name("lr_schedule", given):
                self._scheduler: Any = make_scheduler(self._groups)
        except BaseException:
            self.restore()
            raise
        self._by_value = isinstance(self._scheduler, lr_scheduler.ReduceLROnPlateau)
        self._by_batch = steps_by_batch(type(self._scheduler), step_every)
        self.per_batch = self._by_batch or warm_up > 0  # whether `after_batch` has to be called
        self._warm_up = warm_up
        self._warm_up_epochs = warm_up // n_batches if n_batches else 0
        self._n_steps = n_batches and n_batches * n_epochs
        self._n_batches_done = self._n_epochs_done = 0
        self._first_lrs = self.lrs
        if warm_up and not any(self._first_lrs):
            self.restore()
            raise ValueError(
                "lr_schedule__warm_up is given, but the schedule starts at a rate of zero: "
                "a warm-up would train nothing. Leave lr_schedule__warm_up out."
            )
        self._set_warm_up_lrs()

    @property
    def lrs(self) -> list[float]:
        """Return each group's learning rate; waits for the device if it is a tensor."""
        return [float(group["lr"]) for group in self._optimizer.param_groups]

    def after_batch(self) -> None:
        """Set the learning rates of the next batch; to be called after each optimizer step."""
        self._n_batches_done += 1
        if self._n_batches_done <= self._warm_up:
            self._set_warm_up_lrs()
        elif self._by_batch and (self._n_steps is None or self._n_batches_done < self._n_steps):
            # After the last batch there is no next, and a cycle has no learning rate for it.
            self._step()

    def after_epoch(self, value: float | None = None) -> None:
        """Set the learning rates of the next epoch; "plateau" looks at the epoch's value."""
        self._n_epochs_done += 1
        if self._by_batch or self._n_epochs_done <= self._warm_up_epochs:
            return
        if not self._by_value:
            self._step()
        elif value is None:
            raise ValueError(
                "The schedule looks at a loss or score after each epoch, and there is none. Choose "
                "another lr_schedule, or give it one to monitor."
            )
        else:
            self._step(value)

    def state_dict(self) -> dict[str, Any]:
        """Return how far it is; the learning rates are the optimizer's."""
        done = self._n_batches_done, self._n_epochs_done
        return {"done": done, "scheduler": self._scheduler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self._n_batches_done, self._n_epochs_done = state["done"]
        self._scheduler.load_state_dict(state["scheduler"])

    def restore(self) -> None:
        """Restore the parameter groups as they were found, so that a new schedule can start."""
        for group, before in zip(self._optimizer.param_groups, self._before, strict=True):
            for name in group.keys() - before.keys():
                del group[name]  # Schedulers keep values of their own there.
            for name in SCHEDULED:
                if name in before:
                    _set(group, name, before[name])

    def _set_warm_up_lrs(self) -> None:
        factor = min(1.0, (self._n_batches_done + 1) / (self._warm_up + 1))
        for group, lr in zip(self._optimizer.param_groups, self._first_lrs, strict=True):
            _set(group, "lr", lr * factor)

    def _step(self, *value: float) -> None:
        self._groups.step()
        groups = self._optimizer.param_groups
        lrs = [group["lr"] for group in groups]
        with errors_name("lr_schedule", self._given):
            self._scheduler.step(*value)
        # ReduceLROnPlateau of torch 2.8 puts numbers in place of tensors.
        for group, lr in zip(groups, lrs, strict=True):
            if isinstance(lr, Tensor) and group["lr"] is not lr:
                group["lr"] = lr.fill_(group["lr"])


def steps_by_batch(kind: Any, step_every: str | None) -> bool:
    """Say whether a class of schedulers steps after each batch; by default only cycles do."""
    if step_every not in ("batch", "epoch", None):
        raise ValueError(
            f"lr_schedule__step_every={step_every!r} must be 'batch', 'epoch' or None."
        )
    is_class = isinstance(kind, type)  # else a function that makes a scheduler
    if step_every == "batch" and is_class and issubclass(kind, lr_scheduler.ReduceLROnPlateau):
        raise ValueError(
            "lr_schedule__step_every='batch' can't be used with a schedule that looks at the value "
            "of an epoch. Leave it out."
        )
    if step_every is None:
        return is_class and issubclass(kind, PER_BATCH)
    return step_every == "batch"


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _set(group: dict[str, Any], name: str, value: Any) -> None:
    """Set a value; a tensor is filled, because a captured graph reads that very tensor."""
    if isinstance(group[name], Tensor):
        group[name].fill_(value)
    else:
        group[name] = value
