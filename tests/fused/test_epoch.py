"""One model's way through its batches, and what has to be the same to go together."""

import pytest
import torch
from torch import nn

from sktorch.fused.epoch import EpochTask, set_mode, shape_of
from sktorch.fused.stack import NotStackable
from sktorch.training.randomness import RandomStream
from tests.fused.epochs import EpochBatches

CPU = torch.device("cpu")


def drawn(n_rows=20, n_features=3, size=8):
    generator = torch.Generator().manual_seed(0)
    X, y = torch.randn(n_rows, n_features, generator=generator), torch.arange(n_rows) % 2
    return [(*part, None) for part in zip(X.split(size), y.split(size), strict=True)]


def a_pass(module=None, optimizer=torch.optim.SGD, batches=None, criterion=None, **options):
    module = nn.Linear(3, 2) if module is None else module
    optimizer = optimizer and optimizer(module.parameters())
    criterion = nn.CrossEntropyLoss() if criterion is None else criterion
    batches = drawn() if batches is None else batches
    return EpochTask(
        module, criterion, EpochBatches(batches), RandomStream(0, CPU), optimizer, **options
    )


def test_passes_of_one_kind():
    kinds = {a_pass().kind(), a_pass(optimizer=lambda p: torch.optim.SGD(p, lr=1)).kind()}
    assert len(kinds) == 1


def in_two_groups(first):
    def make(parameters):
        groups = [{"params": [p]} for p in parameters]
        return torch.optim.SGD(groups if first == "weight" else groups[::-1])

    return make


def test_passes_of_other_kinds():
    others = [
        a_pass(),
        a_pass(optimizer=torch.optim.Adam),
        a_pass(optimizer=None),
        a_pass(optimizer=in_two_groups("weight")),
        a_pass(optimizer=in_two_groups("bias")),
        a_pass(criterion=nn.NLLLoss()),
        a_pass(criterion=nn.CrossEntropyLoss(label_smoothing=0.1)),
        a_pass(clip_norm=1.0),
        a_pass(after_step=lambda: None),
        a_pass(batches=drawn(size=5)),
        a_pass(nn.Linear(3, 2).double(), batches=[(X.double(), y, w) for X, y, w in drawn()]),
    ]
    assert len({one.kind() for one in others}) == len(others)


def test_an_optimizer_that_does_not_stack_is_of_no_kind():
    with pytest.raises(NotStackable, match="LBFGS"):
        a_pass(optimizer=torch.optim.LBFGS).kind()


class FrozenNorm(nn.Sequential):
    """Its norm stays as it is, as many do who fine-tune."""

    def __init__(self):
        super().__init__(nn.Linear(3, 2), nn.BatchNorm1d(2))

    def train(self, mode=True):
        super().train(mode)
        self[1].eval()
        return self


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("make", [FrozenNorm, lambda: nn.Sequential(nn.Linear(3, 2), nn.Dropout())])
def test_the_mode_is_that_of_the_modules_own_method(make, training):
    one, other = make(), make()
    set_mode(one, training)
    other.train(training)
    assert [m.training for m in one.modules()] == [m.training for m in other.modules()]


def test_the_criterion_keeps_its_mode():
    criterion = nn.CrossEntropyLoss()
    a_pass(optimizer=None, criterion=criterion)
    assert criterion.training


def test_alone_it_is_a_plain_loop():
    torch.manual_seed(0)
    one = a_pass()
    reference = nn.Linear(3, 2)
    reference.load_state_dict(one.module.state_dict())
    optimizer = torch.optim.SGD(reference.parameters())
    losses = []
    for X, y, _ in drawn():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(reference(X), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    one.alone()
    assert one.losses == pytest.approx(losses)
    assert one.sizes == [8, 8, 4]
    assert one.is_over
    torch.testing.assert_close(one.module.state_dict(), reference.state_dict())


def test_dropout_alone_draws_from_the_stream_of_the_model():
    def losses(n_warm):
        torch.manual_seed(n_warm)
        module = nn.Sequential(nn.Linear(3, 2), nn.Dropout())
        nn.init.ones_(module[0].weight)
        nn.init.zeros_(module[0].bias)
        before = torch.get_rng_state()
        one = a_pass(module)
        one.alone()
        assert torch.equal(before, torch.get_rng_state())
        return one.losses

    assert losses(1) == losses(2)


def test_shapes_of_a_batch():
    shapes = shape_of(({"a": torch.zeros(5, 2, 3)}, torch.zeros(5, 2)))
    assert shapes == ((((2, 3), torch.float32, CPU),), (((2,), torch.float32, CPU),))
