"""Modules and optimizers for stacks, and their training by hand, alone and together."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sktorch.data.batches import Batches
from sktorch.data.rows import Rows
from sktorch.data.sources import as_source
from sktorch.fused.fuser import Fuser
from sktorch.training.randomness import RandomStream
from tests.fused.epochs import model_of, task_of

CPU = torch.device("cpu")
X = torch.randn(60, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
Y = torch.randint(3, (60,), generator=torch.Generator().manual_seed(1))


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


class InPlace(nn.Linear):
    """Writes to its input in training."""

    def forward(self, X):
        X = X.flatten(1)
        return super().forward(X.mul_(2) if self.training else X)


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
            return loss.detach()

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
                drawn = model.net.stream_.run(batches[number].epoch)
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
            drawn = stream.run(iter, batches[number])
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
