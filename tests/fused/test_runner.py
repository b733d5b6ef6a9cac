"""The runner of a task among many, used directly, and when it falls back to the engine."""

import copy
import threading

import pytest
import torch
from torch import nn

from sktorch.data.batches import AugmentedBatches, Batches
from sktorch.data.rows import Rows
from sktorch.data.sources import as_source
from sktorch.fused import trial
from sktorch.fused.fuser import Fuser
from sktorch.fused.rendezvous import Rendezvous, TaskHandle, task_running
from sktorch.fused.runner import FusedRunner, choose_runner
from sktorch.training.engine import Engine, StepSettings
from sktorch.training.randomness import RandomStream
from sktorch.training.runner import SeededRunner
from tests.fused.epochs import CPU, net_of

N_MODELS = 4


@pytest.fixture(autouse=True)
def whatever_it_takes(monkeypatch):
    """No test depends on the time that a stack takes."""
    monkeypatch.setattr(trial, "MAX_TIME_RATIO", float("inf"))
    monkeypatch.setattr(trial, "MAX_ALONE_SECONDS", float("inf"))


def make_batches():
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(50, 4, generator=generator, dtype=torch.float64)
    y = torch.randint(3, (50,), generator=generator)
    rows = Rows(as_source(X), torch.float64, CPU)
    return Batches(rows, y, None, torch.arange(50), batch_size=16, shuffle=True)


def make_nets():
    torch.manual_seed(0)
    modules = [
        nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double() for _ in range(N_MODELS)
    ]
    return [
        net_of(module, torch.optim.Adam(module.parameters(), 0.01), stream=RandomStream(n, CPU))
        for n, module in enumerate(modules)
    ]


class Watched(Fuser):
    """Counts the models that come together."""

    def __init__(self):
        super().__init__(1)
        self.n_tasks = []

    def run(self, tasks):
        self.n_tasks.append(len(tasks))
        super().run(tasks)


def in_tasks(function):
    """Call a function with each number in a task and thread of its own; return the fuser."""
    fuser = Watched()
    handle = TaskHandle(Rendezvous(fuser.run, N_MODELS))

    def work(number):
        handle.rendezvous.acquire_slot()
        with task_running(handle.task(number)):
            function(number)
        handle.rendezvous.release_slot()
        handle.rendezvous.leave()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(N_MODELS)]
    for _ in threads:
        handle.rendezvous.arrive()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return fuser


def change_between(epoch, net):
    """What callbacks do: freeze a layer, write to weights without a trace."""
    if epoch == 1:
        net.module_[2].requires_grad_(False)
    if epoch == 2:
        net.module_[0].weight.data.mul_(0.5)


def train(runner, net, batches, between=lambda epoch, net: None, n_epochs=4, **options):
    results = []
    for epoch in range(n_epochs):
        between(epoch, net)
        losses, sizes = runner.train(net, batches, **options)
        _, _, outputs = runner.evaluate(net, batches)
        assert sizes == [16, 16, 16, 2]
        results.append((losses, outputs))
    return results


def together_and_alone(settings, between=lambda epoch, net: None):
    nets, results = make_nets(), [None] * N_MODELS
    alone = copy.deepcopy(nets)

    def work(number):
        runner = choose_runner(Engine(CPU, settings))
        results[number] = train(runner, nets[number], make_batches(), between)

    fuser = in_tasks(work)
    expected = [
        train(choose_runner(Engine(CPU, settings)), net, make_batches(), between) for net in alone
    ]
    return results, expected, fuser


@pytest.mark.parametrize("settings", [{}, {"gradient_clip": 0.01}], ids=str)
@pytest.mark.parametrize("between", [lambda epoch, net: None, change_between])
def test_a_model_among_many_is_the_model_alone(settings, between):
    results, expected, fuser = together_and_alone(StepSettings(**settings), between)
    assert set(fuser.n_tasks) == {N_MODELS}
    for own, alone in zip(results, expected, strict=True):
        for (losses, outputs), (losses_alone, outputs_alone) in zip(own, alone, strict=True):
            assert losses == pytest.approx(losses_alone, rel=1e-9)
            torch.testing.assert_close(outputs, outputs_alone, rtol=1e-9, atol=1e-9)


def test_accumulation_falls_back_to_the_engine_to_the_bit():
    results, expected, fuser = together_and_alone(StepSettings(gradient_accumulation=2))
    assert not fuser.n_tasks
    for own, alone in zip(results, expected, strict=True):
        for (losses, outputs), (losses_alone, outputs_alone) in zip(own, alone, strict=True):
            assert losses == losses_alone
            assert torch.equal(outputs, outputs_alone)


class Watching:
    def before(self, batch):
        pass

    def on_gradient(self, batch):
        pass

    def after(self, batch, loss, output):
        pass


@pytest.mark.parametrize(
    ("batches", "options"),
    [
        (lambda: AugmentedBatches(make_batches(), lambda X: X), {}),
        (lambda: [*make_batches()], {}),
        (make_batches, {"observer": Watching()}),
    ],
)
def test_batches_and_observers_that_fall_back(batches, options):
    net = make_nets()[0]
    handle = TaskHandle(Rendezvous(lambda tasks: pytest.fail("it went along"), 1))
    handle.rendezvous.arrive()
    with task_running(handle.task(0)):
        runner = choose_runner(Engine(CPU, StepSettings()))
        losses, _ = runner.train(net, batches(), **options)
    assert len(losses) == 4


def test_the_engine_runs_alone_outside_of_tasks():
    engine = Engine(CPU, StepSettings())
    assert isinstance(choose_runner(engine), SeededRunner)
    with task_running(TaskHandle(Rendezvous(list, 1))):
        assert isinstance(choose_runner(engine), FusedRunner)
