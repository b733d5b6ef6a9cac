"""Schedules to compare, and the loops that compare them."""

import math
from functools import partial

import torch
from torch import nn
from torch.optim import lr_scheduler

from sktorch.training.named_schedules import make_schedule
from sktorch.training.optimizers import without_hooks

N_EPOCHS, N_BATCHES = 6, 5
N_STEPS = N_EPOCHS * N_BATCHES
LRS = (0.5, 0.1)
VALUES = [3.0, 2.0, 2.0, 2.5, 1.0, 1.5]


def flat_cosine(step, n_steps=N_EPOCHS):
    """The formula of the paper, for half of the training."""
    t = step / n_steps
    return 0.5 * (1 + math.cos(math.pi * (max(1, 2 * t) - 1)))


def cosine_log(step, n_steps=N_STEPS, n_cycles=4):
    t = step / n_steps
    return 0.5 * (1 - math.cos(2 * math.pi * math.log2(1 + (2**n_cycles - 1) * t)))


# Name, parameters, torch's scheduler, and whether it steps after each batch.
BY_HAND = [
    ("constant", {}, partial(lr_scheduler.ConstantLR, factor=1.0), False),
    (
        "constant",
        {"factor": 0.5, "total_iters": 3},
        partial(lr_scheduler.ConstantLR, factor=0.5, total_iters=3),
        False,
    ),
    ("cosine", {}, partial(lr_scheduler.CosineAnnealingLR, T_max=N_EPOCHS), False),
    (
        "cosine",
        {"T_max": 3, "eta_min": 0.01},
        partial(lr_scheduler.CosineAnnealingLR, T_max=3, eta_min=0.01),
        False,
    ),
    (
        "cosine",
        {"step_every": "batch"},
        partial(lr_scheduler.CosineAnnealingLR, T_max=N_STEPS),
        True,
    ),
    (
        "cosine_warm_restarts",
        {"T_0": 2},
        partial(lr_scheduler.CosineAnnealingWarmRestarts, T_0=2),
        False,
    ),
    (
        "cyclic",
        {},
        partial(
            lr_scheduler.CyclicLR,
            base_lr=[lr / 4 for lr in LRS],
            max_lr=list(LRS),
            step_size_up=2 * N_BATCHES,
        ),
        True,
    ),
    (
        "cyclic",
        {"base_lr": 0.1, "max_lr": 1.0, "step_size_up": 3, "mode": "triangular2"},
        partial(lr_scheduler.CyclicLR, base_lr=0.1, max_lr=1.0, step_size_up=3, mode="triangular2"),
        True,
    ),
    ("exponential", {"gamma": 0.5}, partial(lr_scheduler.ExponentialLR, gamma=0.5), False),
    (
        "linear",
        {},
        partial(lr_scheduler.LinearLR, start_factor=1.0, end_factor=0.0, total_iters=N_EPOCHS),
        False,
    ),
    (
        "multi_step",
        {"milestones": [1, 3]},
        partial(lr_scheduler.MultiStepLR, milestones=[1, 3]),
        False,
    ),
    (
        "one_cycle",
        {},
        partial(lr_scheduler.OneCycleLR, max_lr=list(LRS), total_steps=N_STEPS),
        True,
    ),
    (
        "one_cycle",
        {"max_lr": 2.0, "epochs": 8, "steps_per_epoch": N_BATCHES},
        partial(lr_scheduler.OneCycleLR, max_lr=2.0, epochs=8, steps_per_epoch=N_BATCHES),
        True,
    ),
    ("polynomial", {}, partial(lr_scheduler.PolynomialLR, total_iters=N_EPOCHS), False),
    (
        "polynomial",
        {"power": 2, "total_iters": 3},
        partial(lr_scheduler.PolynomialLR, power=2, total_iters=3),
        False,
    ),
    ("step", {"step_size": 2}, partial(lr_scheduler.StepLR, step_size=2), False),
]
BY_HAND_IDS = [f"{name}-{'-'.join(parameters) or 'filled'}" for name, parameters, *_ in BY_HAND]
# The same of schedules that torch has no class for.
RECIPES = [
    ("cosine_log", {}, partial(lr_scheduler.LambdaLR, lr_lambda=cosine_log), True),
    (
        "cosine_log",
        {"n_cycles": 2, "step_every": "batch"},
        partial(lr_scheduler.LambdaLR, lr_lambda=partial(cosine_log, n_cycles=2)),
        True,
    ),
    (
        "cosine_log",
        {"step_every": "epoch"},
        partial(lr_scheduler.LambdaLR, lr_lambda=lambda epoch: cosine_log(epoch + 0.5, N_EPOCHS)),
        False,
    ),
    ("flat_cosine", {}, partial(lr_scheduler.LambdaLR, lr_lambda=flat_cosine), False),
    (
        "flat_cosine",
        {"step_every": "batch"},
        partial(lr_scheduler.LambdaLR, lr_lambda=partial(flat_cosine, n_steps=N_STEPS)),
        True,
    ),
    (
        "flat_cosine",
        {"flat_fraction": 0},
        partial(lr_scheduler.CosineAnnealingLR, T_max=N_EPOCHS),
        False,
    ),
]


def make_optimizer(kind=torch.optim.SGD, lrs=LRS, **settings):
    """An optimizer of a parameter group per learning rate; a further one is its default."""
    groups = [{"params": [nn.Parameter(torch.ones(2))], "lr": lr} for lr in lrs]
    return kind(groups, lr=7.0, **settings)


def step(optimizer, bare=None):
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.ones_like(parameter)
    (bare or optimizer).step()


def lrs_of(optimizer):
    return [float(group["lr"]) for group in optimizer.param_groups]


def scheduled(schedule, optimizer, n_epochs=N_EPOCHS, values=VALUES):
    """The learning rates at each step of a training with a schedule, with the bare optimizer."""
    bare, seen = without_hooks(optimizer), []
    for epoch in range(n_epochs):
        for _ in range(N_BATCHES):
            seen.append(lrs_of(optimizer))
            step(optimizer, bare)
            schedule.after_batch()
        schedule.after_epoch(values[epoch])
    return seen


def by_hand(scheduler, optimizer, per_batch, n_steps=N_STEPS):
    """The same with torch alone; a cycle has no learning rate after its last step."""
    seen = []
    for _ in range(N_EPOCHS):
        for _ in range(N_BATCHES):
            seen.append(lrs_of(optimizer))
            step(optimizer)
            if per_batch and len(seen) < n_steps:
                scheduler.step()
        if not per_batch:
            scheduler.step()
    return seen


def make(kind, optimizer, n_epochs=N_EPOCHS, n_batches=N_BATCHES, sign=-1, **parameters):
    return make_schedule(
        kind, optimizer, n_epochs=n_epochs, n_batches=n_batches, parameters=parameters, sign=sign
    )
