"""The engine: why steps are eager, and what it keeps from epoch to epoch."""

import pytest
import torch
from torch import nn

from sktorch.training.engine import Engine
from sktorch.training.losses import LossFunction

LOSS = LossFunction(nn.CrossEntropyLoss())
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def engine(device=CPU, precision="float32", compile=False, accumulate=1):
    return Engine(device, precision, compile, clip_norm=None, accumulate=accumulate)


def test_a_cpu_runs_eagerly():
    module, subject = nn.Linear(3, 2), engine()
    subject.step(module, LOSS, torch.optim.SGD(module.parameters()), observed=False)
    assert subject.eager_reason == "the device is cpu, not cuda"


@pytest.mark.parametrize(
    ("options", "optimizer", "observed", "reason"),
    [
        ({}, torch.optim.SGD, True, "callbacks look at each batch"),
        ({}, torch.optim.LBFGS, False, "the optimizer needs a closure"),
        ({}, torch.optim.Adam, False, "the optimizer is not capturable"),
        ({"accumulate": 2}, torch.optim.SGD, False, "gradients are accumulated"),
    ],
)
def test_why_a_gpu_runs_eagerly(options, optimizer, observed, reason):
    # No step is run: what decides is known before.
    module, subject = nn.Linear(3, 2), engine(CUDA, **options)
    subject.step(module, LOSS, optimizer(module.parameters()), observed=observed)
    assert subject.eager_reason == reason


def test_a_compiled_module_is_kept_and_shares_its_parameters():
    module, subject = nn.Linear(3, 2), engine(compile={"backend": "eager"})
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    first = subject.step(module, LOSS, optimizer, observed=False)
    second = subject.step(module, LOSS, optimizer, observed=False)
    assert first.module is second.module
    assert first.module is not module
    before = module.weight.detach().clone()
    first((torch.ones(4, 3), torch.tensor([0, 1, 0, 1]), None))
    assert not torch.equal(module.weight, before)


def test_another_module_is_compiled_anew():
    subject = engine(compile={"backend": "eager"})
    modules = [nn.Linear(3, 2), nn.Linear(3, 2)]
    steps = [
        subject.step(m, LOSS, torch.optim.SGD(m.parameters(), lr=0.1), observed=False)
        for m in modules
    ]
    assert steps[0].module is not steps[1].module
