"""
Contestants of the benchmarks
=============================

Each trains a new module on a workload and returns its ``predict_proba``. Those of torch begin with
the same weights and see the same batches.
"""

import math
import warnings
from contextlib import suppress
from functools import partial
from importlib import import_module

import torch
import torch.nn.functional as F
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from skorch import NeuralNetClassifier
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SEED = 0


def hand_written(workload, X, y, device):
    """The best simple loop: whole tensors, one permutation an epoch, slices, a fused optimizer."""
    torch.manual_seed(SEED)
    module = workload.module().to(device)
    optimizer = torch.optim.Adam(module.parameters(), lr=workload.lr, fused=True)
    X, y = torch.from_numpy(X).to(device), torch.from_numpy(y).to(device)
    for _ in range(workload.epochs):
        total = torch.zeros((), device=device)
        for X_batch, y_batch in shuffled(X, y, workload.batch_size):
            optimizer.zero_grad()
            loss = F.cross_entropy(module(X_batch), y_batch)
            loss.backward()
            optimizer.step()
            total += loss.detach()
        total.item()
    return partial(bare_module, module.eval(), device)


def captured(workload, X, y, device):
    """The same loop, its step captured in a CUDA graph; the short batch runs eagerly.

    Capturing needs a warm-up, which trains the first batch three times more.
    """
    torch.manual_seed(SEED)
    module = workload.module().to(device)
    optimizer = torch.optim.Adam(module.parameters(), lr=workload.lr, fused=True, capturable=True)
    X, y = torch.from_numpy(X).to(device), torch.from_numpy(y).to(device)
    total = torch.zeros((), device=device)
    X_static, y_static = X[: workload.batch_size].clone(), y[: workload.batch_size].clone()

    def step(X_batch, y_batch):
        optimizer.zero_grad()
        loss = F.cross_entropy(module(X_batch), y_batch)
        loss.backward()
        optimizer.step()
        total.add_(loss.detach())

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step(X_static, y_static)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step(X_static, y_static)

    for _ in range(workload.epochs):
        total.zero_()
        for X_batch, y_batch in shuffled(X, y, workload.batch_size):
            if len(X_batch) < len(X_static):
                step(X_batch, y_batch)
            else:
                X_static.copy_(X_batch)
                y_static.copy_(y_batch)
                graph.replay()
        total.item()
    return partial(bare_module, module.eval(), device)


def dataloader_loop(workload, X, y, device):
    """The loop of the tutorials: a DataLoader, Adam as it comes, the loss read every batch."""
    torch.manual_seed(SEED)
    module = workload.module().to(device)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(module.parameters(), lr=workload.lr)
    dataset = TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
    loader = DataLoader(dataset, batch_size=workload.batch_size, shuffle=True)
    for _ in range(workload.epochs):
        total = 0.0
        for X_batch, y_batch in loader:
            optimizer.zero_grad()
            loss = criterion(module(X_batch.to(device)), y_batch.to(device))
            loss.backward()
            optimizer.step()
            total += loss.item()
    return partial(bare_module_in_slices, module.eval(), device)


def skorch(workload, X, y, device):
    """skorch as it comes, without its hold-out."""
    torch.manual_seed(SEED)
    net = NeuralNetClassifier(
        workload.module,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=workload.lr,
        max_epochs=workload.epochs,
        batch_size=workload.batch_size,
        iterator_train__shuffle=True,
        train_split=None,
        device=str(device),
        verbose=0,
    )
    return net.fit(X, y).predict_proba


def mlp_classifier(workload, X, y, device):
    """scikit-learn's own network, on the CPU, without its weight decay."""
    classifier = MLPClassifier(
        workload.hidden,
        alpha=0,
        batch_size=min(workload.batch_size, len(X)),
        learning_rate_init=workload.lr,
        max_iter=workload.epochs,
        tol=0,
        n_iter_no_change=workload.epochs + 1,
        random_state=SEED,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # that all epochs were trained
        return classifier.fit(X, y).predict_proba


def sktorch(package, workload, X, y, device):
    """The subject, from a package of that name: a copy of an older version has another."""
    if workload.cold:
        forget_programs(package)
    classifier = import_module(package).TorchClassifier(
        workload.module,
        optimizer=torch.optim.Adam,
        lr=workload.lr,
        max_epochs=workload.epochs,
        batch_size=workload.batch_size,
        n_iter_no_change=math.inf,
        device=device,
        random_state=SEED,
    )
    return classifier.fit(X, y).predict_proba


def forget_programs(package):
    """Empty the cache of recorded steps, where a version has one."""
    with suppress(ModuleNotFoundError):
        import_module(f"{package}.training.programs").forget_programs()


def shuffled(X, y, batch_size):
    """Return the batches of an epoch in the order of a shuffling DataLoader, in a faster way."""
    torch.empty((), dtype=torch.int64).random_()  # what the loader draws before its sampler
    seed = int(torch.empty((), dtype=torch.int64).random_())
    order = torch.randperm(len(X), generator=torch.Generator().manual_seed(seed)).to(X.device)
    parts = (part.index_select(0, order) for part in (X, y))  # faster than part[order]
    return zip(*(part.split(batch_size) for part in parts), strict=True)


@torch.no_grad()
def bare_module(module, device, X):
    """The module's outputs, all rows in one call; not even a softmax."""
    return module(torch.from_numpy(X).to(device)).cpu().numpy()


@torch.no_grad()
def bare_module_in_slices(module, device, X, n_rows=1024):
    """The same, some rows at a time."""
    X = torch.from_numpy(X)
    return torch.cat([module(part.to(device)) for part in X.split(n_rows)]).cpu().numpy()


def contestants(workload, device, packages=("sktorch",)):
    """Who can take part, the hand-written loop first, then the packages last."""
    names = {"hand-written": hand_written}
    if device.type == "cuda":
        names["CUDA graph"] = captured
    names |= {"DataLoader loop": dataloader_loop, "skorch": skorch}
    if workload.hidden and device.type == "cpu":
        names["MLPClassifier"] = mlp_classifier
    return names | {package: partial(sktorch, package) for package in packages}
