"""The classic hand-written loop gives the same model, bit for bit on a CPU."""

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split
from skorch.callbacks import Callback
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from sktorch import TorchClassifier
from sktorch.training.programs import program_of
from tests.training.replays import decide_without_clock

SEED, EPOCHS, BATCH_SIZE = 7, 4, 64


class ConvNet(nn.Module):
    """Two convolutions with batch norm, then dropout and a linear layer."""

    def __init__(self, n_outputs=10):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        self.dropout = nn.Dropout(0.3)
        self.output = nn.Linear(64, n_outputs)

    def forward(self, X):
        return self.output(self.dropout(self.features(X)))


def hand_written(train_set, valid_set, make_optimizer, make_module=ConvNet):
    """The classic script: ``train(epoch)`` and ``val(epoch)`` over two DataLoaders."""
    torch.manual_seed(SEED)
    device = torch.device("cpu")
    module = make_module().to(device)
    criterion = nn.CrossEntropyLoss()
    optimizer = make_optimizer(module.parameters())
    train_loader = DataLoader(train_set, batch_size=BATCH_SIZE, shuffle=True)
    valid_loader = DataLoader(valid_set, batch_size=BATCH_SIZE)
    train_losses, valid_losses, accuracies = [], [], []

    def train(epoch):
        module.train()
        total = 0.0
        for X, y in train_loader:
            X, y = X.to(device), y.to(device)
            optimizer.zero_grad()
            output = module(X)
            loss = criterion(output, y)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(y)
        train_losses.append(total / len(train_set))

    def val(epoch):
        module.eval()
        total, predicted = 0.0, []
        with torch.no_grad():
            for X, y in valid_loader:
                X, y = X.to(device), y.to(device)
                output = module(X)
                total += criterion(output, y).item() * len(y)
                predicted.append(output.argmax(1).cpu())
        valid_losses.append(total / len(valid_set))
        accuracies.append((torch.cat(predicted) == valid_set.tensors[1]).double().mean().item())

    for epoch in range(1, EPOCHS + 1):
        train(epoch)
        val(epoch)
    return module, train_losses, valid_losses, accuracies


@pytest.fixture(autouse=True)
def without_clock(monkeypatch):
    decide_without_clock(monkeypatch)
    program_of.cache_clear()


@pytest.fixture
def split(digits_images):
    """The digits, and the stratified hold-out that ``early_stopping`` makes of them."""
    X, y = digits_images
    train, valid = train_test_split(np.arange(len(y)), test_size=0.1, stratify=y, random_state=SEED)
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    return TensorDataset(X[train], y[train]), TensorDataset(X[valid], y[valid])


# A fused step rounds otherwise than torch's default; it is sktorch's default where there is one.
OPTIMIZERS = {
    "sgd": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "fused": True}),
    "adam": (torch.optim.Adam, {"lr": 2e-3, "fused": True}),
    "adamw, not fused": (torch.optim.AdamW, {"lr": 2e-3, "weight_decay": 0.1, "fused": False}),
    "nadam, never fused": (torch.optim.NAdam, {"lr": 2e-3}),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("loader_options", [{}, {"iterator_train__num_workers": 0}])
def test_same_losses_and_weights_as_the_classic_loop(name, loader_options, split, digits_images):
    optimizer, options = OPTIMIZERS[name]
    module, train_losses, valid_losses, accuracies = hand_written(
        *split, lambda parameters: optimizer(parameters, **options)
    )
    classifier = TorchClassifier(
        ConvNet,
        optimizer=optimizer,
        max_epochs=EPOCHS,
        batch_size=BATCH_SIZE,
        device="cpu",
        early_stopping=True,
        n_iter_no_change=EPOCHS,
        random_state=SEED,
        lr=options["lr"],
        **{
            f"optimizer__{key}": value
            for key, value in options.items()
            if key != "lr" and value is not True  # fused=True is the default
        },
        **loader_options,
    ).fit(*digits_images)

    assert classifier.eager_reason_ is None, "a replay takes part"
    assert classifier.loss_curve_ == train_losses
    assert classifier.history_[:, "valid_loss"] == valid_losses
    assert classifier.validation_scores_ == pytest.approx(accuracies, abs=1e-12)
    assert classifier.best_epoch_ == EPOCHS, "the last epoch's weights are the ones to compare"
    assert accuracies[-1] > 0.9
    expected = module.state_dict()
    assert expected.keys() == classifier.module_.state_dict().keys()
    for key, value in classifier.module_.state_dict().items():
        assert torch.equal(value, expected[key]), key


def test_the_loop_without_a_hold_out(digits_images):
    X, y = (torch.from_numpy(part) for part in digits_images)
    torch.manual_seed(SEED)
    module = ConvNet()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, fused=True)
    loader = DataLoader(TensorDataset(X, y), batch_size=BATCH_SIZE, shuffle=True)
    losses = []
    for _ in range(EPOCHS):
        module.train()
        total = 0.0
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = criterion(module(xb), yb)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(yb)
        losses.append(total / len(y))

    classifier = TorchClassifier(
        ConvNet,
        optimizer=torch.optim.SGD,
        lr=0.1,
        max_epochs=EPOCHS,
        batch_size=BATCH_SIZE,
        device="cpu",
        random_state=SEED,
    ).fit(*digits_images)
    assert classifier.eager_reason_ is None
    assert classifier.loss_curve_ == losses
    for key, value in classifier.module_.state_dict().items():
        assert torch.equal(value, module.state_dict()[key]), key


class CountsEpochs(nn.Linear):
    """Computes with the number of calls of ``train()``, as a module that anneals something does."""

    def __init__(self, n_features, n_outputs):
        super().__init__(n_features, n_outputs)
        self.n_epochs = 0
        self.modes = []

    def train(self, mode=True):
        self.n_epochs += mode
        self.modes.append(mode)
        return super().train(mode)

    def forward(self, X):
        return super().forward(X) * self.n_epochs


@pytest.mark.parametrize("batch_size", [4, BATCH_SIZE])
@pytest.mark.parametrize("backend", ["threading", "sktorch"])
@pytest.mark.parametrize(
    ("parameters", "modes"),
    [
        ({}, [True] * EPOCHS),
        ({"early_stopping": True, "n_iter_no_change": EPOCHS}, [True, False] * EPOCHS),
        ({"gradient_accumulation": 2}, [True] * EPOCHS),
    ],
)
def test_train_mode_is_set_once_an_epoch(parameters, modes, backend, batch_size):
    X, y = load_iris(return_X_y=True)
    classifier = TorchClassifier(
        CountsEpochs, max_epochs=EPOCHS, batch_size=batch_size, random_state=SEED, **parameters
    )
    with joblib.parallel_config(backend, n_jobs=2):
        both = joblib.Parallel()(joblib.delayed(clone(classifier).fit)(X, y) for _ in range(2))
    for fitted in both:
        assert fitted.module_.modes == [*modes, False], "the last one is the finished model's"
        assert fitted.module_.n_epochs == EPOCHS


def test_a_module_that_counts_its_epochs():
    X, y = load_iris(return_X_y=True)
    X = X.astype(np.float32)
    fitted = TorchClassifier(
        CountsEpochs,
        max_epochs=EPOCHS,
        batch_size=len(y),
        optimizer=torch.optim.SGD,
        random_state=SEED,
        iterator_train__shuffle=False,
    ).fit(X, y)
    torch.manual_seed(SEED)
    module = CountsEpochs(4, 3)
    optimizer = torch.optim.SGD(module.parameters(), lr=fitted.lr, fused=True)
    for _ in range(EPOCHS):
        module.train()
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(torch.from_numpy(X)), torch.from_numpy(y)).backward()
        optimizer.step()
    for key, value in module.state_dict().items():
        assert torch.equal(value, fitted.module_.state_dict()[key]), key


class LooksThroughALayer(Callback):
    """Looks at what the first layer returns, in eval mode, before each batch."""

    def on_batch_begin(self, net, batch, **kwargs):
        net.module_[0].eval()(batch[0])


def test_a_layer_that_a_callback_has_in_eval_mode_trains():
    X, y = load_iris(return_X_y=True)
    module = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3))
    fits = [
        TorchClassifier(module, max_epochs=3, callbacks=callbacks, random_state=SEED).fit(X, y)
        for callbacks in ([LooksThroughALayer], None)
    ]
    assert fits[0].loss_curve_ == fits[1].loss_curve_
    assert fits[0].module_[0].num_batches_tracked == fits[1].module_[0].num_batches_tracked > 0
