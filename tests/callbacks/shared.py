"""Nets and a callback that several files of these tests use."""

import torch
from skorch.callbacks import Callback
from torch import nn

from sktorch import TorchClassifier


def net(module=None, **parameters):
    defaults = {"lr": 0.02, "max_epochs": 5, "batch_size": 32, "random_state": 0}
    return TorchClassifier(module, **(defaults | parameters))


def held_out(**parameters):
    """A net with a validation set, which many callbacks ask for, that trains to the end."""
    return net(early_stopping=True, n_iter_no_change=100, **parameters)


class Dropping(nn.Module):
    def __init__(self, n_features, n_outputs, dtype):
        super().__init__()
        self.hidden = nn.Linear(n_features, 16, dtype=dtype)
        self.norm = nn.BatchNorm1d(16, dtype=dtype)
        self.drop = nn.Dropout(0.5)
        self.output = nn.Linear(16, n_outputs, dtype=dtype)

    def forward(self, X):
        return self.output(self.drop(self.norm(self.hidden(X)).relu()))


def same_state(one, other):
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


class Stop(Callback):
    """Asks for the end of training, as skorch's callbacks do, at a hook of a later epoch."""

    def __init__(self, hook, epoch=3):
        self.hook, self.epoch = hook, epoch

    def _stop(self, net, hook):
        if hook == self.hook and len(net.history) >= self.epoch:
            raise KeyboardInterrupt

    def on_epoch_begin(self, net, **kwargs):
        self._stop(net, "epoch begin")

    def on_batch_end(self, net, training=None, **kwargs):
        if training:
            self._stop(net, "batch end")

    def on_epoch_end(self, net, **kwargs):
        self._stop(net, "epoch end")
