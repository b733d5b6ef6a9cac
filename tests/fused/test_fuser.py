"""Models trained together, against hand-written loops of each altask."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sktorch.data.batches import Batches
from sktorch.data.rows import Rows
from sktorch.data.sources import as_source
from sktorch.fused import fuser as fuser_module
from sktorch.fused import trial
from sktorch.fused.epoch import EpochTask
from sktorch.fused.fuser import Fuser
from sktorch.training.randomness import RandomStream
from tests.fused.epochs import EpochBatches, model_of, task_of
from tests.fused.greedy import Greedy

CPU = torch.device("cpu")
X = torch.randn(60, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
Y = torch.randint(3, (60,), generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def no_step_is_large(monkeypatch):
    """No test depends on the time that a step takes."""
    monkeypatch.setattr(trial, "MAX_ALONE_SECONDS", float("inf"))


class Normed(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3)
        )


class Recurrent(nn.Module):
    def __init__(self, kind=nn.GRU):
        super().__init__()
        self.cell, self.head = kind(4, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, X):
        return self.head(self.cell(X.flatten(1, 2))[0][:, -1])


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention, self.norm = nn.MultiheadAttention(4, 2, batch_first=True), nn.LayerNorm(4)
        self.head = nn.Linear(4, 3)

    def forward(self, X):
        X = X.flatten(1, 2)
        return self.head(self.norm(self.attention(X, X, X)[0]).mean(1))


class Tied(nn.Module):
    """Two layers of one weight, one that is never used, and a frozen task."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(16, 16), nn.Linear(16, 16)
        self.second.weight = self.first.weight
        self.unused, self.head = nn.Linear(2, 2), nn.Linear(16, 3)
        self.head.bias.requires_grad_(False)

    def forward(self, X):
        return self.head(self.second(self.first(X.flatten(1)).tanh()))


class Deciding(nn.Linear):
    """Looks at its data."""

    def forward(self, X):
        X = X.flatten(1)
        return super().forward(X if X.sum() > 0 else -X)


class Counting(nn.Linear):
    """Assigns a buffer anew, which a functional call does not see."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.register_buffer("n_calls", torch.zeros(()))

    def forward(self, X):
        if self.training:
            self.n_calls = self.n_calls + 1
        return super().forward(X.flatten(1)) * (1 + self.n_calls)


def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 7), nn.ReLU(), nn.Linear(7, 3))


MODULES = {
    "mlp": mlp,
    "normed": Normed,
    "gru": Recurrent,
    "lstm": partial(Recurrent, nn.LSTM),
    "attention": Attending,
    "tied": Tied,
    "deciding": partial(Deciding, 16, 3),
    "counting": partial(Counting, 16, 3),
}
OPTIMIZERS = {
    "adam": lambda p, lr: torch.optim.Adam(p, lr, fused=True),
    "amsgrad": lambda p, lr: torch.optim.Adam(p, lr, amsgrad=True, weight_decay=lr),
    "adamw": lambda p, lr: torch.optim.AdamW(p, lr, betas=(0.8, 0.9)),
    "sgd": torch.optim.SGD,
    "momentum": lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9, nesterov=True),
    "rmsprop": lambda p, lr: torch.optim.RMSprop(p, lr, momentum=0.5, centered=True),
    "adagrad": torch.optim.Adagrad,
    "adadelta": torch.optim.Adadelta,
    "adamax": torch.optim.Adamax,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "asgd": torch.optim.ASGD,
    "rprop": torch.optim.Rprop,
    "lbfgs": lambda p, lr: torch.optim.LBFGS(p, lr, max_iter=2),
}


def models(make, n_models):
    torch.manual_seed(0)
    return [make().double() for _ in range(n_models)]


def batches_of(number, n_rows, batch_size, shuffle=True, weights=None):
    index = torch.arange(number, number + n_rows)
    return Batches(
        Rows(as_source(X), X.dtype, CPU), Y, weights, index, batch_size=batch_size, shuffle=shuffle
    )


def loop(module, criterion, optimizer, batches, clip_norm=None):
    """An epoch, written by hand."""
    module.train()
    losses = []
    for batch in batches:

        def closure(X, y, weight):
            optimizer.zero_grad()
            output = module(X)
            if weight is None:
                loss = criterion(output, y)
            else:
                loss = (F.cross_entropy(output, y, reduction="none") * weight).mean()
            loss.backward()
            if clip_norm is not None:
                nn.utils.clip_grad_norm_(module.parameters(), clip_norm)
            return loss

        if isinstance(optimizer, torch.optim.LBFGS):
            losses.append(optimizer.step(partial(closure, *batch)).item())
        else:
            losses.append(closure(*batch).item())
            optimizer.step()
    return losses


def train_together(modules, criteria, optimizers, batches, n_epochs, *, fuser=None, **settings):
    fuser = fuser or Fuser(1)
    streams = [RandomStream(number, CPU) for number in range(len(modules))]
    each = zip(modules, optimizers, criteria, streams, strict=True)
    trained = [model_of(*parts, **settings) for parts in each]
    losses = [[] for _ in modules]
    for epoch in range(n_epochs):
        tasks = {}
        for number, model in enumerate(trained):
            if epoch < n_epochs - number % 2:  # every second one stops an epoch earlier
                with model.net.stream_:
                    drawn = batches[number].epoch()
                key = id(batches[number]), drawn.seed
                tasks[number] = task_of(model, drawn, data_key=key)
        fuser.run([*tasks.values()])
        for number, task in tasks.items():
            assert task.error is None, task.error
            losses[number] += task.losses
    return losses


def train_alone(modules, criteria, optimizers, batches, n_epochs, clip_norm=None):
    losses = []
    for number, module in enumerate(modules):
        stream, own = RandomStream(number, CPU), []
        for _ in range(n_epochs - number % 2):
            with stream:
                drawn = iter(batches[number])
            own += loop(module, criteria[number], optimizers[number], drawn, clip_norm)
        losses.append(own)
    return losses


def assert_same_training(make, make_optimizer, batches, criteria=None, n_epochs=3, clip_norm=None):
    lines = []
    together = models(make, len(batches))
    alone = copy.deepcopy(together)
    criteria = criteria or [nn.CrossEntropyLoss()] * len(batches)
    trained = []
    for modules in (together, alone):
        optimizers = [
            make_optimizer([p for p in m.parameters() if p.requires_grad], 0.01 * (1 + n // 2))
            for n, m in enumerate(modules)
        ]
        trained.append((modules, criteria, optimizers, batches, n_epochs))
    losses = train_together(*trained[0], fuser=Fuser(2, lines.append), gradient_clip=clip_norm)
    expected = train_alone(*trained[1], clip_norm)
    for got, wanted in zip(losses, expected, strict=True):
        assert got == pytest.approx(wanted, rel=1e-9, abs=1e-9)
    for first, second in zip(together, alone, strict=True):
        first.eval(), second.eval()
        torch.testing.assert_close(first(X), second(X), rtol=1e-9, atol=1e-9)
    return lines, trained[0][2], trained[1][2]


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


def test_trainedown_their_memory():
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


def test_masks_differ_between_trainedand_come_again_with_the_same_seeds():
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


class Wide(nn.Linear):
    def forward(self, X):
        return Greedy.apply(super().forward(X.flatten(1)))


def test_out_of_memory_halves_the_stack(monkeypatch):
    monkeypatch.setattr(trial, "MAX_TIME_RATIO", float("inf"))
    batches = [batches_of(number, 30, 10) for number in range(7)]
    lines, *_ = assert_same_training(partial(Wide, 16, 3), OPTIMIZERS["adam"], batches)
    assert "together, 2 in a stack" in lines[0]


class FrozenNorm(Normed):
    """Trains everything but its batch norm."""

    def train(self, mode=True):
        super().train(mode)
        self[1].eval()
        return self


class Holding(nn.Linear):
    """Keeps a layer where torch does not look for it."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.others = [nn.Linear(sizes[0], sizes[0]).double()]

    def forward(self, X):
        return super().forward(self.others[0](X.flatten(1)))


@pytest.mark.parametrize("module", [FrozenNorm, partial(Holding, 16, 3)])
def test_modules_with_ways_of_their_own(module):
    batches = [batches_of(number, 30, 10) for number in range(5)]
    assert_same_training(module, OPTIMIZERS["adam"], batches)


def test_hooks_of_parameters_are_called():
    modules = models(mlp, 4)
    for module in modules:
        module[1].weight.register_hook(lambda gradient: gradient * (torch.arange(16) % 2))
    before = [module[1].weight.detach().clone() for module in modules]
    optimizers = [torch.optim.SGD(m.parameters(), 0.1) for m in modules]
    batches = [batches_of(0, 30, 10)] * 4
    train_together(modules, [nn.CrossEntropyLoss()] * 4, optimizers, batches, 2)
    for module, weight in zip(modules, before, strict=True):
        assert torch.equal(module[1].weight[:, ::2], weight[:, ::2])
        assert not torch.equal(module[1].weight[:, 1::2], weight[:, 1::2])


def test_tasks_that_nobody_waits_for_end():
    modules = models(mlp, 4)
    asked = iter([False] * 20 + [True] * 1000)
    tasks = [
        task_of(
            model_of(m, torch.optim.SGD(m.parameters())),
            EpochBatches(batches_of(0, 60, 1)),
            cancelled=lambda: next(asked),
        )
        for m in modules
    ]
    Fuser(1).run(tasks)
    assert all(not task.is_over and len(task.sizes) < 60 for task in tasks)


class Coded(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(8, 3))


class Indexed(nn.Linear):
    def __init__(self):
        super().__init__(8, 3)
        self.table = nn.Parameter(torch.randn(5, 4))

    def forward(self, X):
        return super().forward(self.table[X].flatten(1))


def with_codes(codes):
    rows = Rows(as_source(codes), codes.dtype, CPU)
    index = torch.arange(len(codes))
    return Batches(rows, Y[index], None, index, batch_size=10, shuffle=False)


@pytest.mark.parametrize("make", [Coded, Indexed])
def test_rows_that_fail_in_a_later_batch_are_the_failure_of_their_model(make, monkeypatch):
    monkeypatch.setattr(trial, "MAX_TIME_RATIO", float("inf"))
    codes = torch.arange(60).reshape(30, 2) % 5
    unknown = codes.clone()
    unknown[25] = 7
    together = models(make, 5)
    alone = copy.deepcopy(together)
    batches = [with_codes(unknown if number == 1 else codes).epoch() for number in range(5)]
    batches[3] = EpochBatches([*[*with_codes(codes)][:2], OSError("unreadable")])
    criterion = nn.CrossEntropyLoss()
    tasks = [
        task_of(model_of(m, torch.optim.Adam(m.parameters())), drawn)
        for m, drawn in zip(together, batches, strict=True)
    ]
    lines = []
    Fuser(1, lines.append).run(tasks)
    assert "together, 5 in a stack" in lines[0]
    if make is Indexed:
        assert isinstance(tasks[1].error, IndexError)
    else:  # Alone, an embedding would raise that too.
        finite = torch.tensor(tasks[1].losses).isfinite()
        assert finite.tolist() == [True, True, False]
    assert isinstance(tasks[3].error, OSError)
    for number in (0, 2, 4):
        assert tasks[number].error is None
        optimizer = torch.optim.Adam(alone[number].parameters())
        losses = loop(alone[number], criterion, optimizer, with_codes(codes))
        assert tasks[number].losses == pytest.approx(losses, rel=1e-9)
        assert tasks[number].sizes == [10, 10, 10]
        states = together[number].state_dict(), alone[number].state_dict()
        torch.testing.assert_close(*states, rtol=1e-9, atol=1e-9)


class Endless(nn.Linear):
    """Holds what can't be looked through."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.loop = []
        self.loop.append(self.loop)

    def forward(self, X):
        return super().forward(X.flatten(1))


def test_a_module_that_cannot_be_looked_at_trains_alone():
    batches = [batches_of(number, 30, 10) for number in range(3)]
    lines, *_ = assert_same_training(partial(Endless, 16, 3), OPTIMIZERS["sgd"], batches)
    assert "alone: maximum recursion depth" in lines[0]


def test_float16_and_other_shapes_go_alone():
    lines = []
    module, other = models(mlp, 2)
    wider = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    tasks = [
        task_of(
            model_of(m, torch.optim.SGD(m.parameters()), precision=precision),
            batches_of(0, 20, 10).epoch(),
        )
        for m, precision in ((module, "float16"), (wider, "float32"), (other, "float32"))
    ]
    Fuser(1, lines.append).run(tasks)
    assert [task.error for task in tasks] == [None] * 3
    assert sum("gradient scaler" in line for line in lines) == 1
    assert sum("no other of its kind" in line for line in lines) == 2


def test_an_error_of_a_model_alone_is_its_own():
    modules = [*models(mlp, 3), nn.Sequential(nn.Flatten(), nn.Linear(5, 3)).double()]
    tasks = [
        task_of(model_of(m, torch.optim.SGD(m.parameters())), batches_of(0, 20, 10).epoch())
        for m in modules
    ]
    Fuser(1).run(tasks)
    assert [task.error is None for task in tasks] == [True, True, True, False]
    assert "shapes" in str(tasks[3].error)


class InPlace(nn.Linear):
    """Writes to its input in training."""

    def forward(self, X):
        X = X.flatten(1)
        return super().forward(X.mul_(2) if self.training else X)


@pytest.mark.parametrize("make", [partial(InPlace, 16, 3), mlp, partial(Deciding, 16, 3)])
@pytest.mark.parametrize("together", [True, False])
def test_trainedon_the_same_way_get_its_batches_each(make, together, monkeypatch):
    monkeypatch.setattr(trial, "MAX_TIME_RATIO", float("inf") if together else 0)
    whole, part = batches_of(0, 37, 10), batches_of(0, 30, 10)
    batches = [whole, part, whole, whole, part, batches_of(0, 37, 10)]
    assert_same_training(make, OPTIMIZERS["adam"], batches)


def test_what_several_trainedneed_is_fetched_once():
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
    assert len(made) == 1 + changed
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


def test_a_pass_alone_that_writes_to_its_batches_writes_to_its_own():
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
