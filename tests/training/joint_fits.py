"""Fits that several processes make together, and one alone."""

import tempfile
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.datasets import load_diabetes, load_iris
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, EpochScoring
from torch import nn
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from sktorch import TorchClassifier, TorchRegressor
from sktorch.data import ChunkedDataset, pad_sequences

X, Y = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)
X_REGRESSION, Y_REGRESSION = load_diabetes(return_X_y=True)
# The last of the batches is short, and so is a share of most.
SETTINGS: dict[str, Any] = {"max_epochs": 3, "batch_size": 33, "random_state": 0}
WEIGHTS = np.linspace(0, 3, len(Y)) ** 2


class Linear(nn.Module):
    def __init__(self, n_outputs=3, n_features=4):
        super().__init__()
        self.layer = nn.Linear(n_features, n_outputs, dtype=torch.float64)
        self.unused = nn.Linear(2, 2, dtype=torch.float64)

    def forward(self, X):
        return self.layer(X)


class Named(Linear):
    def forward(self, length, width):
        return self.layer(torch.cat([length, width], 1))


class Normalised(nn.Module):
    """Batch norms with and without parameters, and with several values a row."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm1d(4, affine=False),
            nn.Linear(4, 12),
            nn.BatchNorm1d(12, momentum=None),
            nn.Tanh(),
            nn.Unflatten(1, (3, 2, 2)),
            nn.BatchNorm2d(3, track_running_stats=False),
            nn.Flatten(),
            nn.Linear(12, 3),
        ).double()

    def forward(self, X):
        return self.layers(X)


class Tokens(nn.Module):
    """A sparse embedding of whole numbers."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(9, 3, sparse=True, dtype=torch.float64)

    def forward(self, X):
        return self.table(X.long()).sum(1)


class MeanOfSequence(Linear):
    def forward(self, X, lengths):
        mask = torch.arange(X.shape[1]) < lengths[:, None]
        return self.layer((X * mask[..., None]).sum(1) / lengths[:, None])


class Stream(IterableDataset):
    """The flowers, in an order that numpy's global generator draws."""

    def __iter__(self):
        for row in np.random.permutation(len(X)):
            yield torch.tensor(X[row]), int(Y[row])


class Chunks:
    """The flowers in seven parts, in an order that torch's generator draws."""

    def __iter__(self):
        for part in torch.randperm(7).tolist():
            yield X[part::7], Y[part::7]


class Flowers(Dataset):
    def __len__(self):
        return len(X)

    def __getitem__(self, row):
        return torch.tensor(X[row]), int(Y[row])


class Sequences(Dataset):
    """Flowers of several lengths."""

    def __len__(self):
        return len(X)

    def __getitem__(self, row):
        return torch.tensor(X[row]).repeat(1 + row % 5, 1), int(Y[row])


class Penalised(nn.Module):
    """A loss with a parameter of its own, and a penalty on the module's weights."""

    def __init__(self, reduction="mean"):
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(()))
        self.reduction = reduction

    def forward(self, output, target, module, X):
        scaled = output * self.temperature
        loss = nn.functional.cross_entropy(scaled, target, reduction=self.reduction)
        penalty = sum((weight**2).sum() for weight in module.parameters())
        return loss + 0.01 * penalty + 0.1 * ((output.softmax(1).sum(1) - X.mean(1)) ** 2).mean()


def largest_difference(output, target):
    """Compare rows with each other: no mean of losses of single rows."""
    return nn.functional.cross_entropy(output, target) + (output[:, None] - output).abs().max()


class Batches(Callback):
    """Write down what it sees of batches."""

    def on_train_begin(self, net, **_):
        self.seen = []

    def on_grad_computed(self, net, named_parameters, **_):
        gradients = [p.grad for _, p in named_parameters if p.grad is not None]
        self.seen.append(float(sum(gradient.norm() for gradient in gradients)))

    def on_batch_end(self, net, batch, loss, y_pred, **_):
        self.seen += [float(loss), float(y_pred.sum()), len(batch[1])]

    def on_epoch_end(self, net, **_):
        net.history.record("seen", sum(self.seen))


def fitted(estimator, *data, **given) -> dict[str, Any]:
    """Return what a fit has made."""
    return made_by(estimator.fit(*data, **given))


def made_by(estimator) -> dict[str, Any]:
    rows = estimator.history_.to_list()
    return {
        "weights": {k: v.numpy() for k, v in estimator.module_.state_dict().items()},
        "history": [
            {name: v for name, v in row.items() if isinstance(v, float) and name != "dur"}
            for row in rows
        ],
        "best_epoch": estimator.best_epoch_,
        "n_epochs": estimator.n_epochs_,
    }


def classified(*data, fit=MappingProxyType({}), **parameters) -> dict[str, Any]:
    net = TorchClassifier(**SETTINGS | {"module__dtype": torch.float64} | parameters)
    return fitted(net, *(data or (X, Y)), **fit)


def of_module(module, *data, fit=MappingProxyType({}), **parameters) -> dict[str, Any]:
    return fitted(TorchClassifier(module, **SETTINGS | parameters), *(data or (X, Y)), **fit)


def regressed(*data, **parameters) -> dict[str, Any]:
    net = TorchRegressor(**SETTINGS | parameters)
    return fitted(net, *(data or (X_REGRESSION, Y_REGRESSION)))


def resumed(**parameters) -> dict[str, Any]:
    """Train two epochs, and go on from the file, in a folder of rank 0."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(shared(folder), "training.checkpoint")
        settings = SETTINGS | {"checkpoint": path} | parameters
        TorchClassifier(**settings | {"max_epochs": 2}).fit(X, Y)
        return made_by(TorchClassifier(**settings | {"max_epochs": 5}).fit(X, Y))


def shared(folder: str) -> str:
    """Return the folder of rank 0."""
    if torch.distributed.is_initialized():
        folders = [folder]
        torch.distributed.broadcast_object_list(folders)
        return folders[0]
    return folder


def scored() -> dict[str, Any]:
    pipeline = make_pipeline(StandardScaler(), TorchClassifier(**SETTINGS))
    return {"scores": cross_val_score(pipeline, X, Y, scoring="neg_log_loss")}


def searched() -> dict[str, Any]:
    search = GridSearchCV(TorchClassifier(**SETTINGS), {"lr": [0.01, 0.1]}, cv=3)
    return made_by(search.fit(X, Y).best_estimator_)


def continued() -> dict[str, Any]:
    net = TorchClassifier(**SETTINGS, warm_start=True).fit(X, Y)
    net.set_params(lr=0.02).fit(X, Y)
    return made_by(net.partial_fit(X[:50], Y[:50]))


# Of two rows, the last batch, three processes compute none in one of them.
FITS_OF_THREE = {
    "plain": partial(of_module, Linear, batch_size=74),
    "batch_norm": partial(of_module, Normalised, batch_size=74, early_stopping=True),
    "dataset": partial(of_module, Linear, Flowers(), batch_size=74),
}
FITS = {
    "plain": classified,
    "last_row_alone": partial(classified, batch_size=149),
    "sample_weight": partial(classified, fit={"sample_weight": WEIGHTS}),
    "class_weight": partial(classified, class_weight={0: 1, 1: 5, 2: 0.5}, early_stopping=True),
    "weights_of_loss": partial(classified, criterion__weight=torch.tensor([1.0, 5, 0.5]).double()),
    "sum_of_losses": partial(classified, criterion__reduction="sum", lr=1e-4),
    "rows_compared": partial(of_module, Linear, criterion=largest_difference),
    "loss_with_parameter": partial(of_module, Linear, criterion=Penalised),
    "early_stopping": partial(
        classified, early_stopping=True, n_iter_no_change=2, max_epochs=30, lr=0.1
    ),
    "validation": partial(classified, validation=(X[::3], Y[::3]), early_stopping=True),
    "scoring": partial(
        classified,
        validation_fraction=0.3,
        early_stopping=True,
        scoring=["roc_auc_ovr", "train_f1_macro"],
    ),
    "plateau": partial(classified, lr_schedule="plateau", lr=0.5, lr_schedule__patience=0),
    "one_cycle": partial(classified, lr_schedule="onecycle", lr=0.01),
    "sgd": partial(classified, optimizer="sgd", optimizer__momentum=0.9, lr=0.1),
    "lbfgs": partial(classified, optimizer=torch.optim.LBFGS, batch_size=150),
    "sparse": partial(
        of_module,
        Tokens,
        (4 + X).round().clip(0, 8).astype(int),
        Y,
        optimizer=torch.optim.SparseAdam,
    ),
    "batch_norm": partial(of_module, Normalised, early_stopping=True),
    "batch_norm_last_row": partial(of_module, Normalised, batch_size=149),
    "batch_norm_of_dataset": partial(of_module, Normalised, Flowers(), batch_size=50),
    "mlp_with_batch_norm": partial(classified, module__normalization="batch"),
    "clip": partial(classified, gradient_clip=0.1),
    "accumulation": partial(classified, gradient_accumulation=3),
    "augment": partial(classified, augment=torch.sin),
    "callbacks": partial(classified, callbacks=[Batches, EpochScoring("accuracy")]),
    "dict": partial(of_module, Named, {"length": X[:, :2], "width": X[:, 2:]}, Y),
    "sparse_matrix": partial(of_module, Linear, sparse.csr_array(X), Y),
    "tensors": partial(classified, TensorDataset(torch.tensor(X), torch.tensor(Y))),
    "dataset": partial(classified, Flowers()),
    "dataset_and_weights": partial(classified, Flowers(), fit={"sample_weight": WEIGHTS + 1}),
    "dataset_last_row_alone": partial(classified, Flowers(), batch_size=149),
    "dataset_held_out": partial(classified, Flowers(), early_stopping=True),
    "workers": partial(classified, Flowers(), iterator_train__num_workers=2),
    "sampler": partial(classified, iterator_train__sampler=[*range(0, 150, 2)]),
    "sequences": partial(
        of_module,
        MeanOfSequence,
        Sequences(),
        iterator_train__collate_fn=pad_sequences,
        iterator_valid__collate_fn=pad_sequences,
        early_stopping=True,
    ),
    "stream": partial(classified, Stream(), validation=Stream()),
    "chunks": partial(classified, ChunkedDataset(Chunks()), validation=Stream()),
    "regressor": regressed,
    "regressor_stops": partial(regressed, early_stopping=True, criterion="huber"),
    "continued": continued,
    "cross_val_score": scored,
    "search": searched,
    "resumed": resumed,
}
