"""Learning-rate schedules by name: torch's own, with what the training knows filled in."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from numbers import Real

from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from sktorch.training.lookup import find
from sktorch.training.schedule import Schedule, steps_by_batch

# Parameters of every schedule; the others are those of torch's class.
OWN_PARAMETERS = ("warm_up", "step_every")


@dataclass(frozen=True)
class _Training:
    """What a scheduler's parameters are made of; steps are those of the scheduler."""

    n_steps: int | None
    n_batches: int | None
    lrs: list
    sign: int
    has_momentum: bool


@dataclass(frozen=True)
class _Named:
    """A scheduler class, and the defaults that differ from torch's: ``training -> dict``."""

    scheduler: type
    defaults: Callable = lambda training: {}


def _share(training, share):
    """A share of the steps, one at the least."""
    return max(round(share * training.n_steps), 1)


SCHEDULES = {
    "constant": _Named(lr_scheduler.ConstantLR, lambda training: {"factor": 1.0}),
    "cosine": _Named(lr_scheduler.CosineAnnealingLR),
    "cosine_warm_restarts": _Named(
        lr_scheduler.CosineAnnealingWarmRestarts,
        lambda training: {"T_0": _share(training, 1 / 4)},
    ),
    "cyclic": _Named(lr_scheduler.CyclicLR),
    "exponential": _Named(  # down to a hundredth
        lr_scheduler.ExponentialLR, lambda training: {"gamma": 0.01 ** (1 / training.n_steps)}
    ),
    "linear": _Named(
        lr_scheduler.LinearLR,
        lambda training: {"start_factor": 1.0, "end_factor": 0.0, "total_iters": training.n_steps},
    ),
    "multi_step": _Named(
        lr_scheduler.MultiStepLR,
        lambda training: {"milestones": [_share(training, 1 / 2), _share(training, 3 / 4)]},
    ),
    "one_cycle": _Named(lr_scheduler.OneCycleLR),
    "plateau": _Named(lr_scheduler.ReduceLROnPlateau),
    "polynomial": _Named(
        lr_scheduler.PolynomialLR, lambda training: {"total_iters": training.n_steps}
    ),
    "step": _Named(lr_scheduler.StepLR, lambda training: {"step_size": _share(training, 1 / 3)}),
}
# What training decides, for a class as for its name. The ends of a cycle and its length are those
# of L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, section 3.
DECIDED = {
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


def make_schedule(kind, optimizer, *, n_epochs, n_batches=None, parameters=None, sign=-1):
    """A schedule for the learning rates of an optimizer, beginning at those it has.

    Parameters
    ----------
    kind : str, LRScheduler class, or function
        One of "constant", "cosine", "cosine_warm_restarts", "cyclic", "exponential", "linear"
        (falls to zero), "multi_step", "one_cycle", "plateau", "polynomial", "step"; or a function
        ``optimizer, **parameters -> scheduler``. "cyclic" and "one_cycle" step after each batch,
        the others after each epoch.
    optimizer : torch.optim.Optimizer
    n_epochs : int
        Number of epochs to come.
    n_batches : int, default=None
        Steps of the optimizer in an epoch; None where it is not known, which is enough for
        schedules that step after each epoch.
    parameters : dict, default=None
        Those of torch's class. What the training decides (``T_max``, ``total_steps``, ``max_lr``,
        ``mode``, …) is filled in where it is not given, and a name leaves nothing open: "step"
        falls each third of the training, "multi_step" after half and three quarters of it,
        "exponential" to a hundredth, "cosine_warm_restarts" starts anew each quarter. Two more
        belong to every schedule: ``warm_up``, the number of epochs, also a fraction, over which
        the learning rate first rises from near zero, batch by batch; and ``step_every``, "batch"
        or "epoch", to change when the scheduler steps.
    sign : {-1, 1}, default=-1
        Whether a lower (-1) or a higher (1) value is better, for "plateau".

    Returns
    -------
    schedule : Schedule

    Raises
    ------
    ValueError
        If a name is unknown, a parameter unknown, missing or out of its domain.
    TypeError
        If ``kind`` is none of the three, or a function that returns no scheduler.

    Examples
    --------
    >>> import torch
    >>> from sktorch.training.named_schedules import make_schedule
    >>> optimizer = torch.optim.SGD(torch.nn.Linear(2, 1).parameters(), lr=1.0)
    >>> schedule = make_schedule(
    ...     "constant", optimizer, n_epochs=2, n_batches=3, parameters={"warm_up": 1}
    ... )
    >>> for batch in range(6):
    ...     print(schedule.lrs)
    ...     schedule.after_batch()
    [0.25]
    [0.5]
    [0.75]
    [1.0]
    [1.0]
    [1.0]
    """
    given = dict(parameters or {})
    _check_names(kind, given)
    warm_up, step_every = (given.pop(name, None) for name in OWN_PARAMETERS)
    entry = _entry(kind)
    warm_batches = _warm_batches(warm_up or 0, n_epochs, n_batches)
    by_batch = steps_by_batch(entry.scheduler, step_every)
    if (by_batch or warm_batches) and n_batches is None:
        raise ValueError(
            f"{_name(kind)} steps after each batch, and the number of batches in an epoch is not "
            "known. Choose a schedule that steps after each epoch, without warm_up."
        )
    training = _Training(
        n_steps=_n_steps(by_batch, n_epochs, n_batches, warm_batches),
        n_batches=n_batches,
        lrs=[float(group["lr"]) for group in optimizer.param_groups],
        sign=sign,
        has_momentum=not optimizer.defaults.keys().isdisjoint({"momentum", "betas"}),
    )
    arguments = _filled_in(entry, training, given)
    _check_required(kind, arguments)

    def make_scheduler(groups):
        return _built(kind, entry.scheduler, groups, arguments, training.n_steps)

    return Schedule(optimizer, make_scheduler, n_batches, n_epochs, warm_batches, step_every)


def schedule_parameters(kind):
    """The names of the parameters that a schedule takes.

    Parameters
    ----------
    kind : str, LRScheduler class, function, or None
        As in `make_schedule`; None has what belongs to all, so that a search may try it, too.

    Returns
    -------
    names : tuple of str, or None
        None where any name is taken or the names can't be told.

    Raises
    ------
    ValueError, TypeError
        If the schedule is not known.

    Examples
    --------
    >>> from sktorch.training.named_schedules import schedule_parameters
    >>> schedule_parameters("step")
    ('step_size', 'gamma', 'warm_up', 'step_every')
    """
    if kind is None:
        return OWN_PARAMETERS
    signature = _signature(_entry(kind).scheduler)
    if signature is None or any(p.kind is p.VAR_KEYWORD for p in signature):
        return None
    return (*(p.name for p in signature), *OWN_PARAMETERS)


def _entry(kind):
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


def _signature(scheduler):
    """Its parameters but the optimizer, and where it would resume: a schedule starts afresh."""
    try:
        parameters = [*inspect.signature(scheduler).parameters.values()]
    except (TypeError, ValueError):
        return None
    return [p for p in parameters[1:] if p.name != "last_epoch"]


def _check_names(kind, given):
    known = schedule_parameters(kind)
    for name in given:
        if known is not None and name not in known:
            close = get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f" Did you mean lr_schedule__{close[0]}?" if close else ""
            raise ValueError(
                f"{_name(kind)} has no parameter lr_schedule__{name}.{hint} It takes "
                f"{', '.join(known)}."
            )


def _check_required(kind, arguments):
    for parameter in _signature(_entry(kind).scheduler) or ():
        is_named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if is_named and parameter.default is parameter.empty and parameter.name not in arguments:
            raise ValueError(
                f"{_name(kind)} needs its parameter {parameter.name}. Give "
                f"lr_schedule__{parameter.name}."
            )


def _warm_batches(warm_up, n_epochs, n_batches):
    """The number of batches in ``warm_up`` epochs."""
    if not isinstance(warm_up, Real) or not 0 <= warm_up < n_epochs:
        raise ValueError(
            f"lr_schedule__warm_up={warm_up!r} must be a number of epochs, not negative and less "
            f"than the {n_epochs} to train. Change it, or max_epochs."
        )
    return int(warm_up * (n_batches or 0)) or int(warm_up > 0)


def _n_steps(by_batch, n_epochs, n_batches, warm_batches):
    """How often a scheduler steps: over what the warm-up leaves, the epoch it ends in included."""
    warm_epochs = warm_batches // n_batches if warm_batches else 0
    return int(n_epochs * n_batches - warm_batches if by_batch else n_epochs - warm_epochs) or 1


def _filled_in(entry, training, given):
    bases = entry.scheduler.__mro__ if isinstance(entry.scheduler, type) else ()
    decided = next((DECIDED[base] for base in bases if base in DECIDED), lambda training: {})
    known = schedule_parameters(entry.scheduler)  # A subclass may take fewer.
    arguments = {
        name: value
        for name, value in (entry.defaults(training) | decided(training)).items()
        if known is None or name in known
    }
    if "epochs" in given:  # with steps_per_epoch, the other way to say total_steps
        arguments.pop("total_steps", None)
    return arguments | given


def _built(kind, scheduler, groups, arguments, n_steps):
    try:
        built = scheduler(groups, **arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{_name(kind)} can't be made with {arguments}: {error}. Change lr_schedule__*."
        ) from error
    if not isinstance(built, LRScheduler):
        raise TypeError(
            f"lr_schedule={kind!r} returned {type(built).__name__}; expected a scheduler of "
            "torch.optim.lr_scheduler."
        )
    if isinstance(built, lr_scheduler.OneCycleLR) and built.total_steps < (n_steps or 0):
        raise ValueError(
            f"{_name(kind)} has total_steps={built.total_steps}, but training takes {n_steps}. "
            "Leave lr_schedule__total_steps out, or change max_epochs."
        )
    return built


def _name(kind):
    return f"lr_schedule={kind!r}"
