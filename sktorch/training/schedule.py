"""A learning-rate scheduler of torch in step with the training, after a warm-up."""

import torch
from torch.optim import lr_scheduler
from torch.optim.optimizer import Optimizer

PER_BATCH = (lr_scheduler.OneCycleLR, lr_scheduler.CyclicLR)
# What a scheduler changes in an optimizer's parameter groups.
SCHEDULED = ("lr", "momentum", "betas")


class _ParameterGroups(Optimizer):
    """An optimizer's parameter groups, in the guise of an optimizer whose step does nothing.

    A scheduler wraps the ``step`` of its optimizer, to warn where its own step comes first. The
    wrapper would hide the fast step that `sktorch.training.optimizers` takes from the optimizer's
    class, and that one would go uncounted. Given this, a scheduler changes the optimizer's
    learning rates and nothing else of it.
    """

    def __init__(self, optimizer):
        # Without Optimizer's own __init__, which would take the groups for new ones.
        self.optimizer = optimizer
        self.defaults, self.state = optimizer.defaults, optimizer.state

    @property
    def param_groups(self):
        """The optimizer's own, also after a ``load_state_dict``, which replaces them."""
        return self.optimizer.param_groups

    def step(self, closure=None):
        """Count as a step for the scheduler's check."""


class Schedule:
    """A learning-rate schedule in step with the training.

    `make_schedule` makes it. The optimizer itself stays as it is, but for the learning rate (and
    momentum, where a cycle includes it) of its parameter groups.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
    make_scheduler : callable
        ``optimizer -> scheduler``.
    n_batches : int or None
        Steps of the optimizer in an epoch.
    n_epochs : int
    warm_up : int
        Number of batches over which the learning rates rise to the scheduler's first.
    step_every : {"batch", "epoch", None}
        When the scheduler steps; None: after each batch if it is a cycle, else after each epoch.

    Attributes
    ----------
    per_batch : bool
        Whether `after_batch` has to be called.
    lrs : list of float
        The learning rate of each parameter group.

    Examples
    --------
    >>> import torch
    >>> from sktorch.training.named_schedules import make_schedule
    >>> optimizer = torch.optim.SGD(torch.nn.Linear(2, 1).parameters(), lr=1.0)
    >>> schedule = make_schedule("step", optimizer, n_epochs=4, parameters={"step_size": 2})
    >>> for epoch in range(4):
    ...     print(schedule.lrs)
    ...     schedule.after_epoch()
    [1.0]
    [1.0]
    [0.1]
    [0.1]
    """

    def __init__(self, optimizer, make_scheduler, n_batches, n_epochs, warm_up, step_every):
        self._optimizer = optimizer
        self._before = [
            {name: _copy(value) for name, value in group.items()}
            for group in optimizer.param_groups
        ]
        for group in optimizer.param_groups:
            group.pop("initial_lr", None)  # of an earlier scheduler: the group's lr is what counts
        self._groups = _ParameterGroups(optimizer)
        try:
            self._scheduler = make_scheduler(self._groups)
        except BaseException:
            self.restore()
            raise
        self._by_value = isinstance(self._scheduler, lr_scheduler.ReduceLROnPlateau)
        self._by_batch = steps_by_batch(self._scheduler, step_every)
        self.per_batch = self._by_batch or warm_up > 0
        self._warm_up = warm_up
        self._warm_epochs = warm_up // n_batches if warm_up else 0
        self._last = n_batches and n_batches * n_epochs
        self._batches = self._epochs = 0
        self._first_lrs = self.lrs
        self._warm()

    @property
    def lrs(self):
        """The learning rate of each parameter group; waits for the device where it is a tensor."""
        return [float(group["lr"]) for group in self._optimizer.param_groups]

    def after_batch(self):
        """Set the learning rates of the next batch; to be called after each optimizer step."""
        self._batches += 1
        if self._batches <= self._warm_up:
            self._warm()
        elif self._by_batch and (self._last is None or self._batches < self._last):
            # After the last batch there is no next, and a cycle has no learning rate for it.
            self._step()

    def after_epoch(self, value=None):
        """Set the learning rates of the next epoch.

        Parameters
        ----------
        value : float, default=None
            The loss or score that "plateau" looks at; other schedules do without.
        """
        self._epochs += 1
        if self._by_batch or self._epochs <= self._warm_epochs:
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

    def restore(self):
        """Bring the parameter groups back to where they were, so that a new schedule can start."""
        for group, before in zip(self._optimizer.param_groups, self._before, strict=True):
            for name in group.keys() - before.keys():
                del group[name]  # what schedulers keep there
            for name in SCHEDULED:
                if name in before:
                    _set(group, name, before[name])

    def _warm(self):
        factor = min(1.0, (self._batches + 1) / (self._warm_up + 1))
        for group, lr in zip(self._optimizer.param_groups, self._first_lrs, strict=True):
            _set(group, "lr", lr * factor)

    def _step(self, *value):
        self._groups.step()
        self._scheduler.step(*value)


def steps_by_batch(scheduler, step_every):
    """Whether a scheduler, or a class of them, steps after each batch; `Schedule` says when."""
    if step_every not in ("batch", "epoch", None):
        raise ValueError(
            f"lr_schedule__step_every={step_every!r} must be 'batch', 'epoch' or None."
        )
    kind = scheduler if isinstance(scheduler, type) else type(scheduler)
    if issubclass(kind, lr_scheduler.ReduceLROnPlateau) and step_every == "batch":
        raise ValueError(
            "lr_schedule__step_every='batch' can't be used with a schedule that looks at the value "
            "of an epoch. Leave it out."
        )
    return step_every == "batch" or (step_every is None and issubclass(kind, PER_BATCH))


def _copy(value):
    return value.clone() if isinstance(value, torch.Tensor) else value


def _set(group, name, value):
    """Set a value; a tensor is filled, since a captured graph reads that very tensor."""
    if isinstance(group[name], torch.Tensor):
        group[name].fill_(value)
    else:
        group[name] = value
