"""A module begins its training as its constructor left it: nothing was tried on it before."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from sktorch import TorchClassifier

RNG = np.random.default_rng(0)
X = RNG.normal(5, 3, (60, 4)).astype(np.float32)
y = np.arange(60) % 2


def net(module, **parameters):
    defaults = {"max_epochs": 1, "batch_size": 60, "random_state": 0, "lr": 1e-6}
    return TorchClassifier(module, **defaults | parameters)


class Counting(nn.Module):
    """Counts its calls in a buffer and in a plain attribute."""

    def __init__(self, n_features=4, n_outputs=2):
        super().__init__()
        self.output = nn.Linear(n_features, n_outputs)
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.rows = []

    def forward(self, X):
        self.calls += 1
        self.rows.append(len(X))
        return self.output(X)


def test_a_module_is_called_once_a_batch():
    fitted = net(Counting, max_epochs=3, batch_size=20, tol=-np.inf).fit(X, y)
    assert fitted.module_.calls == 9
    assert fitted.module_.rows == [20] * 9


def test_a_module_is_called_once_a_batch_of_validation_too():
    fitted = net(Counting, validation=(X[:10], y[:10])).fit(X, y)
    assert fitted.module_.rows == [60, 10]


def test_partial_fit_calls_a_module_once_a_batch():
    fitted = net(Counting).partial_fit(X, y, classes=[0, 1]).partial_fit(X, y)
    assert fitted.module_.calls == 2


def test_an_instance_that_is_passed_is_not_called():
    module = Counting()
    fitted = net(module).fit(X, y)
    assert module.calls == 0
    assert module.rows == []
    assert fitted.module_.calls == 1


def test_hooks_are_called_once_a_batch():
    class Hooked(nn.Linear):
        def __init__(self, n_features, n_outputs):
            super().__init__(n_features, n_outputs)
            self.called = []
            self.register_forward_pre_hook(lambda module, args: self.called.append(1))

    assert net(Hooked).fit(X, y).module_.called == [1]


def test_a_loss_is_called_once_a_batch():
    calls = []

    def loss(output, target):
        calls.append(len(target))
        return nn.functional.cross_entropy(output, target)

    net(nn.Linear, module__in_features=4, module__out_features=2, criterion=loss).fit(X, y)
    assert calls == [60]


class ActNorm(nn.Module):
    """Sets mean and scale by the first batch that it sees, as in Glow."""

    refuses_eval = False

    def __init__(self, n_features, n_outputs):
        super().__init__()
        self.register_buffer("started", torch.tensor(False))
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("std", torch.ones(n_features))
        self.output = nn.Linear(n_features, n_outputs)

    def forward(self, X):
        if not self.started:
            if self.refuses_eval and not self.training:
                raise RuntimeError("not started yet: call it in train mode first")
            self.mean.copy_(X.mean(0))
            self.std.copy_(X.std(0))
            self.started.fill_(True)
        return self.output((X - self.mean) / self.std)


class StartsInTraining(ActNorm):
    refuses_eval = True


class RefusesByAssertion(ActNorm):
    def forward(self, X):
        assert self.started or self.training
        return super().forward(X)


class RefusesByValue(ActNorm):
    def forward(self, X):
        if not (self.started or self.training):
            raise ValueError("not fitted yet")
        return super().forward(X)


@pytest.mark.parametrize("module", [ActNorm, StartsInTraining, RefusesByAssertion, RefusesByValue])
def test_a_layer_that_starts_from_its_first_batch_starts_from_the_first_batch(module):
    fitted = net(module).fit(X, y)
    np.testing.assert_allclose(fitted.module_.mean, X.mean(0), rtol=1e-5)
    np.testing.assert_allclose(fitted.module_.std, X.std(0, ddof=1), rtol=1e-5)


def test_batch_statistics_are_those_of_the_batches():
    class Normalised(nn.Sequential):
        def __init__(self, n_features, n_outputs):
            layers = nn.BatchNorm1d(n_features, momentum=None), nn.Linear(n_features, n_outputs)
            super().__init__(*layers)

    module = net(Normalised, batch_size=20).fit(X, y).module_
    assert module[0].num_batches_tracked == 3
    np.testing.assert_allclose(module[0].running_mean, X.mean(0), rtol=1e-5)


class Neighbours(nn.Module):
    """Looks for five neighbours in the batch."""

    def __init__(self, n_features, n_outputs, least=5):
        super().__init__()
        self.output, self.least = nn.Linear(n_features, n_outputs), least

    def forward(self, X):
        nearest = torch.cdist(X, X).topk(self.least, largest=False).indices
        return self.output(X[nearest].mean(1))


class FewRowsRefused(Neighbours):
    def forward(self, X):
        if len(X) < self.least:
            raise ValueError(f"needs {self.least} rows, got {len(X)}")
        return self.output(X)


@pytest.mark.parametrize("module", [Neighbours, FewRowsRefused])
@pytest.mark.parametrize("least", [5, 20, 60])
def test_a_module_may_need_as_many_rows_as_a_batch_has(module, least):
    fitted = net(module, module__least=least).fit(X, y)
    assert fitted.predict(X).shape == (60,)


@pytest.mark.parametrize("module", [Neighbours, FewRowsRefused])
def test_a_module_that_needs_more_rows_than_a_batch_has_is_refused(module):
    with pytest.raises(ValueError, match="batch"):
        net(module, module__least=70).fit(X, y)


class Queue(nn.Module):
    """Remembers the rows of the last batch, and returns them beside: of one size always."""

    def __init__(self, n_features, n_outputs):
        super().__init__()
        self.output, self.last = nn.Linear(2 * n_features, n_outputs), None

    def forward(self, X):
        last, self.last = self.last, X.detach()
        return self.output(torch.cat([X, X if last is None else last], dim=1))


def test_what_a_module_remembers_is_of_its_training():
    assert net(Queue, max_epochs=2).fit(X, y).predict(X).shape == (60,)


class Lazy(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.hidden, self.norm = nn.LazyLinear(3), nn.LazyBatchNorm1d()
        self.output = nn.LazyLinear(n_outputs)
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, X):
        self.calls += 1
        return self.output(self.norm(self.hidden(X)))


def test_lazy_layers_are_sized_without_other_effect():
    fitted = net(Lazy, optimizer="sgd", lr=1e-30).fit(X, y)
    assert fitted.module_.calls == 1
    assert fitted.module_.norm.num_batches_tracked == 1
    torch.manual_seed(0)
    by_hand = Lazy(2)
    by_hand(torch.from_numpy(X))
    for name in ("hidden", "output"):
        mine, theirs = getattr(fitted.module_, name), getattr(by_hand, name)
        torch.testing.assert_close(mine.weight, theirs.weight)


class Noisy(nn.Module):
    """Draws in every mode."""

    def __init__(self, n_features, n_outputs):
        super().__init__()
        self.output = nn.Linear(n_features, n_outputs)

    def forward(self, X):
        return self.output(nn.functional.dropout(X, 0.5, training=True))


class NoisyInTraining(Noisy):
    """Refuses eval mode before it has seen a batch, and draws."""

    started = False

    def forward(self, X):
        if not (self.training or self.started):
            raise RuntimeError("train first")
        self.started = True
        return super().forward(X)


@pytest.mark.parametrize("module", [Noisy, NoisyInTraining])
def test_the_random_numbers_are_those_of_a_loop_written_by_hand(module):
    fitted = net(module, batch_size=20, lr=0.1, optimizer="sgd", optimizer__fused=False).fit(X, y)
    torch.manual_seed(0)
    by_hand = module(4, 2)
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.1)
    data = TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
    for inputs, target in DataLoader(data, batch_size=20, shuffle=True):
        optimizer.zero_grad()
        nn.functional.cross_entropy(by_hand(inputs), target).backward()
        optimizer.step()
    torch.testing.assert_close(fitted.module_.output.weight, by_hand.output.weight)
