"""
1. Data: from a raw table to batches
====================================

A net takes tensors of numbers, a batch at a time. This part makes them of a raw table: first by
hand, then by the line of sktorch that does it.
"""

# %%
# The raw table
# -------------
# One row is a penguin near Palmer Station, Antarctica. There is text, there are dates, and the bird
# of the last row below got away before it was measured. We want to tell male from female. The file
# is :download:`penguins-raw.csv <../tutorial/penguins-raw.csv>`; it has to lie beside the script.
import pandas as pd

table = pd.read_csv("penguins-raw.csv")
print(f"{len(table)} rows, {table.shape[1]} columns")
table.iloc[[0, 1, 3]].T

# %%
# Clean: what is of use
# ---------------------
# Rows without an answer teach nothing. Numbers of samples and names of nests say nothing about the
# next bird, and "Region" and "Stage" are the same in every row.
table = table.dropna(subset="Sex")
columns = [
    *("Species", "Island", "Clutch Completion", "Date Egg"),
    *("Culmen Length (mm)", "Culmen Depth (mm)", "Flipper Length (mm)", "Body Mass (g)"),
    *("Delta 15 N (o/oo)", "Delta 13 C (o/oo)"),
]
X, y = table[columns], table["Sex"]
print(f"{len(X)} rows; missing values: {X.isna().sum().sum()}")
print(y.value_counts().to_string())

# %%
# Split
# -----
# Most rows train the net, some choose between nets, and the rest judge the chosen one, once. We
# split before anything is learnt from the rows: the mean of a column is learnt, too.
from sklearn.model_selection import train_test_split

X_rest, X_test, y_rest, y_test = train_test_split(X, y, test_size=0.2, stratify=y, random_state=0)
X_train, X_valid, y_train, y_valid = train_test_split(
    X_rest, y_rest, test_size=0.25, stratify=y_rest, random_state=0
)
print(f"{len(X_train)} rows train, {len(X_valid)} choose, {len(X_test)} judge")

# %%
# Clean: numbers of everything
# ----------------------------
#
# .. rst-class:: by-hand
#
# By hand: fill what is missing with the median of the training rows, bring each column to mean 0
# and deviation 1, make a column of 0 and 1 for each category, and count dates as days of the year.
import numpy as np

numbers = columns[4:]
median = X_train[numbers].median()
mean, std = X_train[numbers].fillna(median).mean(), X_train[numbers].fillna(median).std()
categories = {name: sorted(X_train[name].unique()) for name in columns[:3]}


def as_numbers(X):
    parts = [((X[numbers].fillna(median) - mean) / std).to_numpy()]
    for name, values in categories.items():
        parts.append(np.stack([X[name] == value for value in values], axis=1))
    day = pd.to_datetime(X["Date Egg"]).dt.day_of_year
    parts.append(((day - 320) / 10).to_numpy()[:, np.newaxis])  # eggs are laid in November
    return np.concatenate(parts, axis=1).astype("float32")


A_train = as_numbers(X_train)
print(A_train.shape, A_train.dtype)

# %%
# .. rst-class:: by-sktorch
#
# With sktorch, the cleaner finds out what each column is, and learns from the training rows alone.
# It also marks what was missing, and makes year and season of the dates.
from sktorch.preprocessing import make_cleaner

cleaner = make_cleaner().fit(X_train)
cleaner.transform(X_train).shape

# %%
# Its report says what became of each column, and what is worth a look.
cleaner.report()

# %%
# .. rst-class:: by-hand
#
# Labels are text, and a loss wants numbers. By hand we number them.
labels = sorted(y_train.unique())
c_train = np.array([labels.index(label) for label in y_train])
print(labels, c_train[:5])

# %%
# A classifier of sktorch does this inside, and predicts the labels as they stand in ``y``.
#
# Dataset
# -------
#
# .. rst-class:: by-hand
#
# A :class:`~torch.utils.data.Dataset` says how many rows there are, and returns a row as tensors.
import torch
from torch.utils.data import DataLoader, Dataset


class Penguins(Dataset):
    def __init__(self, X, y):
        self.X, self.y = torch.from_numpy(X), torch.from_numpy(y)

    def __len__(self):
        return len(self.X)

    def __getitem__(self, index):
        return self.X[index], self.y[index]


dataset = Penguins(A_train, c_train)
row, label = dataset[0]
print(len(dataset), row.shape, label)

# %%
# DataLoader
# ----------
#
# .. rst-class:: by-hand
#
# A :class:`~torch.utils.data.DataLoader` shuffles the rows of a dataset and cuts batches.
# ``iter`` begins a pass, and ``next`` gets a batch: 32 rows with their answers.
torch.manual_seed(0)
loader = DataLoader(dataset, batch_size=32, shuffle=True)
X_batch, y_batch = next(iter(loader))
print(len(loader), X_batch.shape, y_batch.shape)

# %%
# .. rst-class:: by-sktorch
#
# With sktorch there is neither dataset nor loader to write: ``fit`` takes the table, and
# ``batch_size`` is a parameter. For a loop of your own, `make_loaders` has the batches of ``fit``.
from sktorch.data import make_loaders

torch.manual_seed(0)
train, _ = make_loaders(A_train, y_train, batch_size=32, validation_fraction=None)
same = [torch.equal(a, b) for a, b in zip(next(iter(train)), (X_batch, y_batch), strict=True)]
print(f"The same rows and answers: {same}")

# %%
# Next: :doc:`2_training`.
