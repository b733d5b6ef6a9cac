"""Batches, stacks and programs that serve several models, epochs and widths."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sktorch.fused import fuser as fuser_module
from sktorch.fused import trial
from sktorch.fused.epoch import EpochTask
from sktorch.fused.fuser import Fuser
from tests.fused.epochs import model_of, task_of
from tests.fused.training import (
    OPTIMIZERS,
    InPlace,
    Normed,
    batches_of,
    loop,
    mlp,
    models,
    train_alone,
    train_together,
)

pytestmark = pytest.mark.usefixtures("no_step_is_large")


def test_batches_that_several_models_need_are_fetched_once():
    batches = batches_of(0, 40, 10, shuffle=False)
    fetched, fetch = [], batches.fetch
    batches.fetch = lambda index: fetched.append(index) or fetch(index)
    modules = models(mlp, 6)
    optimizers = [torch.optim.SGD(module.parameters()) for module in modules]
    train_together(modules, [nn.CrossEntropyLoss()] * 6, optimizers, [batches] * 6, 1)
    assert len(fetched) == 1


@pytest.mark.parametrize("changed", [False, True])
@pytest.mark.parametrize("name", ["adam", "momentum", "rmsprop"])
def test_a_stack_is_used_again_until_a_member_changes(name, changed, monkeypatch):
    monkeypatch.setattr(trial, "MAX_TIME_RATIO", float("inf"))
    made, fuser = [], Fuser(1)
    make = fuser_module.Stack
    monkeypatch.setattr(fuser_module, "Stack", lambda *args: made.append(1) or make(*args))
    together = models(mlp, 4)
    alone = copy.deepcopy(together)
    optimizers, own = (
        [OPTIMIZERS[name](m.parameters(), 0.01) for m in ms] for ms in (together, alone)
    )
    trained = [model_of(*parts) for parts in zip(together, optimizers, strict=True)]
    for epoch in range(4):
        if changed and epoch == 2:
            for pair in zip(optimizers, own, strict=True):
                for optimizer in pair:
                    optimizer.param_groups[0]["lr"] /= 2
        drawn = [batches_of(number, 30, 12, shuffle=False) for number in range(4)]
        tasks = [
            task_of(model, batches.epoch()) for model, batches in zip(trained, drawn, strict=True)
        ]
        fuser.run(tasks)
        for task, module, optimizer, batches in zip(tasks, alone, own, drawn, strict=True):
            losses = loop(module, nn.CrossEntropyLoss(), optimizer, batches)
            assert task.losses == pytest.approx(losses, rel=1e-9)
    assert len(made) == 2 + changed  # One is for the trial of the last batch, which is shorter.
    for first, second in zip(together, alone, strict=True):
        torch.testing.assert_close(first.state_dict(), second.state_dict(), rtol=1e-9, atol=1e-9)


def test_as_fits_end_the_programs_of_wider_stacks_serve_the_others(monkeypatch):
    monkeypatch.setattr(trial, "MAX_TIME_RATIO", float("inf"))
    made, fuser = [], Fuser(1)
    make = fuser_module.make_program
    monkeypatch.setattr(
        fuser_module, "make_program", lambda *args: made.append(args) or make(*args)
    )
    together = models(Normed, 10)
    alone = copy.deepcopy(together)
    optimizers, own = (
        [OPTIMIZERS["adam"](m.parameters(), 0.01) for m in ms] for ms in (together, alone)
    )
    for n_left in (10, 9, 8, 7, 6):
        drawn = [batches_of(number, 30, 10, shuffle=False) for number in range(n_left)]
        for training in (True, False):
            tasks = [
                task_of(model_of(m, o if training else None), d.epoch())
                for m, d, o in zip(together[:n_left], drawn, optimizers[:n_left], strict=True)
            ]
            fuser.run(tasks)
            for task, module, optimizer, batches in zip(tasks, alone, own, drawn, strict=False):
                if training:
                    expected = loop(module, nn.CrossEntropyLoss(), optimizer, batches)
                else:
                    module.eval()
                    expected = [F.cross_entropy(module(X), y).item() for X, y, _ in batches]
                    assert len(torch.cat(task.outputs)) == 30
                assert task.losses == pytest.approx(expected, rel=1e-9)
    assert len(made) == 4, "10 and 7 to train and to evaluate"
    for first, second in zip(together, alone, strict=True):
        torch.testing.assert_close(first.state_dict(), second.state_dict(), rtol=1e-9, atol=1e-9)


def test_a_task_alone_that_writes_to_its_batches_writes_to_its_own():
    batches = batches_of(0, 40, 10, shuffle=False)
    together = models(partial(InPlace, 16, 3), 1) + models(mlp, 4)
    alone = copy.deepcopy(together)
    criteria = [nn.CrossEntropyLoss()] * 5
    for_all = [[OPTIMIZERS["sgd"](m.parameters(), 0.1) for m in ms] for ms in (together, alone)]
    losses = train_together(together, criteria, for_all[0], [batches] * 5, 2)
    expected = train_alone(alone, criteria, for_all[1], [batches] * 5, 2)
    for got, wanted in zip(losses, expected, strict=True):
        assert got == pytest.approx(wanted, rel=1e-9)


def test_evaluations_leave_the_stack_of_the_training(monkeypatch):
    monkeypatch.setattr(trial, "MAX_TIME_RATIO", float("inf"))
    made, lines = [], []
    make = fuser_module.Stack
    monkeypatch.setattr(
        fuser_module, "Stack", lambda *a, **k: made.append(len(a) > 1) or make(*a, **k)
    )
    modules, fuser = models(Normed, 4), Fuser(1, lines.append)
    trained = [model_of(m, torch.optim.Adam(m.parameters())) for m in modules]
    drawn = [batches_of(number, 30, 10) for number in range(4)]
    for _ in range(3):
        for training in (True, False):
            tasks = [
                EpochTask(model, batches.epoch(), training)
                for model, batches in zip(trained, drawn, strict=True)
            ]
            fuser.run(tasks)
    assert made == [True, False, False, False]
    assert [line.partition(": ")[2][:14] for line in lines] == ["train together", "evaluate toget"]


class Late(nn.Linear):
    """Draws in every third batch."""

    n_calls = 0

    def forward(self, X):
        self.n_calls += 1
        X = X.flatten(1)
        return super().forward(X + torch.randn_like(X) if self.n_calls % 3 == 0 else X)


def test_who_draws_later_than_in_the_first_batch_draws_from_its_own_stream():
    def train():
        modules = models(partial(Late, 16, 3), 3)
        optimizers = [torch.optim.SGD(m.parameters(), 0.1) for m in modules]
        batches = [batches_of(0, 40, 10)] * 3
        before = torch.get_rng_state()
        losses = train_together(modules, [nn.CrossEntropyLoss()] * 3, optimizers, batches, 2)
        assert torch.equal(before, torch.get_rng_state())
        return losses

    assert train() == train()
