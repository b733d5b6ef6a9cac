"""Captured steps train what eager steps train. Skipped where there is no CUDA device."""

import copy
import pickle

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, LRScheduler
from torch import nn

from sktorch import TorchClassifier
from sktorch.data.placement import AheadBatches
from sktorch.fused import lockstep
from sktorch.fused.fuser import Fuser
from sktorch.training.cuda_graph import CapturedStep
from sktorch.training.engine import Engine, StepSettings
from sktorch.training.loop import train_epoch
from sktorch.training.objective import Objective
from sktorch.training.precision import Precision
from sktorch.training.randomness import RandomStream
from sktorch.training.step import make_step
from tests.fused.epochs import EpochBatches, model_of, net_of, task_of

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

CUDA = torch.device("cuda")


def step_of(module, optimizer):
    objective = Objective(module, nn.CrossEntropyLoss())
    return make_step(objective, optimizer, Precision.named("float32", "cuda"))


def test_captured_steps_are_eager_steps():
    torch.manual_seed(0)
    X, y = torch.randn(20, 8, 16, device="cuda"), torch.randint(3, (20, 8), device="cuda")
    module = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3)).cuda()
    eager = copy.deepcopy(module)
    optimizers = [
        torch.optim.Adam(m.parameters(), capturable=True, fused=True) for m in (module, eager)
    ]
    captured = CapturedStep(step_of(module, optimizers[0]), module, optimizers[0])
    plain = step_of(eager, optimizers[1])
    for batch in [*zip(X, y, [None] * 20, strict=True), (X[0, :5], y[0, :5], None)]:
        got, expected = captured(batch)[0], plain(batch)[0]
        torch.testing.assert_close(got, expected)
    assert captured.reason is None
    for a, b in zip(module.parameters(), eager.parameters(), strict=True):
        torch.testing.assert_close(a, b)


class ConvNet(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(),
            nn.Linear(288, n_outputs),
        )  # fmt: skip

    def forward(self, X):
        return self.layers(X)


class Waiting(ConvNet):
    def forward(self, X):
        return super().forward(X) * (1 if X.sum().item() > -1 else 2)


@pytest.mark.parametrize("schedule", [None, LRScheduler("StepLR", step_size=2)])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_captured_fit_is_an_eager_fit(digits_images, weighted, schedule):
    X, y = digits_images
    weights = np.random.RandomState(0).rand(len(y)) if weighted else None
    settings = {"max_epochs": 4, "random_state": 0, "device": "cuda"}
    callbacks = None if schedule is None else [schedule]
    captured = TorchClassifier(ConvNet, callbacks=callbacks, **settings).fit(X, y, weights)
    eager = TorchClassifier(
        ConvNet, callbacks=callbacks, optimizer__capturable=False, **settings
    ).fit(X, y, weights)
    assert eager.eager_reason_ == "the optimizer is not capturable"
    if schedule is None:
        assert captured.eager_reason_ is None
    np.testing.assert_allclose(captured.loss_curve_, eager.loss_curve_, rtol=1e-3)


def test_a_step_that_waits_for_the_host_runs_eagerly(digits_images):
    classifier = TorchClassifier(Waiting, max_epochs=2, random_state=0, device="cuda")
    classifier.fit(*digits_images)
    assert "can't be captured" in classifier.eager_reason_
    assert classifier.loss_curve_[1] < classifier.loss_curve_[0]


def test_batches_copied_ahead_are_the_batches():
    batches = [(torch.full((4, 2), float(i)), torch.full((4,), i), None) for i in range(5)]
    ahead = AheadBatches(batches, torch.device("cuda"))
    assert len(ahead) == 5
    for (X, y, _), (X_ahead, y_ahead, weight) in zip(batches, ahead, strict=True):
        assert torch.equal(X_ahead.cpu(), X)
        assert torch.equal(y_ahead.cpu(), y)
        assert weight is None


@pytest.mark.parametrize("placement", ["device", "host"])
def test_placement_does_not_change_the_model(digits_images, placement):
    X, y = digits_images
    settings = {"max_epochs": 2, "random_state": 0, "device": "cuda"}
    expected = TorchClassifier(ConvNet, data_placement="source", **settings).fit(X, y)
    got = TorchClassifier(ConvNet, data_placement=placement, **settings).fit(X, y)
    assert got.data_placement_ == placement
    np.testing.assert_allclose(got.loss_curve_, expected.loss_curve_, rtol=1e-3)
    assert isinstance(got.predict_proba(X), np.ndarray)


# Below, the same training twice, through an engine that captures and through one that does not.


def make_mlp():
    """No bias before the batch norm: its gradient is rounding alone, and Adam would scale it."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(16, 32, bias=False),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Linear(32, 32),
        nn.Linear(32, 3),
    ).cuda()


def make_batches(weighted=False, n_rows=173):
    """Full batches of 16 rows and a last one of 13."""
    generator = torch.Generator().manual_seed(1)
    X = torch.randn(n_rows, 16, generator=generator).cuda()
    y = torch.randint(3, (n_rows,), generator=generator).cuda()
    weight = torch.rand(n_rows, generator=generator).cuda() if weighted else None
    return [
        (X[rows], y[rows], None if weight is None else weight[rows])
        for rows in torch.arange(n_rows, device="cuda").split(16)
    ]


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, fused=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, capturable=True, fused=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, capturable=True, foreach=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, capturable=True),
    "nadam": lambda p: torch.optim.NAdam(p, lr=0.01, capturable=True),
}


def train_epochs(captured, optimizer="adam", between=None, n_epochs=4, weighted=False, **options):
    """Losses, module and engine; ``between(epoch, module, optimizer)`` is called before each."""
    module, batches = make_mlp(), make_batches(weighted)
    optimizer = OPTIMIZERS.get(optimizer, optimizer)(module.parameters())
    engine = Engine(CUDA, StepSettings(**options))
    losses = []
    for epoch in range(n_epochs):
        if between is not None:
            between(epoch, module, optimizer)
        step = engine.step(net_of(module, optimizer), observed=not captured)
        assert isinstance(step, CapturedStep) == captured
        losses += train_epoch(module, step, batches)[0]
    if not captured:
        assert engine.eager_reason == "callbacks look at each batch"
    return losses, module, engine


def assert_captured_is_eager(rtol=1e-3, **options):
    expected, eager, _ = train_epochs(False, **options)
    losses, module, engine = train_epochs(True, **options)
    assert engine.eager_reason is None
    np.testing.assert_allclose(losses, expected, rtol=rtol)
    for (name, a), b in zip(module.state_dict().items(), eager.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=10 * rtol, atol=10 * rtol, msg=name)
    return losses


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_epochs_of_each_optimizer(name, weighted):
    losses = assert_captured_is_eager(optimizer=name, weighted=weighted)
    assert np.mean(losses[-11:]) < np.mean(losses[:11])
    assert len(set(losses[:11])) == 11, "a loss of each batch, not one buffer's last value"


@pytest.mark.parametrize(
    ("options", "rtol"),
    [
        ({"gradient_clip": 0.05}, 1e-3),
        ({"precision": "tf32"}, 1e-2),
        ({"precision": "bfloat16"}, 1e-2),
        ({"precision": "bfloat16", "gradient_clip": 0.05}, 1e-2),
    ],
    ids=str,
)
def test_epochs_with_clipping_and_in_other_precisions(options, rtol):
    assert_captured_is_eager(rtol=rtol, **options)


def halve(epoch, module, optimizer):
    for group in optimizer.param_groups:
        group["lr"] *= 0.5 if epoch else 1


def stop_training_at_two(epoch, module, optimizer):
    for group in optimizer.param_groups:
        group["lr"] = 0.0 if epoch == 2 else 0.01


def freeze_at_two(epoch, module, optimizer):
    module[0].requires_grad_(epoch != 2)


def unfreeze_at_two(epoch, module, optimizer):
    module[0].requires_grad_(epoch >= 2)


def add_a_group_at_two(epoch, module, optimizer):
    if epoch == 0:
        module[4].requires_grad_(False)
        optimizer.param_groups[0]["params"] = [*module[:4].parameters()]
    if epoch == 2:
        module[4].requires_grad_(True)
        optimizer.add_param_group({"params": [*module[4].parameters()], "lr": 0.001})


@pytest.mark.parametrize(
    "between", [halve, stop_training_at_two, freeze_at_two, unfreeze_at_two, add_a_group_at_two]
)
def test_what_changes_between_epochs_is_heeded(between):
    assert_captured_is_eager(between=between)


def test_another_loss_is_heeded():
    """Label smoothing that is switched off after two epochs, in the criterion itself."""
    criterion = nn.CrossEntropyLoss(label_smoothing=0.5)

    def train(captured):
        module, batches = make_mlp(), make_batches()
        optimizer = OPTIMIZERS["adam"](module.parameters())
        engine = Engine(CUDA, StepSettings())
        losses = []
        for smoothing in (0.5, 0.5, 0.0, 0.0):
            criterion.label_smoothing = smoothing
            step = engine.step(net_of(module, optimizer, criterion), observed=not captured)
            losses += train_epoch(module, step, batches)[0]
        return losses

    np.testing.assert_allclose(train(True), train(False), rtol=1e-3)


class CountsItsSteps(torch.optim.SGD):
    """A step size that Python computes anew each time: a graph would keep the first."""

    def step(self, closure=None):
        self.state["n_steps"] = self.state.get("n_steps", 0) + 1
        for group in self.param_groups:
            group["lr"] = 0.1 / self.state["n_steps"]
        return super().step(closure)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: CountsItsSteps(p, lr=0.1),
        lambda p: torch.optim.Adagrad(p, lr=0.1, lr_decay=0.1),
        lambda p: torch.optim.Adafactor(p, lr=0.1),
    ],
    ids=["own", "Adagrad", "Adafactor"],
)
def test_an_optimizer_that_counts_on_the_host_trains_as_it_does_eagerly(make):
    expected, got = [], []
    for losses, captured in [(expected, False), (got, True)]:
        module, batches = make_mlp(), make_batches()
        optimizer = make(module.parameters())
        engine = Engine(CUDA, StepSettings())
        for _ in range(3):
            step = engine.step(net_of(module, optimizer), observed=not captured)
            losses += train_epoch(module, step, batches)[0]
    np.testing.assert_allclose(got, expected, rtol=1e-3)


def test_dropout_is_drawn_anew_at_each_replay():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(16, 64), nn.Dropout(0.5), nn.Linear(64, 3)).cuda().train()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.0)
    step = CapturedStep(step_of(module, optimizer), module, optimizer)
    batch = make_batches()[0]
    torch.cuda.manual_seed(3)
    losses = [step(batch)[0].item() for _ in range(20)]
    assert step.reason is None
    assert len(set(losses)) > 15
    torch.cuda.manual_seed(3)
    again = [step(batch)[0].item() for _ in range(20)]
    torch.cuda.manual_seed(3)
    assert [step(batch)[0].item() for _ in range(20)] == again, "the generator's seed is heeded"


def test_inputs_by_name_are_captured():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.line = nn.Embedding(7, 4), nn.Linear(5, 3)

        def forward(self, words, numbers):
            return self.line(torch.cat([self.table(words).mean(1), numbers], 1))

    torch.manual_seed(0)
    eager = Both().cuda()
    module = copy.deepcopy(eager)
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.1) for m in (eager, module)]
    plain = step_of(eager, optimizers[0])
    captured = CapturedStep(step_of(module, optimizers[1]), module, optimizers[1])
    for _ in range(12):
        words = torch.randint(7, (8, 3), device="cuda")
        X = {"words": words, "numbers": torch.randn(8, 1, device="cuda")}
        batch = X, torch.randint(3, (8,), device="cuda"), torch.rand(8, device="cuda")
        torch.testing.assert_close(captured(batch)[0], plain(batch)[0])
    assert captured.reason is None
    torch.testing.assert_close(module.table.weight, eager.table.weight)


def test_a_batch_is_not_written_to():
    module, batches = make_mlp(), make_batches(weighted=True)
    kept = [[part.clone() for part in batch] for batch in batches]
    optimizer = OPTIMIZERS["adam"](module.parameters())
    step = CapturedStep(step_of(module, optimizer), module, optimizer)
    for _ in range(2):
        train_epoch(module, step, batches)
    for batch, expected in zip(batches, kept, strict=True):
        for part, expected_part in zip(batch, expected, strict=True):
            assert torch.equal(part, expected_part)


class WaitsInTraining(nn.Module):
    """Asks the host in its forward, and draws random numbers, in training only."""

    def __init__(self):
        super().__init__()
        self.line, self.dropout = nn.Linear(16, 3), nn.Dropout(0.5)

    def forward(self, X):
        if self.training and X.sum().item() > 1e9:
            return X[:, :3]
        return self.line(self.dropout(X))


def test_a_capture_that_fails_leaves_torch_as_it_was():
    module, batches = WaitsInTraining().cuda(), make_batches()
    optimizer = OPTIMIZERS["adam"](module.parameters())
    step = CapturedStep(step_of(module, optimizer), module, optimizer)
    before = module.line.weight.detach().clone()
    stream = torch.cuda.current_stream()
    losses, sizes = train_epoch(module, step, batches)
    assert step.reason.startswith("the step can't be captured: ")
    assert len(losses) == len(sizes) == 11, "the batch that could not be captured was trained on"
    assert np.isfinite(losses).all()
    assert not torch.equal(module.line.weight, before)
    assert torch.cuda.current_stream() == stream
    assert not torch.cuda.is_current_stream_capturing()
    state = torch.cuda.get_rng_state()
    torch.cuda.set_rng_state(state)
    torch.nn.functional.dropout(torch.ones(5, device="cuda"))

    losses, module, engine = train_epochs(True)  # And others can be captured afterwards.
    assert engine.eager_reason is None


class LowersTheRate(Callback):
    """A schedule per epoch that listens to no batch."""

    def on_epoch_end(self, net, **kwargs):
        for group in net.optimizer_.param_groups:
            group["lr"] *= 0.5


class PerceptronOf64(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


@pytest.mark.parametrize("module", [PerceptronOf64, ConvNet])
def test_a_schedule_per_epoch_is_captured(digits_images, module):
    X, y = digits_images
    settings = {"max_epochs": 4, "random_state": 0, "device": "cuda", "lr": 5e-3}
    settings["callbacks"] = [LowersTheRate()]
    captured = TorchClassifier(module, **settings).fit(X, y)
    eager = TorchClassifier(module, optimizer__capturable=False, **settings).fit(X, y)
    constant = TorchClassifier(module, **settings | {"callbacks": None}).fit(X, y)
    assert captured.eager_reason_ is None
    np.testing.assert_allclose(captured.loss_curve_, eager.loss_curve_, rtol=1e-3)
    assert captured.loss_curve_[-1] > 1.01 * constant.loss_curve_[-1], "the rate was lowered"


def test_skorch_schedules_per_epoch_are_captured(digits_images):
    """It listens to batches only to count them, where its step is one of an epoch."""
    schedule = LRScheduler("StepLR", step_size=2, step_every="epoch")
    classifier = TorchClassifier(ConvNet, callbacks=[schedule], max_epochs=3, device="cuda")
    assert classifier.fit(*digits_images).eager_reason_ is None


def test_what_a_captured_fit_leaves_behind(digits_images):
    X, y = digits_images
    states = torch.get_rng_state(), torch.cuda.get_rng_state()
    stream = torch.cuda.current_stream()
    settings = {"max_epochs": 3, "random_state": 0, "device": "cuda"}
    classifier = TorchClassifier(ConvNet, **settings).fit(X, y)
    assert classifier.eager_reason_ is None
    assert torch.equal(torch.get_rng_state(), states[0])
    assert torch.equal(torch.cuda.get_rng_state(), states[1])
    assert torch.cuda.current_stream() == stream

    expected = classifier.predict_proba(X)
    assert isinstance(expected, np.ndarray)
    assert expected.dtype == np.float32
    assert isinstance(classifier.predict(X), np.ndarray)
    tensor = torch.from_numpy(X).cuda()
    np.testing.assert_allclose(classifier.predict_proba(tensor), expected, rtol=1e-5, atol=1e-7)

    again = pickle.loads(pickle.dumps(classifier))
    assert again.device_.type == "cuda"
    np.testing.assert_allclose(again.predict_proba(X), expected, rtol=1e-5, atol=1e-7)
    for model in (classifier, again):  # Both go on, each with a capture of its own.
        model.set_params(warm_start=True).fit(X, y)
        assert model.eager_reason_ is None
        assert model.n_epochs_ == 6
    np.testing.assert_allclose(again.loss_curve_, classifier.loss_curve_, rtol=1e-3)


@pytest.mark.parametrize(
    "parameters",
    [
        {"precision": "tf32"},
        {"precision": "bfloat16"},
        {"precision": "float16"},
        {"gradient_clip": 1.0},
        {"gradient_accumulation": 2},
        {"data_placement": "host"},
        {"data_placement": "source"},
        {"early_stopping": True},
    ],
    ids=str,
)
def test_every_setting_trains_on_a_gpu(digits_images, parameters):
    X, y = digits_images
    classifier = TorchClassifier(
        ConvNet, max_epochs=15, lr=5e-3, random_state=0, device="cuda", **parameters
    ).fit(X, y)
    assert classifier.score(X, y) > 0.9
    assert classifier.predict_proba(X).dtype == np.float32
    expected = {"float16": "scaler", 2: "accumulated"}.get(next(iter(parameters.values())))
    reason = classifier.eager_reason_
    assert reason is None if expected is None else expected in reason


@pytest.mark.parametrize("n_batches", [0, 1, 2, 7])
def test_ahead_batches_by_name_and_weighted(n_batches):
    generator = torch.Generator().manual_seed(0)
    batches = [
        (
            {"a": torch.randn(300, 64, generator=generator), "b": torch.arange(300)},
            torch.full((300,), i),
            torch.rand(300, generator=generator),
        )
        for i in range(n_batches)
    ]
    ahead = AheadBatches(batches, torch.device("cuda"))
    for _ in range(2):  # It can be gone through again, as every epoch does.
        seen = 0
        for (X, y, weight), expected in zip(ahead, batches, strict=True):
            # Work on the current stream right away: the copy has to have arrived.
            assert X["a"].device == y.device == weight.device == torch.device("cuda", 0)
            assert torch.equal((X["a"] * 1).cpu(), expected[0]["a"])
            assert torch.equal(X["b"].cpu(), expected[0]["b"])
            assert torch.equal(y.cpu(), expected[1])
            assert torch.equal(weight.cpu(), expected[2])
            seen += 1
        assert seen == n_batches


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_a_second_device_is_captured_on_itself(digits_images):
    classifier = TorchClassifier(ConvNet, max_epochs=2, random_state=0, device="cuda:1")
    classifier.fit(*digits_images)
    assert classifier.eager_reason_ is None
    assert classifier.device_ == torch.device("cuda:1")
    assert torch.cuda.current_device() == 0


def stacked_tasks(modules, optimizers):
    """An epoch of several models, and the captured steps of their stack."""
    steps = []

    class Noted(CapturedStep):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            steps.append(self)

    tasks = [
        task_of(
            model_of(m, optimizer, stream=RandomStream(0, CUDA), device=CUDA),
            EpochBatches(make_batches()),
        )
        for m, optimizer in zip(modules, optimizers, strict=True)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lockstep, "CapturedStep", Noted)
        Fuser().run(tasks)
    assert [task.error for task in tasks] == [None] * len(modules)
    return tasks, steps


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_captured_stack_trains_each_of_its_models_as_alone(name):
    modules = [make_mlp() for _ in range(4)]
    for number, module in enumerate(modules):
        module[0].weight.data *= 1 + number / 4
    alone = copy.deepcopy(modules)
    optimizers = [OPTIMIZERS[name](m.parameters()) for m in modules]
    own = [OPTIMIZERS[name](m.parameters()) for m in alone]
    for _ in range(2):
        tasks, steps = stacked_tasks(modules, optimizers)
        assert steps, "the stack is trained together"
        assert [step.reason for step in steps] == [None] * len(steps)
        for task, module, optimizer in zip(tasks, alone, own, strict=True):
            step = step_of(module.train(), optimizer)
            losses = [step(batch)[0].item() for batch in make_batches()]
            np.testing.assert_allclose(task.losses, losses, rtol=1e-3)


def test_replayed_dropout_draws_anew():
    modules = [nn.Sequential(nn.Dropout(), nn.Linear(16, 3)).cuda() for _ in range(4)]
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.0) for m in modules]
    tasks, steps = stacked_tasks(modules, optimizers)
    assert steps[0].reason is None
    assert len({loss for task in tasks for loss in task.losses}) == 4 * 11
