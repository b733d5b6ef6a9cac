"""Digests: the same in another process, another one for other data, settings or code."""

import random
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from sklearn.metrics import f1_score, make_scorer
from sklearn.model_selection import StratifiedKFold
from skorch.callbacks import EarlyStopping, EpochScoring
from torch import nn
from torch.utils.data import TensorDataset

from sktorch._digest import digest
from sktorch.data import SliceableDataset

SCALE = 2.0


def scaled(X):
    return X * SCALE


class Net(nn.Module):
    width = 3

    def __init__(self, bias=True):
        super().__init__()
        self.layer = nn.Linear(3, self.width, bias)

    @property
    def doubled(self):
        return 2 * self.width

    @staticmethod
    def name():
        return "net"

    def forward(self, X):
        return scaled(self.layer(X)) + len({"a", "b", "c"})


class Unpicklable:
    def __init__(self, value):
        self.value, self.itself = value, self

    def __getstate__(self):
        raise TypeError


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value


def added(number):
    return lambda X: X + number


def filled(module, value):
    for parameter in module.parameters():
        nn.init.constant_(parameter, value)
    return module


def with_forward(forward):
    return type("Net", (nn.Module,), {"forward": forward})


# A value, and one that differs.
PAIRS = {
    "number": lambda: (1, 2),
    "kind of number": lambda: (1, 1.0),
    "text": lambda: ("1", "2"),
    "text and number": lambda: (1, "1"),
    "bytes": lambda: (b"1", b"2"),
    "nothing": lambda: (None, False),
    "list": lambda: ([1, [2]], [[1], 2]),
    "list and tuple": lambda: ([1], (1,)),
    "dict": lambda: ({"a": 1}, {"a": 2}),
    "set": lambda: ({"a", "b", "c"}, {"a", "b", "d"}),
    "slice": lambda: (slice(1), slice(2)),
    "path": lambda: (Path("a"), Path("b")),
    "array": lambda: (np.arange(6.0).reshape(2, 3)[:, ::2], np.arange(4.0).reshape(2, 2)),
    "shape": lambda: (np.zeros((2, 3)), np.zeros((3, 2))),
    "array's dtype": lambda: (np.zeros(2, "int32"), np.zeros(1, "int64")),
    "array of no dimension": lambda: (np.array(1), np.array(2)),
    "numpy's number": lambda: (np.float64(1), np.float64(2)),
    "objects": lambda: (np.array(["a", 1, None], object), np.array(["a", 2, None], object)),
    "tensor": lambda: (torch.ones(2, 3).T, torch.ones(2, 3)),
    "bfloat16": lambda: (torch.ones(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.float16)),
    "conjugate": lambda: (torch.tensor([1j]).conj(), torch.tensor([1j])),
    "gradient": lambda: (torch.ones(1, requires_grad=True), torch.ones(1)),
    "sparse tensor": lambda: (torch.eye(2).to_sparse(), torch.eye(2).to_sparse() * 2),
    "sparse array": lambda: (scipy.sparse.eye_array(3), scipy.sparse.eye_array(3) * 2),
    "table": lambda: (pd.DataFrame({"a": ["x", "y"]}), pd.DataFrame({"b": ["x", "y"]})),
    "series": lambda: (pd.Series([1, 2]), pd.Series([1, 3])),
    "class": lambda: (torch.optim.SGD, torch.optim.AdamW),
    "class of the user": lambda: (Net, with_forward(scaled)),
    "code": lambda: (with_forward(lambda self, X: X), with_forward(lambda self, X: -X)),
    "bound method": lambda: (filled(Net(), 1).forward, filled(Net(), 2).forward),
    "module": lambda: (filled(Net(), 1), filled(Net(), 2)),
    "layer": lambda: (nn.Dropout(0.1), nn.Dropout(0.2)),
    "function": lambda: (scaled, added),
    "closure": lambda: (added(1), added(2)),
    "partial": lambda: (partial(scaled, X=1), partial(scaled, X=2)),
    "built in": lambda: (torch.relu, torch.sigmoid),
    "scorer": lambda: (make_scorer(f1_score), make_scorer(f1_score, average="macro")),
    "splitter": lambda: (StratifiedKFold(3), StratifiedKFold(4)),
    "callbacks": lambda: ([("a", EpochScoring("f1"))], [("a", EarlyStopping())]),
    "dataset": lambda: (
        SliceableDataset(TensorDataset(torch.ones(3), torch.ones(3))),
        SliceableDataset(TensorDataset(torch.ones(3), torch.ones(3)))[:2],
    ),
    "object that can't be pickled": lambda: (Unpicklable(1), Unpicklable(2)),
    "object with slots": lambda: (Slotted(1), Slotted(2)),
    "numpy's generator": lambda: (np.random.default_rng(0), np.random.default_rng(1)),
    "numpy's old generator": lambda: (np.random.RandomState(0), np.random.RandomState(1)),
    "torch's generator": lambda: (torch.Generator(), torch.Generator().manual_seed(1)),
    "Python's generator": lambda: (random.Random(0), random.Random(1)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_equal_values_have_one_digest_and_others_another(name):
    (one, other), (again, _) = PAIRS[name](), PAIRS[name]()
    assert digest(one) == digest(again) != digest(other)


def test_digests_are_the_same_in_every_process():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import importlib\n"
        "module = importlib.import_module(sys.argv[2])\n"
        "print({name: module.digest(make()[0]) for name, make in module.PAIRS.items()})"
    )
    root = Path(__file__).parents[__name__.count(".")]
    printed = {
        subprocess.run(
            [sys.executable, "-c", code, root, __name__],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1
    assert str({name: digest(make()[0]) for name, make in PAIRS.items()}) in printed.pop()


def test_a_global_number_that_a_function_reads_counts(monkeypatch):
    before = digest(scaled), digest(Net)
    monkeypatch.setattr(sys.modules[__name__], "SCALE", 3.0)
    assert digest(scaled) != before[0]
    assert digest(Net) != before[1]


def test_an_equal_object_counts_as_the_same_one():
    X = np.ones(3)
    assert digest([X, X]) == digest([X, X.copy()])


def test_large_arrays_are_read_in_parts(tmp_path):
    X = np.arange(2**22 + 3.0)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert digest(mapped) == digest(X) != digest(X[::-1])
