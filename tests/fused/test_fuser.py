"""Models trained together, against hand-written loops of each alone."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sktorch.fused import trial
from sktorch.fused.fuser import Fuser
from tests.fused.epochs import model_of, task_of
from tests.fused.training import (
    MODULES,
    OPTIMIZERS,
    Normed,
    X,
    Y,
    assert_same_training,
    batches_of,
    mlp,
    models,
    train_together,
)

pytestmark = pytest.mark.usefixtures("no_step_is_large")


@pytest.mark.parametrize("name", MODULES)
def test_a_model_is_the_one_trained_alone(name, monkeypatch):
    monkeypatch.setattr(trial, "MAX_TIME_RATIO", float("inf"))
    batches = [batches_of(number, 40 + number, 12) for number in range(6)]
    lines, *_ = assert_same_training(MODULES[name], OPTIMIZERS["adam"], batches)
    together = any("train together" in line for line in lines) and "error" not in "".join(lines)
    assert together == (name not in ("deciding", "counting"))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_any_optimizer(name):
    batches = [batches_of(number, 30, 12) for number in range(6)]
    lines, own, alone = assert_same_training(mlp, OPTIMIZERS[name], batches)
    assert any("together" in line for line in lines) == (name != "lbfgs")
    for first, second in zip(own, alone, strict=True):
        states = first.state_dict()["state"], second.state_dict()["state"]
        torch.testing.assert_close(*states, rtol=1e-7, atol=1e-9)


def test_loss_parameters_weights_and_clipping_of_each_model():
    weights = torch.rand(60, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    weighted = [batches_of(number, 30, 12, weights=weights) for number in range(4)]
    lines, *_ = assert_same_training(mlp, OPTIMIZERS["adam"], weighted, clip_norm=0.1)
    assert "together, 4 in a stack" in lines[0]
    plain = [batches_of(number, 30, 12) for number in range(8)]
    criteria = [
        nn.CrossEntropyLoss(
            weight=torch.tensor([1.0, 2, 3 + number], dtype=torch.float64),
            label_smoothing=0.1 * (number % 2),
        )
        for number in range(8)
    ]
    lines, *_ = assert_same_training(mlp, OPTIMIZERS["momentum"], plain, criteria)
    assert "4 in a stack" in lines[0]


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(["mlp", "normed", "tied", "attention"]),
    optimizer=st.sampled_from(["adam", "sgd", "momentum", "adamw", "rmsprop"]),
    sizes=st.lists(st.integers(10, 40), min_size=1, max_size=7),
    batch_size=st.integers(3, 50),
    shuffle=st.booleans(),
)
def test_any_mixture(name, optimizer, sizes, batch_size, shuffle):
    batches = [batches_of(n, size, batch_size, shuffle) for n, size in enumerate(sizes)]
    assert_same_training(MODULES[name], OPTIMIZERS[optimizer], batches, n_epochs=2)


def test_models_own_their_memory():
    modules = models(mlp, 5)
    optimizers = [torch.optim.Adam(m.parameters()) for m in modules]
    batches = [batches_of(0, 30, 10)] * 5
    train_together(modules, [nn.CrossEntropyLoss()] * 5, optimizers, batches, 2)
    for module, optimizer in zip(modules, optimizers, strict=True):
        tensors = [*module.parameters()]
        tensors += [t for state in optimizer.state.values() for t in state.values()]
        assert all(t.untyped_storage().nbytes() == t.nbytes for t in tensors)
    assert len({id(state["step"]) for o in optimizers for state in o.state.values()}) == 20


def test_evaluation_gives_losses_and_outputs_of_each_model():
    modules = models(Normed, 5)
    batches = [batches_of(number, 30 - number, 12, shuffle=False) for number in range(5)]
    before = copy.deepcopy([m.state_dict() for m in modules])
    tasks = [
        task_of(model_of(module), drawn.epoch())
        for module, drawn in zip(modules, batches, strict=True)
    ]
    Fuser(2).run(tasks)
    for number, (task, module) in enumerate(zip(tasks, modules, strict=True)):
        index = slice(number, 30)
        outputs = torch.cat(task.outputs)
        torch.testing.assert_close(outputs, module(X[index]), rtol=1e-9, atol=1e-9)
        assert task.sizes == [12, 12, 6 - number]
        mean = sum(a * b for a, b in zip(task.losses, task.sizes, strict=True)) / sum(task.sizes)
        assert mean == pytest.approx(F.cross_entropy(outputs, Y[index]).item(), rel=1e-9)
        torch.testing.assert_close(module.state_dict(), before[number], rtol=0, atol=0)


def dropout_net():
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 50), nn.Dropout(0.5), nn.Linear(50, 3))


def test_masks_differ_between_models_and_come_again_with_the_same_seeds():
    def train():
        modules = [copy.deepcopy(module) for module in models(dropout_net, 1) * 6]
        optimizers = [torch.optim.SGD(m.parameters(), 0.1) for m in modules]
        batches = [batches_of(0, 40, 10, shuffle=False)] * 6
        lines = []
        criteria = [nn.CrossEntropyLoss()] * 6
        fuser = Fuser(2, lines.append)
        before = torch.get_rng_state()
        losses = train_together(modules, criteria, optimizers, batches, 2, fuser=fuser)
        assert torch.equal(torch.get_rng_state(), before)
        return losses, lines

    losses, lines = train()
    assert "together" in lines[0]
    assert len({tuple(own) for own in losses}) == 6
    assert train()[0] == losses


def test_a_loss_that_is_not_finite_stays_with_its_model():
    modules = models(mlp, 4)
    with torch.no_grad():
        modules[1][1].weight.fill_(torch.nan)
    optimizers = [torch.optim.Adam(m.parameters()) for m in modules]
    batches = [batches_of(0, 30, 10)] * 4
    losses = train_together(modules, [nn.CrossEntropyLoss()] * 4, optimizers, batches, 2)
    finite = [torch.tensor(own).isfinite().all().item() for own in losses]
    assert finite == [True, False, True, True]
