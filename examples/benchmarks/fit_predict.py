"""
Fit and predict, side by side
=============================

How long the same training takes in a hand-written loop, a loop over a ``DataLoader``, skorch,
scikit-learn's ``MLPClassifier`` and sktorch, and how long their ``predict_proba`` takes. All use
the same module, data, batch size, epochs, Adam and learning rate, float32, one CPU thread on one
core, and no early termination. They run in turn, in another order each time; a ratio is the median
of the ratios to the hand-written loop's run in the same turn.

::

    python examples/benchmarks/fit_predict.py --json figures.json --plot figures.png
    python examples/benchmarks/fit_predict.py --workloads digits,tabular --repeats 3
    python examples/benchmarks/fit_predict.py --device cuda
"""

from conditions import one_core, report

one_core()

import argparse
import gc
import math
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from operator import truediv
from pathlib import Path
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits, load_iris, make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from skorch import NeuralNetClassifier
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from sktorch import TorchClassifier

# %%
# Modules
# -------


def mlp(*widths):
    """Linear layers with ReLU between them."""
    layers = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def cnn(size, *channels):
    """Blocks of convolution, ReLU and pooling on images of one channel, then a linear layer."""
    layers = []
    for pair in pairwise((1, *channels)):
        layers += [nn.Conv2d(*pair, kernel_size=3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        size //= 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * size**2, 10))


# %%
# Data
# ----


def iris():
    """150 rows of 4 measurements."""
    X, y = load_iris(return_X_y=True)
    return X.astype("float32"), y


def digits(n_rows=None, side=8, as_images=False):
    """Handwritten digits, 8×8 pixels from 0 to 1; a larger side repeats pixels and crops."""
    data = load_digits()
    images = data.images[:n_rows].astype("float32") / 16
    times = math.ceil(side / 8)
    images = images.repeat(times, axis=1).repeat(times, axis=2)
    crop = (8 * times - side) // 2
    images = np.ascontiguousarray(images[:, None, crop : crop + side, crop : crop + side])
    return images if as_images else images.reshape(len(images), -1), data.target[:n_rows]


def generated(n_rows, n_features, n_classes):
    """Clusters of points, half of the features informative."""
    X, y = make_classification(
        n_rows, n_features, n_informative=n_features // 2, n_classes=n_classes, random_state=0
    )
    return X.astype("float32"), y


# %%
# Workloads
# ---------


@dataclass(frozen=True)
class Workload:
    """A training that every contestant does; about 0.2 to 3 seconds each."""

    about: str
    data: Callable
    module: Callable
    batch_size: int
    epochs: int
    lr: float = 1e-3
    n_predict: int = 200_000

    @property
    def hidden(self):
        """Hidden layers for an ``MLPClassifier``; None where the module is no MLP."""
        return self.module.args[1:-1] if self.module.func is mlp else None


WORKLOADS = {
    "iris": Workload(
        "iris (real), 150×4, MLP 4-16-3, batch 32",
        iris, partial(mlp, 4, 16, 3), batch_size=32, epochs=200,
    ),
    "digits": Workload(
        "digits (real), 1,797×64, MLP 64-100-10, batch 128",
        digits, partial(mlp, 64, 100, 10), batch_size=128, epochs=50,
    ),
    "tabular": Workload(
        "generated, 20,000×50, MLP 50-100-3, batch 128",
        partial(generated, 20_000, 50, 3), partial(mlp, 50, 100, 3), batch_size=128, epochs=5,
    ),
    "wide": Workload(
        "generated, 20,000×100, MLP 100-512-3, batch 256",
        partial(generated, 20_000, 100, 3), partial(mlp, 100, 512, 3), batch_size=256, epochs=5,
    ),
    "large": Workload(
        "generated, 1,000,000×20, MLP 20-100-2, batch 1,024",
        partial(generated, 1_000_000, 20, 2), partial(mlp, 20, 100, 2), batch_size=1024, epochs=1,
    ),
    "cnn": Workload(
        "digits (real), 1,797×1×8×8, CNN 16-32, batch 64",
        partial(digits, as_images=True), partial(cnn, 8, 16, 32), batch_size=64, epochs=6,
    ),
    "wide_cnn": Workload(
        "digits (real, enlarged), 320×1×28×28, CNN 32-64, batch 64",
        partial(digits, 320, 28, as_images=True), partial(cnn, 28, 32, 64), batch_size=64, epochs=2,
        n_predict=2_000,
    ),
}  # fmt: skip

# %%
# Contestants
# -----------
# Each trains a new model and returns its ``predict_proba``.


def hand_written(workload, X, y, device):
    """The best simple loop: whole tensors, one permutation an epoch, slices, a fused optimizer."""
    module = workload.module().to(device)
    optimizer = torch.optim.Adam(module.parameters(), lr=workload.lr, fused=True)
    X, y = torch.from_numpy(X).to(device), torch.from_numpy(y).to(device)
    for _ in range(workload.epochs):
        order = torch.randperm(len(X), device=device)
        shuffled = (X.index_select(0, order), y.index_select(0, order))  # faster than X[order]
        batches = zip(*(part.split(workload.batch_size) for part in shuffled), strict=True)
        total = torch.zeros((), device=device)
        for X_batch, y_batch in batches:
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
        order = torch.randperm(len(X), device=device)
        shuffled = (X.index_select(0, order), y.index_select(0, order))  # faster than X[order]
        batches = zip(*(part.split(workload.batch_size) for part in shuffled), strict=True)
        total.zero_()
        for X_batch, y_batch in batches:
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
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # that all epochs were trained
        return classifier.fit(X, y).predict_proba


def sktorch(workload, X, y, device):
    """The subject."""
    classifier = TorchClassifier(
        workload.module,
        optimizer=torch.optim.Adam,
        lr=workload.lr,
        max_epochs=workload.epochs,
        batch_size=workload.batch_size,
        n_iter_no_change=math.inf,
        device=device,
    )
    return classifier.fit(X, y).predict_proba


@torch.no_grad()
def bare_module(module, device, X):
    """The module's outputs, all rows in one call; not even a softmax."""
    return module(torch.from_numpy(X).to(device)).cpu().numpy()


@torch.no_grad()
def bare_module_in_slices(module, device, X, n_rows=1024):
    """The same, some rows at a time."""
    X = torch.from_numpy(X)
    return torch.cat([module(part.to(device)) for part in X.split(n_rows)]).cpu().numpy()


def contestants(workload, device):
    """Who can take part, the hand-written loop first."""
    names = {"hand-written": hand_written}
    if device.type == "cuda":
        names["CUDA graph"] = captured
    names |= {"DataLoader loop": dataloader_loop, "skorch": skorch}
    if workload.hidden and device.type == "cpu":
        names["MLPClassifier"] = mlp_classifier
    return names | {"sktorch": sktorch}


# %%
# Timing
# ------


def time_in_turn(functions, repeats, device, clock):
    """Call functions in turn, in another order each time.

    Parameters
    ----------
    functions : dict of str to callable
        The first is the reference.
    repeats : int
        Turns that count; one more goes before them.

    Returns
    -------
    timings : dict of str to dict
        ``seconds`` of every turn, their ``median``, and the median ``ratio`` to the reference.
    returned : dict of str to object
        What each function returned last.
    """
    names = list(functions)
    seconds, returned = {name: [] for name in names}, {}
    for turn in range(repeats + 1):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            gc.collect()
            synchronize(device)
            start = clock()
            returned[name] = functions[name]()
            synchronize(device)
            seconds[name].append(clock() - start)
    counted = {name: values[1:] for name, values in seconds.items()}
    timings = {
        name: {
            "seconds": values,
            "median": median(values),
            "ratio": median(map(truediv, values, counted[names[0]])),
        }
        for name, values in counted.items()
    }
    return timings, returned


def synchronize(device):
    """Wait for the GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(workload, repeats, device, clock):
    """Timings of ``fit`` and ``predict_proba``, and the accuracy on the training rows."""
    X, y = workload.data()
    many = np.resize(X, (workload.n_predict, *X.shape[1:]))
    fits = {
        name: partial(fit, workload, X, y, device)
        for name, fit in contestants(workload, device).items()
    }
    fit, models = time_in_turn(fits, repeats, device, clock)
    accuracy = {
        name: float((predict(X).argmax(axis=1) == y).mean()) for name, predict in models.items()
    }
    # The loops' models are bare modules: one takes all rows in one call, one takes slices.
    renamed = {"hand-written": "bare module", "DataLoader loop": "in slices"}
    models.pop("CUDA graph", None)
    predictions = {
        renamed.get(name, name): partial(predict, many) for name, predict in models.items()
    }
    predict, _ = time_in_turn(predictions, repeats, device, clock)
    return {
        "about": workload.about,
        "batches": workload.epochs * math.ceil(len(X) / workload.batch_size),
        "rows_predicted": workload.n_predict,
        "fit": fit,
        "predict_proba": predict,
        "accuracy": accuracy,
    }


# %%
# Results
# -------


ACTIONS = {"fit": ("batches", "a batch"), "predict_proba": ("rows_predicted", "a row")}


def columns(results, action):
    """Who took part in any workload, the reference first."""
    return max((list(result[action]) for result in results.values()), key=len)


def table(results, action):
    """Ratios to the reference as text, one line a workload."""
    reference, *others = columns(results, action)
    rows = [[action, reference, *others]]
    count, unit = ACTIONS[action]
    for result in results.values():
        timings = result[action]
        microseconds = timings[reference]["median"] / result[count] * 1e6
        cost = f"{microseconds:,.0f}" if microseconds >= 100 else f"{microseconds:.2g}"
        ratios = [f"{timings[name]['ratio']:.2f}" if name in timings else "–" for name in others]
        rows.append([result["about"], f"1 ({cost} µs {unit})", *ratios])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    )


def plot(results, path):
    """Draw the ratios as bars, to the left of 1 or to its right on a logarithmic scale."""
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(11, 1 + 0.8 * len(results)), sharey=True)
    for panel, action in zip(panels, ACTIONS, strict=True):
        reference, *names = columns(results, action)
        for number, name in enumerate(names):
            bars = {
                row + (number + 0.5) / len(names) * 0.8 - 0.4: result[action][name]["ratio"] - 1
                for row, result in enumerate(results.values())
                if name in result[action]
            }
            panel.barh(bars.keys(), bars.values(), height=0.7 / len(names), left=1, label=name)
        panel.axvline(1, color="black", linewidth=1)
        panel.set_xscale("log", base=2)
        panel.xaxis.set_major_formatter("{x:g}")
        panel.set(xlabel=f"time over {reference}", title=action)
        panel.legend()
    panels[0].set_yticks(range(len(results)), list(results))
    panels[0].invert_yaxis()
    figure.savefig(path, bbox_inches="tight", dpi=150)


def main():
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("::")[0])
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=7, help="default: %(default)s")
    parser.add_argument("--device", type=torch.device, default="cpu", help="default: %(default)s")
    parser.add_argument("--json", type=Path, help="write all timings here")
    parser.add_argument("--plot", type=Path, help="draw the ratios here (needs matplotlib)")
    parser.add_argument(
        "--cpu-time", action="store_true", help="time of the process only, for a busy machine"
    )
    arguments = parser.parse_args()
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    names = arguments.workloads.split(",")
    if unknown := set(names) - set(WORKLOADS):
        parser.error(f"no workloads {sorted(unknown)}; there are {list(WORKLOADS)}")

    torch.set_num_threads(1)
    results = {}
    for name in names:
        results[name] = measure(WORKLOADS[name], arguments.repeats, arguments.device, clock)
        print(f"{name}: done", file=sys.stderr)
    for action in ACTIONS:
        print(f"\n{table(results, action)}")
    report(results, arguments.json)
    if arguments.plot is not None:
        plot(results, arguments.plot)


if __name__ == "__main__":
    main()
