"""One model's way through its batches, and what has to be the same to go together."""

from functools import partial

import pytest
import torch
from torch import nn

from sktorch.fused.epoch import shapes_of_rows
from sktorch.losses.adapters import FunctionLoss
from sktorch.training.fingerprint import NotStackable
from tests.fused.epochs import EpochBatches, model_of, task_of

CPU = torch.device("cpu")


def drawn(n_rows=20, n_features=3, size=8):
    generator = torch.Generator().manual_seed(0)
    X, y = torch.randn(n_rows, n_features, generator=generator), torch.arange(n_rows) % 2
    return [(*part, None) for part in zip(X.split(size), y.split(size), strict=True)]


def a_task(
    module=None,
    optimizer=torch.optim.SGD,
    batches=None,
    criterion=None,
    after_step=None,
    **settings,
):
    module = nn.Linear(3, 2) if module is None else module
    optimizer = optimizer and optimizer(module.parameters())
    batches = drawn() if batches is None else batches
    model = model_of(module, optimizer, criterion, **settings)
    return task_of(model, EpochBatches(batches), after_step=after_step)


def test_tasks_with_one_key():
    keys = {a_task(optimizer=partial(torch.optim.SGD, lr=lr)).stack_key() for lr in (0.1, 1)}
    assert len(keys) == 1


def in_two_groups(first):
    def make(parameters):
        groups = [{"params": [p]} for p in parameters]
        return torch.optim.SGD(groups if first == "weight" else groups[::-1])

    return make


def test_tasks_with_other_keys():
    others = [
        a_task(),
        a_task(optimizer=torch.optim.Adam),
        a_task(optimizer=None),
        a_task(optimizer=in_two_groups("weight")),
        a_task(optimizer=in_two_groups("bias")),
        a_task(criterion=nn.NLLLoss()),
        a_task(criterion=nn.CrossEntropyLoss(label_smoothing=0.1)),
        a_task(gradient_clip=1.0),
        a_task(after_step=lambda: None),
        a_task(batches=drawn(size=5)),
        a_task(nn.Linear(3, 2).double(), batches=[(X.double(), y, w) for X, y, w in drawn()]),
    ]
    assert len({task.stack_key() for task in others}) == len(others)


def test_an_optimizer_that_does_not_stack_has_no_key():
    with pytest.raises(NotStackable, match="LBFGS"):
        a_task(optimizer=torch.optim.LBFGS).stack_key()


def test_the_criterion_keeps_its_mode():
    criterion = nn.CrossEntropyLoss()
    a_task(optimizer=None, criterion=criterion)
    assert criterion.training


def test_alone_it_is_a_plain_loop():
    torch.manual_seed(0)
    task = a_task()
    reference = nn.Linear(3, 2)
    reference.load_state_dict(task.model.net.module_.state_dict())
    optimizer = torch.optim.SGD(reference.parameters())
    losses = []
    for X, y, _ in drawn():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(reference(X), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    task.run_alone()
    assert task.losses == pytest.approx(losses)
    assert task.sizes == [8, 8, 4]
    assert task.is_over
    torch.testing.assert_close(task.model.net.module_.state_dict(), reference.state_dict())


def test_dropout_alone_draws_from_the_stream_of_the_model():
    def losses(n_warm):
        torch.manual_seed(n_warm)
        module = nn.Sequential(nn.Linear(3, 2), nn.Dropout())
        nn.init.ones_(module[0].weight)
        nn.init.zeros_(module[0].bias)
        before = torch.get_rng_state()
        task = a_task(module)
        task.run_alone()
        assert torch.equal(before, torch.get_rng_state())
        return task.losses

    assert losses(1) == losses(2)


def test_shapes_of_rows():
    block = {"a": torch.zeros(5, 2, 3)}, torch.zeros(5, dtype=torch.int64), None
    assert [*shapes_of_rows(block)] == [((2, 3), torch.float32, CPU), ((), torch.int64, CPU), None]


@pytest.mark.parametrize(
    ("weighted", "training", "criterion", "sizes"),
    [
        (True, True, nn.CrossEntropyLoss(), [8, 8, 8]),
        (True, False, nn.CrossEntropyLoss(), [8, 8, 4]),
        (False, True, nn.CrossEntropyLoss(), [8, 8, 4]),
        (True, True, FunctionLoss(nn.functional.cross_entropy), [8, 8, 4]),
    ],
    ids=["filled_up", "evaluation", "unweighted", "own_loss"],
)
def test_rows_of_batches_in_a_stack(weighted, training, criterion, sizes):
    batches = [(X, y, torch.ones(len(y)) if weighted else None) for X, y, _ in drawn()]
    optimizer = torch.optim.SGD if training else None
    task, found = a_task(batches=batches, criterion=criterion, optimizer=optimizer), []
    while task.n_rows:
        X, *_ = task.next_batch()
        assert len(X) == task.n_rows
        found.append(task.n_rows)
        task.n_done += 1
    assert found == sizes
    assert task.sizes == [8, 8, 4]


def test_alone_no_row_is_added():
    def train(batches):
        torch.manual_seed(0)
        task = a_task(batches=batches)
        task.run_alone()
        return task.losses

    weighted = [(X, y, torch.ones(len(y))) for X, y, _ in drawn()]
    assert train(weighted) == pytest.approx(train(drawn()))
