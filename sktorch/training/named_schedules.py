"""Make learning-rate schedules by name, with what the training knows filled in."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from sktorch._lookup import did_you_mean, find
from sktorch.training.cosine_schedulers import CosineLogLR, FlatCosineLR
from sktorch.training.schedule import Schedule, steps_by_batch

# Parameters that every schedule has besides those of torch's class.
OWN_PARAMETERS = ("warm_up", "step_every")


@dataclass(frozen=True)
class _Training:
    """The facts of a training that a scheduler's defaults are computed from."""

    n_steps: int  # of the scheduler
    by_batch: bool  # rather than by epoch
    n_batches: int | None
    lrs: list[float]
    sign: int
    has_momentum: bool

    def steps(self, fraction: float) -> int:
        """Return a fraction of the scheduler's steps, at least one."""
        return max(round(fraction * self.n_steps), 1)


_Defaults = Callable[[_Training], dict[str, Any]]


@dataclass(frozen=True)
class _Named:
    """A scheduler class, or a function that makes a scheduler, and defaults other than torch's."""

    scheduler: Callable[..., Any]
    defaults: _Defaults = lambda training: {}


SCHEDULES = {
    "constant": _Named(lr_scheduler.ConstantLR, lambda training: {"factor": 1.0}),
    "cosine": _Named(lr_scheduler.CosineAnnealingLR),
    "cosine_log": _Named(
        CosineLogLR,
        lambda training: {
            "total_iters": training.n_steps,
            # At the beginning the rate is zero; in the middle of an epoch, or only batch, not.
            "offset": 0.0 if training.by_batch and training.n_steps > 1 else 0.5,
        },
    ),
    "cosine_warm_restarts": _Named(
        lr_scheduler.CosineAnnealingWarmRestarts,
        lambda training: {"T_0": training.steps(1 / 4)},
    ),
    "cyclic": _Named(lr_scheduler.CyclicLR),
    "exponential": _Named(  # down to a hundredth
        lr_scheduler.ExponentialLR, lambda training: {"gamma": 0.01 ** (1 / training.n_steps)}
    ),
    "flat_cosine": _Named(FlatCosineLR, lambda training: {"total_iters": training.n_steps}),
    "linear": _Named(
        lr_scheduler.LinearLR,
        lambda training: {"start_factor": 1.0, "end_factor": 0.0, "total_iters": training.n_steps},
    ),
    "multi_step": _Named(
        lr_scheduler.MultiStepLR,
        lambda training: {"milestones": [training.steps(1 / 2), training.steps(3 / 4)]},
    ),
    "one_cycle": _Named(lr_scheduler.OneCycleLR),
    "plateau": _Named(lr_scheduler.ReduceLROnPlateau),
    "polynomial": _Named(
        lr_scheduler.PolynomialLR, lambda training: {"total_iters": training.n_steps}
    ),
    "step": _Named(lr_scheduler.StepLR, lambda training: {"step_size": training.steps(1 / 3)}),
}
# What the training decides, for a class as for its name. A cycle's bounds and length are those of
# L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, section 3.
DECIDED: dict[type, _Defaults] = {
    lr_scheduler.CosineAnnealingLR: lambda training: {"T_max": training.n_steps},
    lr_scheduler.OneCycleLR: lambda training: {
        "max_lr": training.lrs,
        "total_steps": training.n_steps,
        "cycle_momentum": training.has_momentum,
    },
    lr_scheduler.CyclicLR: lambda training: {
        "base_lr": [lr / 4 for lr in training.lrs],
        "max_lr": training.lrs,
        "step_size_up": training.n_batches and 2 * training.n_batches,
        "cycle_momentum": training.has_momentum,
    },
    lr_scheduler.ReduceLROnPlateau: lambda training: {
        "mode": "max" if training.sign > 0 else "min"
    },
}


def make_schedule(
    kind: Any,
    optimizer: Optimizer,
    *,
    n_epochs: int,
    n_batches: int | None = None,
    parameters: Mapping[str, Any] | None = None,
    sign: int = -1,
) -> Schedule:
    """Return a schedule, by name, class or function, that starts at an optimizer's learning rates.

    ``n_batches`` is the number of the optimizer's steps in an epoch, where it is known; ``sign`` is
    1 if "plateau" should look for a higher value, -1 for a lower one.
    """
    given = dict(parameters or {})
    _check_names(kind, given)
    warm_up, step_every = (given.pop(name, None) for name in OWN_PARAMETERS)
    entry = _entry(kind)
    warm_up_batches = _warm_up_batches(warm_up or 0, n_epochs, n_batches)
    by_batch = steps_by_batch(entry.scheduler, step_every)
    if (by_batch or warm_up_batches) and n_batches is None:
        raise ValueError(
            f"{_name(kind)} steps after each batch, and the number of batches in an epoch is not "
            "known. Choose a schedule that steps after each epoch, without warm_up."
        )
    training = _Training(
        n_steps=_n_steps(by_batch, n_epochs, n_batches or 1, warm_up_batches),
        by_batch=by_batch,
        n_batches=n_batches,
        lrs=[float(group["lr"]) for group in optimizer.param_groups],
        sign=sign,
        has_momentum=not optimizer.defaults.keys().isdisjoint({"momentum", "betas"}),
    )
    arguments = _filled_in(entry, training, given)
    _check_required(kind, arguments)

    def make_scheduler(groups: Optimizer) -> LRScheduler:
        return _built(kind, entry.scheduler, groups, arguments, training.n_steps)

    return Schedule(
        optimizer, make_scheduler, n_batches, n_epochs, warm_up_batches, step_every, given
    )


def schedule_parameters(kind: Any) -> tuple[str, ...] | None:
    """Return the names of a schedule's parameters, None if it takes any or does not tell.

    No schedule (None) has those that belong to all, so that a search may try it, too.
    """
    if kind is None:
        return OWN_PARAMETERS
    signature = _signature(_entry(kind).scheduler)
    if signature is None or any(p.kind is p.VAR_KEYWORD for p in signature):
        return None
    return (*(p.name for p in signature), *OWN_PARAMETERS)


def _entry(kind: Any) -> _Named:
    """Return the scheduler of a name, a class or a function, or raise if it is none of these."""
    entry = find("lr_schedule", kind, SCHEDULES)
    if isinstance(entry, _Named):
        return entry
    is_other_class = isinstance(kind, type) and not issubclass(kind, LRScheduler)
    if is_other_class or not callable(kind):
        raise TypeError(
            f"lr_schedule={kind!r} must be a name ({', '.join(SCHEDULES)}), a class of "
            "torch.optim.lr_scheduler, or a function that makes a scheduler of an optimizer."
        )
    return _Named(kind)


def _signature(scheduler: Callable[..., Any]) -> list[inspect.Parameter] | None:
    """Return a scheduler's parameters without the optimizer and without ``last_epoch``.

    The latter is for a scheduler that resumes; a schedule always starts afresh.
    """
    try:
        parameters = [*inspect.signature(scheduler).parameters.values()]
    except (TypeError, ValueError):
        return None
    return [p for p in parameters[1:] if p.name != "last_epoch"]


def _check_names(kind: Any, given: Mapping[str, Any]) -> None:
    """Raise if a schedule has no parameter of a given name."""
    known = schedule_parameters(kind)
    if known is None:
        return
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known, "lr_schedule__{}".format)
            raise ValueError(
                f"{_name(kind)} has no parameter lr_schedule__{name}.{hint} It takes "
                f"{', '.join(known)}."
            )


def _check_required(kind: Any, arguments: Mapping[str, Any]) -> None:
    """Raise if a parameter without a default is missing."""
    for parameter in _signature(_entry(kind).scheduler) or ():
        is_named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if is_named and parameter.default is parameter.empty and parameter.name not in arguments:
            raise ValueError(
                f"{_name(kind)} needs its parameter {parameter.name}. Give "
                f"lr_schedule__{parameter.name}."
            )


def _warm_up_batches(warm_up: Any, n_epochs: int, n_batches: int | None) -> int:
    """Return the number of batches in ``warm_up`` epochs."""
    is_number = isinstance(warm_up, Real)
    if not is_number or not 0 <= warm_up < n_epochs:
        raise ValueError(
            f"lr_schedule__warm_up={warm_up!r} must be a number of epochs, not negative and less "
            f"than the {n_epochs} to train. Change it, or max_epochs."
        )
    return int(warm_up * (n_batches or 0)) or int(warm_up > 0)


def _n_steps(by_batch: bool, n_epochs: int, n_batches: int, warm_up_batches: int) -> int:
    """Return how often a scheduler steps after the warm-up, the epoch that ends it included."""
    if by_batch:
        return n_epochs * n_batches - warm_up_batches or 1
    return n_epochs - warm_up_batches // n_batches or 1


def _filled_in(entry: _Named, training: _Training, given: dict[str, Any]) -> dict[str, Any]:
    """Return a scheduler's arguments: the given ones, and defaults for the others."""
    bases = entry.scheduler.__mro__ if isinstance(entry.scheduler, type) else ()
    own = (DECIDED[base] for base in bases if base in DECIDED)
    decided: _Defaults = next(own, lambda training: {})
    known = schedule_parameters(entry.scheduler)  # A subclass may take fewer.
    arguments = {
        name: value
        for name, value in (entry.defaults(training) | decided(training)).items()
        if known is None or name in known
    }
    if "epochs" in given:  # with steps_per_epoch, the other way to say total_steps
        arguments.pop("total_steps", None)
    return arguments | given


def _built(
    kind: Any,
    scheduler: Callable[..., Any],
    groups: Optimizer,
    arguments: dict[str, Any],
    n_steps: int,
) -> LRScheduler:
    """Return torch's scheduler, or raise if its arguments or its length are wrong."""
    built = scheduler(groups, **arguments)
    if not isinstance(built, LRScheduler):
        raise TypeError(
            f"lr_schedule={kind!r} returned {type(built).__name__}; expected a scheduler of "
            "torch.optim.lr_scheduler."
        )
    if isinstance(built, lr_scheduler.OneCycleLR) and built.total_steps < n_steps:
        raise ValueError(
            f"{_name(kind)} has total_steps={built.total_steps}, but training takes {n_steps}. "
            "Leave lr_schedule__total_steps out, or change max_epochs."
        )
    return built


def _name(kind: Any) -> str:
    return f"lr_schedule={kind!r}"
