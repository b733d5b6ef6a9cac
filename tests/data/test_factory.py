"""The loaders of ``fit`` for a loop written by hand."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import TensorDataset

from sktorch import TorchClassifier, TorchRegressor
from sktorch.data import SliceableDataset, make_loaders, pad_sequences
from sktorch.modules import MLP
from tests.data.samples import Items, ItemStream

SEED, EPOCHS = 3, 3


def hand_written(make, train, valid=None):
    """The losses of a plain loop; the seed is set as ``random_state`` sets it."""
    torch.manual_seed(SEED)
    module, criterion = make(), nn.CrossEntropyLoss(reduction="none")
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.01, fused=True)

    def loss_of(X, y, weight=1.0):
        return (criterion(module(X), y) * weight).mean()

    losses = {"train_loss": [], "valid_loss": []}
    for _ in range(EPOCHS):
        total = n_rows = 0
        module.train()
        for X, *rest in train:
            optimizer.zero_grad()
            loss = loss_of(X, *rest)
            loss.backward()
            optimizer.step()
            total, n_rows = total + loss.item() * len(X), n_rows + len(X)
        losses["train_loss"].append(total / n_rows)
        if valid is not None:
            module.eval()
            with torch.no_grad():
                sums = [(loss_of(X, *rest).item() * len(X), len(X)) for X, *rest in valid]
            losses["valid_loss"].append(np.divide(*np.sum(sums, axis=0)))
    return losses


def fitted_losses(X, y, sample_weight=None, **parameters):
    settings = {"lr": 0.01, "max_epochs": EPOCHS, "batch_size": 32, "random_state": SEED}
    fitted = TorchClassifier(
        MLP, module__dropout=0.3, device="cpu", n_iter_no_change=EPOCHS, **(settings | parameters)
    ).fit(X, y, sample_weight)
    return fitted.history_


def make_module(dtype=torch.float32):
    return MLP(4, 3, dropout=0.3, dtype=dtype)


@pytest.mark.parametrize("held_out", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("options", [{}, {"num_workers": 0}, {"shuffle": False, "drop_last": True}])
def test_a_plain_loop_over_them_is_fit(held_out, weighted, options, iris):
    X, y = iris
    if held_out and "drop_last" in options:
        options = {"shuffle": False}  # what is validated on is never dropped
    weights = np.random.RandomState(0).randint(0, 4, len(y)).astype(float) if weighted else None
    expected = fitted_losses(
        X,
        y,
        weights,
        early_stopping=held_out,
        **{f"iterator_train__{name}": value for name, value in options.items()},
    )
    train, valid = make_loaders(
        X,
        y,
        weights,
        validation_fraction=0.1 if held_out else None,
        batch_size=32,
        dtype=torch.float64,
        random_state=SEED,
        **options,
    )
    assert (valid is None) is not held_out
    losses = hand_written(lambda: make_module(torch.float64), train, valid)
    np.testing.assert_allclose(losses["train_loss"], expected[:, "train_loss"], rtol=1e-12)
    if held_out:
        np.testing.assert_allclose(losses["valid_loss"], expected[:, "valid_loss"], rtol=1e-12)


def test_the_losses_are_the_very_same_bits(iris):
    X, y = iris[0].astype("float32"), iris[1]
    expected = TorchClassifier(
        MLP, lr=0.01, max_epochs=EPOCHS, batch_size=32, random_state=SEED, device="cpu"
    ).fit(X, y)
    train, _ = make_loaders(X, y, validation_fraction=None, batch_size=32)
    torch.manual_seed(SEED)
    module, losses = MLP(4, 3), []
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.01, fused=True)
    for _ in range(EPOCHS):
        total = 0.0
        for batch, target in train:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(module(batch), target)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        losses.append(total / len(y))
    assert losses == expected.loss_curve_
    for own, by_hand in zip(expected.module_.parameters(), module.parameters(), strict=True):
        assert torch.equal(own, by_hand)


DATA = {
    "array": lambda X, y: (X, y),
    "lists": lambda X, y: (X.tolist(), y.tolist()),
    "DataFrame": lambda X, y: (pd.DataFrame(X), pd.Series(y)),
    "tensor": lambda X, y: (torch.from_numpy(X), torch.from_numpy(y)),
    "csr": lambda X, y: (sparse.csr_array(X), y),
    "coo": lambda X, y: (sparse.coo_array(X), y),
    "strings": lambda X, y: (X, np.array(["a", "b", "c"])[y]),
    "bool and float X": lambda X, y: (X.astype("float64"), y),
    "Dataset": lambda X, y: (Items(list(zip(X, y.tolist(), strict=True))),),
    "Dataset, y beside": lambda X, y: (Items([*X]), y),
    "TensorDataset": lambda X, y: (TensorDataset(torch.from_numpy(X), torch.from_numpy(y)),),
    "SliceableDataset": lambda X, y: (
        SliceableDataset(Items(list(zip(X, np.array(["u", "v", "w"])[y], strict=True)))),
    ),
}


@pytest.mark.parametrize("kind", DATA)
def test_every_kind_gives_the_same_batches(kind, iris):
    X, y = iris[0].astype("float32"), iris[1]
    epochs = []
    for data in ((X, y), DATA[kind](X, y)):
        train, valid = make_loaders(*data, batch_size=40, random_state=0)
        assert (len(train), len(valid)) == (4, 1)
        torch.manual_seed(0)
        epochs.append([*train, *valid])
    for (x, target), (given_x, given_target) in zip(*epochs, strict=True):
        assert given_x.dtype is torch.float32
        assert given_target.dtype is torch.int64
        assert torch.equal(x, given_x)
        assert torch.equal(target, given_target)


@pytest.mark.parametrize("to_kind", [np.asarray, torch.from_numpy, sparse.csr_array, pd.DataFrame])
def test_dicts(to_kind, iris):
    X, y = iris
    train, valid = make_loaders({"a": to_kind(X[:, :2]), "b": to_kind(X[:, 2:])}, y, batch_size=50)
    for batch, target in [*train, *valid]:
        assert {name: tuple(x.shape[1:]) for name, x in batch.items()} == {"a": (2,), "b": (2,)}
        assert len(batch["a"]) == len(batch["b"]) == len(target)


def test_sequences():
    sequences = [np.full((1 + row % 3, 2), row, dtype="float32") for row in range(20)]
    for given in (sequences, [torch.from_numpy(s) for s in sequences]):
        train, valid = make_loaders(given, np.arange(20) % 2, batch_size=6)
        rows = []
        for (padded, lengths), _ in [*train, *valid]:
            assert (lengths == 1 + padded[:, 0, 0] % 3).all()
            rows += padded[:, 0, 0].tolist()
        assert sorted(rows) == list(range(20))


def test_a_dataset_with_a_collate_function():
    samples = Items([(torch.ones(1 + row % 3, 2), row % 2) for row in range(20)])
    train, _ = make_loaders(samples, batch_size=5, collate_fn=pad_sequences)
    (padded, lengths), y = next(iter(train))
    assert padded.shape == (5, int(lengths.max()), 2)
    assert y.shape == (5,)


@pytest.mark.parametrize("shape", [(-1,), (-1, 1), (-1, 2)])
def test_numbers_are_targets_as_they_are(shape):
    X, y = load_diabetes(return_X_y=True)
    y = y.reshape(shape) if shape != (-1, 2) else np.c_[y, -y]
    train, valid = make_loaders(X, y, batch_size=64, random_state=0, dtype=torch.float64)
    _, held_out = train_test_split(np.arange(len(y)), test_size=45, random_state=0)
    assert torch.equal(torch.cat([target for _, target in valid]), torch.from_numpy(y[held_out]))
    fitted = TorchRegressor(max_epochs=1, device="cpu", random_state=0, early_stopping=True)
    assert fitted.fit(X, y).n_epochs_ == 1
    assert sum(len(target) for _, target in train) == len(y) - 45


def test_weights_have_a_mean_of_one_and_none_is_zero(iris):
    X, y = iris
    weights = np.arange(150) % 4
    train, valid = make_loaders(X, y, weights, random_state=0, batch_size=20)
    for loader in (train, valid):
        together = torch.cat([weight for _, _, weight in loader])
        assert together.mean() == pytest.approx(1)
        assert (together > 0).all()
    assert sum(len(y) for _, y, _ in [*train, *valid]) == (weights > 0).sum()


def test_indicators_are_left_as_they_are():
    y = np.arange(40).reshape(20, 2) % 2
    train, _ = make_loaders(np.zeros((20, 3)), y, validation_fraction=None)
    ((_, target),) = train
    assert target.dtype is torch.int64
    assert target.shape == (20, 2)


X, Y = np.random.RandomState(0).randn(20, 3), np.arange(20) % 2


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((X,), {}, ValueError, "y is None; only a dataset may hold its targets. Pass y"),
        ((X, Y[:7]), {}, ValueError, r"inconsistent numbers of samples: \[20, 7\]"),
        (({"a": X, "b": X[:3]}, Y), {}, ValueError, r"samples: \[20, 3\]"),
        ((X, Y, Y[:7]), {}, ValueError, r"inconsistent numbers of samples"),
        ((X, Y, -1.0 * Y), {}, ValueError, r"negative weights .*-1\.0\).*zero or more"),
        ((X, Y, 0 * Y), {}, ValueError, "at least one non-zero number.*Change sample_weight"),
        ((X, Y, np.full(20, np.nan)), {}, ValueError, "sample_weight contains NaN"),
        ((X[:2], Y[:2]), {}, ValueError, "A hold-out of 1 rows is needed.*validation_fraction"),
        ((ItemStream([*X]),), {}, TypeError, "ItemStream is an IterableDataset.*DataLoader"),
        ((Items([*X]),), {}, TypeError, "A sample .* is ndarray.*pass y beside"),
        ((X, Y), {"batchsize": 3}, TypeError, "unexpected keyword argument 'batchsize'"),
        ((X, Y), {"device": "nowhere"}, RuntimeError, "nowhere"),
    ],
)
def test_wrong_arguments(arguments, options, error, message):
    with pytest.raises(error, match=message):
        make_loaders(*arguments, **options)
