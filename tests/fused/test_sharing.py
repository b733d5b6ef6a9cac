"""Equal data of several tasks are recognised, and kept once."""

from weakref import WeakValueDictionary

import pytest
import torch

from sktorch.data.batches import Batches
from sktorch.data.rows import Rows
from sktorch.data.sources import as_source
from sktorch.data.structure import tree_leaves
from sktorch.fused.sharing import SharedData

CPU = torch.device("cpu")


def make_data(n_rows, weighted=True):
    X = torch.arange(2.0 * n_rows).reshape(n_rows, 2)
    return X, torch.arange(n_rows), torch.arange(n_rows) / 2 if weighted else None


def test_epochs_with_one_key_are_the_same_batches():
    X, y, _ = make_data(10)
    other_rows, other_y = X.clone(), y.clone()
    other_rows[3, 1] += 1
    other_y[3] += 1
    half = torch.arange(5)

    def key(X=X, y=y, weight=None, index=None, size=4, shuffle=True, seed=0):
        index = torch.arange(10) if index is None else index
        rows = Rows(as_source(X), torch.float32, CPU)
        torch.manual_seed(seed)
        batches = Batches(rows, y, weight, index, batch_size=size, shuffle=shuffle)
        return SharedData(batches).key(batches.epoch().seed)

    others = [
        key(),
        key(other_rows),
        key(y=other_y),
        key(y=y.float()),
        key(weight=torch.ones(10)),
        key(index=half),
        key(size=5),
        key(shuffle=False),
        key(seed=1),
        key({"a": X}),
        key({"b": X}),
    ]
    assert len(set(others)) == len(others)
    assert key(X.clone(), y.clone()) == others[0]


@pytest.mark.parametrize("as_rows", [lambda X: X, lambda X: {"a": X, "b": X + 1}])
def test_equal_tensors_are_kept_once(as_rows):
    pool = WeakValueDictionary()
    index = torch.arange(10)
    X, y, _ = make_data(10)
    made = []
    for n_more in (0, 0, 1):
        rows = Rows(as_source(as_rows(X.clone() + n_more)), torch.float32, CPU)
        batches = Batches(rows, y.clone(), None, index, batch_size=4, shuffle=False)
        expected = [*batches]
        SharedData(batches).share(pool)
        made.append(batches)
        for batch, before in zip(batches, expected, strict=True):
            torch.testing.assert_close(batch, before)
    first, second, other = (
        [*tree_leaves(batches.rows.values), batches.targets] for batches in made
    )
    assert [a is b for a, b in zip(first, second, strict=True)] == [True] * len(first)
    assert [a is b for a, b in zip(first, other, strict=True)][-2:] == [False, True]
    n_kept = len(pool)
    del made, rows, batches, first, second, other
    assert len(pool) < n_kept, "it keeps nothing that nobody else has"
