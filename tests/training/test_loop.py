"""The free functions of the loop, each against the lines of a hand-written one."""

import copy

import pytest
import torch
from torch import nn

from sktorch.losses.adapters import LossFunction
from sktorch.training.loop import evaluate, infer, train_epoch
from sktorch.training.objective import Objective
from sktorch.training.precision import Precision
from sktorch.training.step import ClosureStep, make_step

LOSS = LossFunction(nn.CrossEntropyLoss())


def step_of(module, optimizer):
    objective = Objective(module, nn.CrossEntropyLoss())
    return make_step(objective, optimizer, Precision.named("float32", "cpu"))


def make_module(seed=0):
    """With dropout and batch norm, which train and eval mode tell apart."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2)
        )


def make_batches(n_batches=3, weighted=False):
    generator = torch.Generator().manual_seed(1)
    batches = []
    for size in range(6, 6 + n_batches):
        X = torch.randn(size, 3, generator=generator)
        weight = torch.rand(size, generator=generator) if weighted else None
        batches.append((X, (X[:, 0] > 0).long(), weight))
    return batches


def hand_written_step(module, optimizer, X, y, weight):
    optimizer.zero_grad()
    output = module(X)
    losses = nn.functional.cross_entropy(output, y, reduction="none")
    loss = nn.functional.cross_entropy(output, y) if weight is None else (losses * weight).mean()
    loss.backward()
    optimizer.step()
    return loss.item(), output.detach()


class Diary:
    """An observer that writes down what it is told."""

    def __init__(self):
        self.entries = []

    def before(self, batch):
        self.entries.append(("before", len(batch[1])))

    def on_gradient(self, batch):
        self.entries.append(("on_gradient", len(batch[1])))

    def after(self, batch, loss, output):
        assert not loss.requires_grad
        assert not output.requires_grad
        self.entries.append(("after", len(batch[1]), loss.item(), tuple(output.shape)))


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=0.05),
    "adamw, fused": lambda p: torch.optim.AdamW(p, lr=0.05, fused=True),
}


def run(module, optimizer, batches, **options):
    return train_epoch(module, step_of(module, optimizer), batches, **options)


def same_state(one, other):
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_train_epoch_is_the_hand_written_loop(name, weighted):
    module, batches = make_module(), make_batches(weighted=weighted)
    by_hand = copy.deepcopy(module).train()
    optimizer = OPTIMIZERS[name](by_hand.parameters())
    torch.manual_seed(5)
    expected = [hand_written_step(by_hand, optimizer, *batch)[0] for batch in batches]

    torch.manual_seed(5)
    losses, sizes = run(module, OPTIMIZERS[name](module.parameters()), batches)
    assert losses == expected
    assert all(isinstance(loss, float) for loss in losses)
    assert sizes == [6, 7, 8]
    assert same_state(module, by_hand)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_observer_changes_nothing_and_sees_every_batch(name):
    module, batches, diary = make_module(), make_batches(2), Diary()
    alone = copy.deepcopy(module)
    torch.manual_seed(5)
    expected = run(alone, OPTIMIZERS[name](alone.parameters()), batches)
    torch.manual_seed(5)
    observed = run(module, OPTIMIZERS[name](module.parameters()), batches, observer=diary)
    assert observed == expected
    assert same_state(module, alone)
    losses, _ = expected
    assert diary.entries == [
        ("before", 6),
        ("on_gradient", 6),
        ("after", 6, losses[0], (6, 2)),
        ("before", 7),
        ("on_gradient", 7),
        ("after", 7, losses[1], (7, 2)),
    ]


def test_no_batches_are_no_losses():
    module = make_module()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    before = copy.deepcopy(module)
    assert run(module, optimizer, []) == ([], [])
    assert same_state(module, before)


def test_train_step_gives_loss_and_output_of_before_the_step():
    module, (batch, *_) = make_module(), make_batches(1)
    by_hand = copy.deepcopy(module)
    torch.manual_seed(5)
    expected_loss, expected_output = hand_written_step(
        by_hand, torch.optim.SGD(by_hand.parameters(), lr=0.1), *batch
    )
    gradients = []
    torch.manual_seed(5)
    step = step_of(module, torch.optim.SGD(module.parameters(), lr=0.1))
    loss, output = step(
        batch, on_gradient=lambda _: gradients.append([p.grad.clone() for p in module.parameters()])
    )
    assert loss.item() == expected_loss
    assert torch.equal(output, expected_output)
    assert not loss.requires_grad
    assert len(gradients) == 1
    for gradient, parameter in zip(gradients[0], by_hand.parameters(), strict=True):
        assert torch.equal(gradient, parameter.grad)


def test_gradients_are_ready_before_the_step_and_may_be_changed():
    module, batches = make_module(), make_batches(1)
    before = [parameter.detach().clone() for parameter in module.parameters()]

    class Freeze(Diary):
        def on_gradient(self, batch):
            for parameter in module.parameters():
                parameter.grad.zero_()

    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    run(module, optimizer, batches, observer=Freeze())
    for parameter, old in zip(module.parameters(), before, strict=True):
        assert torch.equal(parameter, old)


def test_lbfgs_lowers_the_loss_through_its_closure():
    module = nn.Linear(3, 2)
    batches, diary = make_batches(1), Diary()
    optimizer = torch.optim.LBFGS(module.parameters(), lr=0.5, max_iter=5)
    initial = nn.functional.cross_entropy(module(batches[0][0]), batches[0][1]).item()
    curve = [run(module, optimizer, batches, observer=diary)[0] for _ in range(5)]
    assert curve[0] == [initial], "the loss of before the step"
    assert curve[-1][0] < 0.2 * initial
    kinds = [entry[0] for entry in diary.entries]
    assert kinds.count("before") == kinds.count("after") == 5
    assert kinds.count("on_gradient") > 5, "several evaluations a step"


class Demanding(torch.optim.SGD):
    def step(self, closure):
        return super().step(closure)


@pytest.mark.parametrize(
    ("kind", "closure"),
    [
        (torch.optim.LBFGS, True),
        (Demanding, True),
        (torch.optim.SGD, False),
        (torch.optim.AdamW, False),
        (torch.optim.RMSprop, False),
    ],
)
def test_which_optimizers_get_a_closure(kind, closure):
    module = nn.Linear(3, 2)
    step = step_of(module, kind(module.parameters(), lr=0.1))
    assert isinstance(step, ClosureStep) == closure
    (batch,) = make_batches(1)
    expected = nn.functional.cross_entropy(module(batch[0]), batch[1]).item()
    loss, output = step(batch)
    assert loss.item() == pytest.approx(expected)
    assert output.shape == (6, 2)


def test_gradients_of_one_batch_do_not_leak_into_the_next():
    module = nn.Linear(3, 2)
    batch, *_ = make_batches(1)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.0)
    seen = []

    class Gradients(Diary):
        def on_gradient(self, batch):
            seen.append(module.weight.grad.clone())

    run(module, optimizer, [batch, batch], observer=Gradients())
    assert torch.equal(*seen)


@pytest.mark.parametrize("weighted", [False, True])
def test_evaluate(weighted):
    module, batches, diary = make_module().train(), make_batches(weighted=weighted), Diary()
    before = copy.deepcopy(module)
    objective = Objective(module, nn.CrossEntropyLoss())
    losses, sizes, outputs = evaluate(objective, batches, observer=diary)

    assert not module.training
    assert same_state(module, before), "batch norm's statistics stay"
    with torch.no_grad():
        expected = [before.eval()(X) for X, _, _ in batches]
    assert torch.equal(outputs, torch.cat(expected))
    assert not outputs.requires_grad
    assert sizes == [6, 7, 8]
    assert losses == [
        LOSS(output, y, weight).item()
        for output, (_, y, weight) in zip(expected, batches, strict=True)
    ]
    assert [entry[0] for entry in diary.entries] == ["before", "after"] * 3
    assert all(parameter.grad is None for parameter in module.parameters())


def test_infer():
    module = make_module().train()
    inputs = [X for X, _, _ in make_batches()]
    outputs = infer(module, iter(inputs), 21)
    assert not module.training
    assert outputs.shape == (21, 2)
    assert not outputs.requires_grad
    assert torch.equal(outputs, torch.cat([module(X) for X in inputs]))
    assert torch.is_grad_enabled()


def test_infer_puts_a_single_layer_in_eval_mode():
    module = make_module().eval()
    module[3].train()
    (X, _, _), *_ = make_batches()
    outputs = infer(module, [X], len(X))
    assert not module[3].training
    assert torch.equal(outputs, module(X))


def test_outputs_of_infer_are_never_a_tensor_of_the_module():
    module = nn.Identity()
    X = torch.ones(4, 3)
    for n_rows in (4, None):
        infer(module, [X], n_rows).zero_()
    assert X.all()


@pytest.mark.parametrize("shape", [(3,), (4,), (2, 2)])
def test_infer_keeps_shape_and_dtype_of_the_outputs(shape):
    module = nn.Unflatten(1, shape) if len(shape) > 1 else nn.Identity()
    inputs = torch.arange(5.0 * torch.Size(shape).numel(), dtype=torch.float64).reshape(5, -1)
    outputs = infer(module, inputs.split(2), 5)
    assert outputs.dtype is torch.float64
    assert torch.equal(outputs, inputs.reshape(5, *shape))


def test_outputs_of_infer_may_be_used_for_gradients():
    module = nn.Linear(3, 2)
    outputs = infer(module, [torch.ones(4, 3)], 4)
    scale = torch.ones(2, requires_grad=True)
    (outputs * scale).sum().backward()
    torch.testing.assert_close(scale.grad, outputs.sum(0))
