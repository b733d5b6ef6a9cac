"""One tensor, a dict of them, or a tuple."""

import pytest
import torch
from torch import nn

from sktorch.data.structure import call_module, split_rows, tree_leaves, tree_map

A, B = torch.arange(5), torch.arange(10).reshape(5, 2)


@pytest.mark.parametrize(
    ("X", "expected"), [(A, [A]), ({"a": A, "b": B}, [A, B]), ((A, B), [A, B]), ((A,), [A])]
)
def test_leaves_and_each(X, expected):
    assert all(map(torch.equal, tree_leaves(X), expected))
    doubled = tree_map(lambda x: 2 * x, X)
    assert type(doubled) is type(X)
    assert all(map(torch.equal, tree_leaves(doubled), [2 * x for x in expected]))
    if isinstance(X, dict):
        assert [*doubled] == [*X]


@pytest.mark.parametrize("size", [1, 2, 5, 9])
@pytest.mark.parametrize("X", [A, {"a": A, "b": B}, (A, B)])
def test_pieces_together_are_the_whole(X, size):
    pieces = split_rows(X, size)
    assert [len(tree_leaves(piece)[0]) for piece in pieces[:-1]] == [size] * (len(pieces) - 1)
    assert all(type(piece) is type(X) for piece in pieces)
    together = [torch.cat(parts) for parts in zip(*map(tree_leaves, pieces), strict=True)]
    assert all(map(torch.equal, together, tree_leaves(X)))


def test_entries_of_several_lengths_are_no_batch():
    with pytest.raises(ValueError, match="shorter"):
        split_rows({"a": A, "b": B[:2]}, 2)


class Difference(nn.Module):
    def forward(self, a, b=1):
        return a - b


@pytest.mark.parametrize(
    ("X", "expected"), [(A, A - 1), ((A, 3), A - 3), ({"b": A, "a": 3}, 3 - A), ((A,), A - 1)]
)
def test_call(X, expected):
    assert torch.equal(call_module(Difference(), X), expected)
