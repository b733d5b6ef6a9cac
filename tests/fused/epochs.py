"""Tasks and batches as tests make them."""

from types import SimpleNamespace

import torch
from torch import nn

from sktorch.fused.epoch import EpochTask
from sktorch.fused.model import Model
from sktorch.training.cost import Work
from sktorch.training.engine import Engine, StepSettings
from sktorch.training.randomness import RandomStream

CPU = torch.device("cpu")


class EpochBatches:
    """Batches that are there already; one that is an error is raised."""

    n_epochs = 1
    is_whole = False

    def __init__(self, batches):
        self._batches = [*batches]
        ready = [b for b in self._batches if not isinstance(b, OSError)]
        self.is_weighted = any(batch[2] is not None for batch in ready)
        self.sizes = [0 if isinstance(b, OSError) else len(b[1]) for b in self._batches]

    def example(self, number):
        return self.block(number)[1]

    def block(self, number):
        block = self._batches[number]
        if isinstance(block, OSError):
            raise block
        return number, block


def net_of(module, optimizer=None, criterion=None, stream=None):
    """What a runner needs of a net."""
    return SimpleNamespace(
        module_=module,
        criterion_=nn.CrossEntropyLoss() if criterion is None else criterion,
        optimizer_=optimizer,
        stream_=stream or RandomStream(0, CPU),
        work_=Work(multiply_adds=0, activation_bytes=0),
    )


def model_of(module, optimizer=None, criterion=None, stream=None, device=CPU, **settings):
    net = net_of(module, optimizer, criterion, stream)
    return Model(net, Engine(device, StepSettings(**settings)))


def task_of(model, batches, **options):
    """A task that trains if there is an optimizer, or else evaluates."""
    return EpochTask(model, batches, model.net.optimizer_ is not None, **options)
