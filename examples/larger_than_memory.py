"""
Larger than memory
==================

A net trains on rows that stay on the disk: in a folder of Parquet files, which a small dataset
reads, and in a memory map. Data: made up, 100,000 rows of 50 numbers; ``--rows 10000000`` is 2 GB,
``--folder`` says where to put them.
"""

# %%
# Rows on the disk
# ----------------
# Parquet files of 50,000 rows each, written one after the other. polars reads and writes them; with
# pyarrow or pandas it is one line each, too.
import argparse
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

try:
    import polars as pl
except ImportError as error:
    raise SystemExit("This example reads Parquet with polars: pip install polars") from error

parser = argparse.ArgumentParser()
parser.add_argument("--rows", type=int, default=100_000)
parser.add_argument("--folder", type=Path, help="a folder for the files, which are left there")
arguments = parser.parse_args()
temporary = tempfile.TemporaryDirectory()
folder = arguments.folder or Path(temporary.name)
N_FEATURES, N_IN_FILE = 50, 50_000


def chunks(n_rows):
    """Yield features and labels of a part of the rows at a time."""
    for number, start in enumerate(range(0, n_rows, N_IN_FILE)):
        generator = np.random.default_rng(number)
        n_in_file = min(N_IN_FILE, n_rows - start)
        X = generator.standard_normal((n_in_file, N_FEATURES), np.float32)
        signal = X[:, 0] * X[:, 1] + X[:, 2]
        yield X, (signal + 0.1 * generator.standard_normal(n_in_file) > 0).astype(np.int64)


names = [f"feature_{number}" for number in range(N_FEATURES)]
folder.mkdir(parents=True, exist_ok=True)
for number, (X, y) in enumerate(chunks(arguments.rows)):
    frame = pl.DataFrame(X, schema=names).with_columns(label=y)
    frame.write_parquet(folder / f"{number:05}.parquet")
files = sorted(folder.glob("*.parquet"))

# %%
# A dataset
# ---------
# A file with columns is read many rows at a time, and a ``ChunkedDataset`` takes them so: the
# estimator cuts them to batches. Every pass shuffles the files, reads a few of them, and shuffles
# their rows; files whose rows are sorted by their labels are the reason to read a few at once. What
# is drawn from torch's generator follows the estimator's ``random_state``.
import torch

from sktorch.data import ChunkedDataset


class ParquetFiles:
    """Features and labels of Parquet files, ``n_mixed`` files at a time; in order if that is 1."""

    def __init__(self, files, n_mixed):
        self.files, self.n_mixed = files, n_mixed

    def __iter__(self):
        is_shuffled = self.n_mixed > 1
        order = torch.randperm(len(self.files)) if is_shuffled else torch.arange(len(self.files))
        for numbers in order.split(self.n_mixed):
            frame = pl.read_parquet([self.files[number] for number in numbers])
            X, y = frame.select(names).to_numpy(order="c"), frame["label"].to_numpy()
            rows = torch.randperm(len(y)).numpy() if is_shuffled else slice(None)
            yield X[rows], y[rows]


# %%
# Memory
# ------
# Pages of a file that lie in memory are the system's, which takes them back when it needs them.
# What counts is what the process holds beside them.


speeds = {}


class Measured:
    """Prints rows per second, and the most memory that was taken beside pages of files."""

    def __init__(self, name, n_rows):
        self.name, self.n_rows, self.is_over = name, n_rows, threading.Event()

    def __enter__(self):
        self.before = self.most = private_megabytes()
        self.watcher = threading.Thread(target=self.watch)
        self.watcher.start()
        self.start = time.perf_counter()

    def watch(self):
        while not self.is_over.wait(0.005):
            self.most = max(self.most, private_megabytes())

    def __exit__(self, *exception):
        seconds = time.perf_counter() - self.start
        self.is_over.set()
        self.watcher.join()
        speeds[self.name] = self.n_rows / seconds
        print(
            f"{self.name}: {speeds[self.name]:,.0f} rows a second, {self.most - self.before:.0f} MB"
        )


def private_megabytes():
    """Return the memory of the process that is not a file's; 0 on systems other than Linux."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))


# %%
# Training on Parquet
# -------------------
# The last file is for the test. A stream is read once for its labels, once for mean and scale of
# the features, and then once an epoch.
from sktorch import TorchClassifier

net = TorchClassifier(max_epochs=3, batch_size=256, lr=0.01, random_state=0)
train = ChunkedDataset(ParquetFiles(files[:-1], n_mixed=4))
test = ChunkedDataset(ParquetFiles(files[-1:], n_mixed=1))
n_train = N_IN_FILE * (len(files) - 1)
with Measured("Parquet, fit", n_train * (net.max_epochs + 2)):
    net.fit(train)
with Measured("Parquet, predict", arguments.rows - n_train):
    net.predict(test)
print(f"Test accuracy of the net trained on Parquet: {net.score(test):.3f}")

# %%
# Training on a memory map
# ------------------------
# ``fit``, ``predict`` and ``score`` take a memory map as the array that it is. By default all rows
# are shuffled, and the model is that of the array in memory. Where the file does not fit in
# memory, ``iterator_train__shuffle="blocks"`` shuffles runs of rows from 64 places.
path = folder / "X.npy"
X = np.lib.format.open_memmap(path, "w+", np.float32, (arguments.rows, N_FEATURES))
y = np.empty(arguments.rows, np.int64)
for number, (features, labels) in enumerate(chunks(arguments.rows)):
    part = slice(number * N_IN_FILE, number * N_IN_FILE + len(labels))
    X[part], y[part] = features, labels
X.flush()

X = np.load(path, mmap_mode="r")
net.set_params(iterator_train__shuffle="blocks")
with Measured("Memory map, fit", n_train * net.max_epochs):
    net.fit(X[:n_train], y[:n_train])
with Measured("Memory map, predict", arguments.rows):
    net.predict(X)
print(f"Test accuracy of the net trained on a map: {net.score(X[n_train:], y[n_train:]):.3f}")

# %%
# Rows a second
# -------------
import matplotlib.pyplot as plt

figure, ax = plt.subplots(figsize=(6.4, 2.4), layout="constrained")
ax.barh([*speeds], [*speeds.values()])
ax.invert_yaxis()
ax.set(xlabel="rows a second")
plt.show()
