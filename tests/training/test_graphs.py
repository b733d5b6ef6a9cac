"""Captured steps train what eager steps train. Skipped where there is no CUDA device."""

import copy

import numpy as np
import pytest
import torch
from skorch.callbacks import LRScheduler
from torch import nn

from sktorch import TorchClassifier
from sktorch.data.placement import AheadBatches
from sktorch.training.graphs import CapturedStep
from sktorch.training.losses import LossFunction
from sktorch.training.step import make_step

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

LOSS = LossFunction(nn.CrossEntropyLoss())


def test_captured_steps_are_eager_steps():
    torch.manual_seed(0)
    X, y = torch.randn(20, 8, 16, device="cuda"), torch.randint(3, (20, 8), device="cuda")
    module = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3)).cuda()
    eager = copy.deepcopy(module)
    optimizers = [
        torch.optim.Adam(m.parameters(), capturable=True, fused=True) for m in (module, eager)
    ]
    captured = CapturedStep(make_step(module, LOSS, optimizers[0]), module, optimizers[0])
    plain = make_step(eager, LOSS, optimizers[1])
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
