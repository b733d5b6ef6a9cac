"""The engine: why steps are eager, and what it keeps from epoch to epoch."""

import numpy as np
import pytest
import torch
from torch import nn

from sktorch.training.engine import Engine, StepSettings
from tests.fused.epochs import net_of

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def engine(device=CPU, **settings):
    return Engine(device, StepSettings(**settings))


def test_a_cpu_runs_a_few_steps_eagerly():
    module, subject = nn.Linear(3, 2), engine()
    subject.step(net_of(module, torch.optim.SGD(module.parameters())))
    assert subject.eager_reason == "too few steps are left for a recording to pay"


@pytest.mark.parametrize(
    ("options", "optimizer", "observed", "reason"),
    [
        ({}, torch.optim.SGD, True, "callbacks look at each batch"),
        ({}, torch.optim.LBFGS, False, "the optimizer needs a closure"),
        ({"compile": {"backend": "eager"}}, torch.optim.SGD, False, "the module is compiled"),
        ({"precision": "float16"}, torch.optim.SGD, False, "float16 needs a gradient scaler"),
    ],
)
def test_why_a_cpu_runs_eagerly(options, optimizer, observed, reason):
    module, subject = nn.Linear(3, 2), engine(**options)
    subject.step(net_of(module, optimizer(module.parameters())), observed=observed)
    assert subject.eager_reason.startswith(reason)


@pytest.mark.parametrize(
    ("options", "optimizer", "observed", "reason"),
    [
        ({}, torch.optim.SGD, True, "callbacks look at each batch"),
        ({}, torch.optim.LBFGS, False, "the optimizer needs a closure"),
        ({}, torch.optim.Adam, False, "the optimizer is not capturable"),
        ({"gradient_accumulation": 2}, torch.optim.SGD, False, "gradients are accumulated"),
    ],
)
def test_why_a_gpu_runs_eagerly(options, optimizer, observed, reason):
    # No step is run: what decides is known before.
    module, subject = nn.Linear(3, 2), engine(CUDA, **options)
    subject.step(net_of(module, optimizer(module.parameters())), observed=observed)
    assert subject.eager_reason == reason


def test_a_compiled_module_is_kept_and_shares_its_parameters():
    module, subject = nn.Linear(3, 2), engine(compile={"backend": "eager"})
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    first = subject.step(net_of(module, optimizer))
    second = subject.step(net_of(module, optimizer))
    assert first.objective.module is second.objective.module
    assert first.objective.module is not module
    before = module.weight.detach().clone()
    first((torch.ones(4, 3), torch.tensor([0, 1, 0, 1]), None))
    assert not torch.equal(module.weight, before)


def test_another_module_is_compiled_anew():
    subject = engine(compile={"backend": "eager"})
    modules = [nn.Linear(3, 2), nn.Linear(3, 2)]
    steps = [subject.step(net_of(m, torch.optim.SGD(m.parameters(), lr=0.1))) for m in modules]
    assert steps[0].objective.module is not steps[1].objective.module


class CountsItsSteps(torch.optim.SGD):
    """Keeps a number of Python in its state, as many optimizers of others do."""

    def step(self, closure=None):
        for group in self.param_groups:
            group["lr"] = 0.1 / (1 + self.state.get("n_steps", 0))
        self.state["n_steps"] = self.state.get("n_steps", 0) + 1
        return super().step(closure)


@pytest.mark.parametrize(
    "make_optimizer",
    [
        lambda p: torch.optim.Adagrad(p, lr_decay=0.1),
        torch.optim.Adafactor,
        CountsItsSteps,
    ],
    ids=["Adagrad", "Adafactor", "own"],
)
def test_an_optimizer_that_does_not_say_it_is_capturable_is_not(make_optimizer):
    """They count steps in Python or on the host: a graph would replay one step's number."""
    module, subject = nn.Linear(3, 2), engine(CUDA)
    subject.step(net_of(module, make_optimizer(module.parameters())))
    assert subject.eager_reason == "the optimizer is not capturable"


@pytest.mark.parametrize("compile", [False, np.False_])
def test_no_compilation_by_any_name(compile):
    module, subject = nn.Linear(3, 2), engine(compile=compile)
    subject.step(net_of(module, torch.optim.SGD(module.parameters())))
    assert subject.eager_reason == "too few steps are left for a recording to pay"


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning")  # torch's own
@pytest.mark.parametrize("compile", [True, np.True_, {}, {"backend": "eager"}])
def test_compilation_by_any_name(compile):
    # torch compiles at the first call, which does not come: no compiler is needed here.
    module, subject = nn.Linear(3, 2), engine(compile=compile)
    step = subject.step(net_of(module, torch.optim.SGD(module.parameters())))
    assert step.objective.module is not module
    assert [*step.objective.module.parameters()] == [*module.parameters()]


def make_module():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def train_epochs(subject, module, n_epochs=3):
    generator = torch.Generator().manual_seed(1)
    X, y = torch.randn(22, 4, generator=generator), torch.randint(3, (22,), generator=generator)
    batches = [(X[rows], y[rows], None) for rows in torch.arange(22).split(8)]
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for _ in range(n_epochs):
        losses += subject.train(net_of(module, optimizer), batches)[0]
    return losses


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_training_is_the_plain_one(backend):
    with torch.random.fork_rng():
        plain, compiled = make_module(), make_module()
    expected = train_epochs(engine(), plain)
    assert train_epochs(engine(compile={"backend": backend}), compiled) == pytest.approx(
        expected, rel=1e-5
    )
    assert expected[-1] < expected[0]
    X = torch.linspace(-1, 1, 20).reshape(5, 4)
    torch.testing.assert_close(compiled.eval()(X), plain.eval()(X))
    assert compiled.state_dict().keys() == plain.state_dict().keys()


def test_a_module_is_compiled_once_for_all_epochs():
    torch.compiler.reset()
    compilations = []

    def backend(graph, example):
        compilations.append(graph)
        return graph.forward

    with torch.random.fork_rng():
        module = make_module()
    subject = engine(compile={"backend": backend})
    train_epochs(subject, module, n_epochs=1)
    after_one = len(compilations)
    train_epochs(subject, module, n_epochs=3)
    assert after_one == len(compilations) <= 2, "one for full batches, one for any other length"


@pytest.mark.parametrize("precision", ["tf32", "bfloat16", "float16"])
def test_compiled_training_in_other_precisions(precision):
    with torch.random.fork_rng():
        plain, compiled = make_module(), make_module()
    expected = train_epochs(engine(precision=precision), plain)
    got = train_epochs(engine(precision=precision, compile={"backend": "eager"}), compiled)
    assert got == pytest.approx(expected, rel=1e-5)


def test_reasons_follow_what_changes_between_epochs():
    module, subject = nn.Linear(3, 2), engine(CUDA)
    adam = torch.optim.Adam(module.parameters())
    lbfgs = torch.optim.LBFGS(module.parameters())
    seen = []
    for optimizer, observed in [(adam, True), (adam, False), (lbfgs, False)]:
        subject.step(net_of(module, optimizer), observed=observed)
        seen.append(subject.eager_reason)
    assert seen == [
        "callbacks look at each batch",
        "the optimizer is not capturable",
        "the optimizer needs a closure",
    ]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_float16_on_a_gpu_runs_eagerly():
    module, subject = nn.Linear(3, 2).cuda(), engine(CUDA, precision="float16")
    subject.step(net_of(module, torch.optim.SGD(module.parameters())))
    assert "float16" in subject.eager_reason
