"""Padded batches of sequences."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from sktorch.data.padding import pad_sequences
from sktorch.modules import RecurrentNet

SEQUENCES = [torch.arange(2 * n).reshape(n, 2).float() for n in (3, 1, 4)]


def check(inputs):
    padded, lengths = inputs
    assert padded.shape == (3, 4, 2)
    assert padded.dtype is torch.float32
    assert lengths.tolist() == [3, 1, 4]
    assert lengths.dtype is torch.int64
    for row, sequence in zip(padded, SEQUENCES, strict=True):
        assert torch.equal(row[: len(sequence)], sequence)
        assert not row[len(sequence) :].any()


@pytest.mark.parametrize(
    "samples",
    [SEQUENCES, [x.numpy() for x in SEQUENCES], [(x,) for x in SEQUENCES]],
)
def test_bare_sequences(samples):
    check(pad_sequences(samples))


def test_targets_and_more():
    samples = list(zip(SEQUENCES, [1, 0, 1], np.array([0.5, 1.0, 2.0]), strict=True))
    inputs, targets, weights = pad_sequences(samples)
    check(inputs)
    assert torch.equal(targets, torch.tensor([1, 0, 1]))
    assert torch.equal(weights, torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64))


@pytest.mark.parametrize("shape", [(), (2,), (2, 3)])
def test_any_shape_after_the_steps(shape):
    padded, lengths = pad_sequences([torch.ones(n, *shape, dtype=torch.int64) for n in (2, 5)])
    assert padded.shape == (2, 5, *shape)
    assert padded.dtype is torch.int64
    assert lengths.tolist() == [2, 5]


def test_loader_to_module():
    samples = list(zip(SEQUENCES, [1, 0, 1], strict=True))
    ((X, lengths), y) = next(iter(DataLoader(samples, 3, collate_fn=pad_sequences)))
    module = RecurrentNet((None, 2), 2).eval()
    alone = torch.cat([module(x[None]) for x in SEQUENCES])
    torch.testing.assert_close(module(X, lengths), alone)
    assert y.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([1.0, 2.0], "sequence 0 of the batch is a scalar; expected shape"),
        ([(torch.ones(2), 0), (torch.tensor(1.0), 0)], "sequence 1 of the batch is a scalar"),
        ([torch.ones(2, 3), torch.ones(0, 3)], "sequence 1 of the batch is empty"),
        (
            [torch.ones(2, 3), torch.ones(2, 4)],
            r"sequence 1 of the batch has shape \(2, 4\).*the first \(2, 3\)",
        ),
        ([torch.ones(2, 3), torch.ones(2)], r"sequence 1 of the batch has shape \(2,\)"),
        ([torch.ones(2), torch.ones(2).double()], "torch.float64, the first .* torch.float32"),
        ([(torch.ones(2), 0), (torch.ones(2),)], r"tuples of one length, got \[1, 2\]"),
    ],
)
def test_wrong_samples(samples, message):
    with pytest.raises(ValueError, match=message):
        pad_sequences(samples)
