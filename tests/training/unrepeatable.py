"""Modules that a recording can't repeat, or that look so: a table of classes and reasons."""

import random

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from tests.training.replays import N_CLASSES

REASONS: dict[type, str | None] = {}


def stays_eager(reason):
    """Note that a module stays eager, with a reason that begins so."""
    return lambda module: REASONS.setdefault(module, reason) and module


def is_repeated(module):
    """Note that a module is replayed."""
    REASONS[module] = None
    return module


class Net(nn.Module):
    """Two layers, and something between them."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, N_CLASSES)
        self.register_buffer("mean", torch.zeros(8))
        self.dropout, self.alpha = nn.Dropout(0.5), 1.0

    def between(self, hidden):
        return hidden

    def forward(self, X):
        return self.last(self.between(torch.relu(self.first(X))))


VALUES = "|".join(
    [
        "_local_scalar_dense depends on values",
        "(numpy|tolist|__array__|__dlpack__|apply_|tensor_split) depends on values",
        "(index|nonzero|_unique2|_pack_padded_sequence) depends on values",
    ]
)


@stays_eager(VALUES)
class Branches(Net):
    def between(self, hidden):
        return 2 * hidden if hidden.max() > 1.2 else hidden


@stays_eager(VALUES)
class ReadsAnItem(Net):
    def between(self, hidden):
        return hidden * hidden.detach().mean().item()


@stays_eager(VALUES)
class ReadsAList(Net):
    def between(self, hidden):
        return hidden * sum(hidden.detach()[0].tolist())


@stays_eager(VALUES)
class ReadsNumpy(Net):
    def between(self, hidden):
        return hidden * float(hidden.detach().numpy().mean())


@stays_eager(VALUES)
class ReadsAnArray(Net):
    def between(self, hidden):
        return hidden * float(np.asarray(hidden.detach()).mean())


@stays_eager(VALUES)
class ReadsByDLPack(Net):
    def between(self, hidden):
        return hidden * (2.0 if np.from_dlpack(hidden.detach()).max() > 1.2 else 1.0)


@stays_eager(VALUES)
class Masks(Net):
    def between(self, hidden):
        return hidden * hidden[hidden > 0.5].mean()


@stays_eager(VALUES)
class Nonzero(Net):
    def between(self, hidden):
        return hidden * len(hidden.nonzero())


@stays_eager(VALUES)
class Uniques(Net):
    def between(self, hidden):
        return hidden * len(hidden.round().unique())


@stays_eager(VALUES)
class SplitsAtATensor(Net):
    def between(self, hidden):
        few, rest = torch.tensor_split(hidden, (hidden[:, :1] > 0.8).sum(dim=0))
        return torch.cat([2 * few, rest])


@stays_eager(VALUES)
class AppliesPython(Net):
    def between(self, hidden):
        return hidden * hidden.detach().clone().apply_(lambda x: float(x > 0.5))


@stays_eager(VALUES)
class Packs(Net):
    def __init__(self):
        super().__init__()
        self.recurrent = nn.GRU(1, 8, batch_first=True)

    def between(self, hidden):
        lengths = 1 + (hidden > 0.5).sum(dim=1).clamp(max=7)
        packed = nn.utils.rnn.pack_padded_sequence(
            hidden[..., None], lengths, batch_first=True, enforce_sorted=False
        )
        return self.recurrent(packed)[1][0]


@stays_eager("its Linear has hooks")
class HooksALayer(Net):
    def __init__(self):
        super().__init__()
        self.first.register_forward_hook(lambda layer, args, output: 2 * output)


@stays_eager("module.first.weight has hooks")
class HooksAParameter(Net):
    def __init__(self):
        super().__init__()
        self.first.weight.register_hook(lambda gradient: 2 * gradient)


@is_repeated
class HooksAnActivation(Net):
    def between(self, hidden):
        hidden.register_hook(lambda gradient: 2 * gradient)
        return hidden


@stays_eager("it keeps something|what it reads changes")
class Counts(Net):
    n_calls = 0

    def between(self, hidden):
        self.n_calls += 1
        return hidden * (1 + self.n_calls % 3)


@stays_eager("it keeps something|what it reads changes")
class Flips(Net):
    def between(self, hidden):
        self.alpha = -self.alpha
        return hidden * (2 + self.alpha)


@stays_eager("it keeps something|it holds a Tensor")
class KeepsATensor(Net):
    def between(self, hidden):
        before, self.kept = getattr(self, "kept", hidden.detach()), hidden.detach()
        return hidden * before.mean()


@stays_eager("it keeps something|what it reads changes")
class AppendsToAList(Net):
    def __init__(self):
        super().__init__()
        self.sizes = []

    def between(self, hidden):
        self.sizes.append(len(hidden))
        return hidden * (1 + len(self.sizes) % 2)


@stays_eager("it keeps something|it holds|what it reads changes")
class CountsAtAFunction(Net):
    def __init__(self):
        super().__init__()
        counted.n_calls = 0

    def between(self, hidden):
        return counted(hidden)


def counted(hidden):
    counted.n_calls += 1
    return hidden * (1.0 if counted.n_calls < 12 else 0.5)


@stays_eager("it replaces|what it reads changes")
class ReplacesABuffer(Net):
    def between(self, hidden):
        self.mean = 0.9 * self.mean + 0.1 * hidden.detach().mean(dim=0)
        return hidden


@is_repeated
class WritesToABuffer(Net):
    def between(self, hidden):
        self.mean.mul_(0.9).add_(hidden.detach().mean(dim=0), alpha=0.1)
        return hidden - self.mean


@stays_eager("it replaces|what it reads changes")
class NormsItsWeights(Net):
    """Only where they have grown too large, which may be long after the trial."""

    def between(self, hidden):
        self.last.weight.data = torch.renorm(self.last.weight.data, 2, 0, 1.2)
        return hidden


@is_repeated
class ShrinksItsWeights(Net):
    def between(self, hidden):
        with torch.no_grad():
            self.last.weight.mul_(0.99)
        self.first.bias.data.clamp_(-0.4, 0.4)
        return hidden


@is_repeated
class WritesToItsInput(Net):
    def forward(self, X):
        return super().forward(X.mul_(0.9))


@stays_eager("it draws from")
class DrawsFromNumpy(Net):
    def between(self, hidden):
        return hidden * np.random.rand()


@stays_eager("it draws from")
class DrawsFromPython(Net):
    def between(self, hidden):
        return hidden * random.random()


@stays_eager("it holds a Generator")
class HasAGenerator(Net):
    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def between(self, hidden):
        return hidden * torch.rand(8, generator=self.generator)


@stays_eager("it draws from a generator of its own")
class MakesAGenerator(Net):
    def between(self, hidden):
        return hidden * torch.rand(8, generator=torch.Generator().manual_seed(0))


@stays_eager("replayed it computes something else")
class Seeds(Net):
    def between(self, hidden):
        torch.manual_seed(3)
        return self.dropout(hidden)


@stays_eager("replayed it computes something else")
class ForksTheNumbers(Net):
    def between(self, hidden):
        with torch.random.fork_rng():
            return self.dropout(hidden)


@stays_eager("replayed it computes something else")
class DrawsInVain(Net):
    def between(self, hidden):
        torch.rand(3)
        return hidden


@stays_eager("replayed it computes something else")
class ChecksPoint(Net):
    def between(self, hidden):
        return checkpoint(self.dropout, hidden, use_reentrant=False)


@stays_eager("it can't be recorded")
class ChecksPointReentrantly(Net):
    def between(self, hidden):
        return checkpoint(self.dropout, hidden, use_reentrant=True)


@is_repeated
class Penalizes(Net):
    def between(self, hidden):
        (slope,) = torch.autograd.grad(hidden.square().sum(), self.first.weight, create_graph=True)
        return hidden * (1 + slope.norm())


@stays_eager("it can't be recorded, it calls backward")
class CallsBackward(Net):
    def between(self, hidden):
        self.first.weight.square().sum().backward()
        return hidden


@is_repeated
class LooksForGradients(Net):
    def between(self, hidden):
        return hidden if self.first.weight.grad is None else 2 * hidden


@stays_eager("batches of some shapes train other parameters")
class TrainsByLength(Net):
    def __init__(self):
        super().__init__()
        self.other = nn.Linear(8, 8)

    def between(self, hidden):
        return hidden if len(hidden) > 7 else self.other(hidden)


@stays_eager("gradients are sparse")
class Sparse(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10, N_CLASSES, sparse=True)

    def forward(self, X):
        return self.embedding((3 * X.abs()).long().clamp(max=9)).sum(dim=1)


@stays_eager("it can't be recorded")
class SparseByFunction(Net):
    def between(self, hidden):
        return hidden + F.embedding((hidden[:, :2] > 1).long(), self.last.weight, sparse=True).sum(
            1
        )


@stays_eager("its code uses globals")
class ReadsAnything(Net):
    def between(self, hidden):
        return hidden * globals()["N_CLASSES"]


@stays_eager("it can't be replayed|replayed it computes")
class AddsUp(Net):
    """Writes to a tensor that is made of a number of Python."""

    def between(self, hidden):
        total = torch.tensor(0.0)
        for _ in range(2):
            total += hidden.mean()
        return hidden * total


@is_repeated
class IsFrozenInPart(Net):
    """Keeps a layer in eval mode."""

    def train(self, mode=True):
        super().train(mode)
        self.dropout.eval()
        return self

    def between(self, hidden):
        return self.dropout(hidden)
