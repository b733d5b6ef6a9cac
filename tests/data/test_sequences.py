"""Sequences of several lengths."""

import numpy as np
import pytest
import torch

from sktorch.data.batches import Batches
from sktorch.data.rows import Rows
from sktorch.data.source import BatchSettings
from sktorch.data.sources import as_source

CPU = torch.device("cpu")
SEQUENCES = [np.full((1 + row % 3, 2), row, dtype="float32") for row in range(6)]


def of_objects(sequences):
    values = np.empty(len(sequences), dtype=object)
    for position, sequence in enumerate(sequences):
        values[position] = sequence
    return values


@pytest.mark.parametrize("to_kind", [list, of_objects, lambda s: [torch.from_numpy(x) for x in s]])
@pytest.mark.parametrize("checked_for", [None, "TorchClassifier"])
def test_rows_are_padded_together(to_kind, checked_for):
    rows = Rows(as_source(to_kind(SEQUENCES), checked_for=checked_for), torch.float64, CPU)
    padded, lengths = rows[torch.tensor([4, 3])]
    assert padded.tolist() == [[[4, 4], [4, 4]], [[3, 3], [0, 0]]]
    assert padded.dtype is torch.float64
    assert lengths.tolist() == [2, 1]
    assert not rows.is_whole


def test_their_batches_are_no_plain_batches():
    """Those are stacked with other models' batches, and must be of one shape."""
    settings = BatchSettings(torch.float32, CPU, {"batch_size": 4, "shuffle": False})
    arguments = torch.zeros(6), None, torch.arange(6), settings
    batches = as_source(SEQUENCES).batches(*arguments)
    assert type(batches) is not Batches
    assert [len(lengths) for (_, lengths), _, _ in batches] == [4, 2]
    arrays = as_source(np.ones((6, 2))).batches(*arguments)
    assert type(arrays) is Batches


@pytest.mark.parametrize("name", [None, "TorchClassifier"])
def test_lists_of_several_lengths_are_sequences(name):
    for numbers in ([[1.0, 2.0], [3.0]], [[1, 2], [3]]):
        padded, lengths = as_source(numbers, checked_for=name).example
        assert (padded.tolist(), lengths.tolist()) == ([[1, 2], [3, 0]], [2, 1])
        assert padded.is_floating_point() is isinstance(numbers[0][0], float)
    steps = [[[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]]]
    assert as_source(steps, checked_for=name).shape == (None, 2)


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        ([*SEQUENCES, np.ones((2, 3))], r"steps have the shapes \[\(2,\), \(3,\)\]"),
        ([*SEQUENCES, np.full((2, 2), np.nan)], r"X\[6\] contains NaN"),
        ([*SEQUENCES, np.ones((0, 2))], r"0 sample\(s\)"),
    ],
)
def test_wrong_sequences(sequences, message):
    with pytest.raises(ValueError, match=message):
        as_source(sequences, checked_for="TorchClassifier")


def test_sequences_come_in_one_dtype():
    mixed = [s.astype(["float32", "float64"][i % 2]) for i, s in enumerate(SEQUENCES)]
    values = as_source(mixed, checked_for="TorchClassifier").values
    assert {x.dtype.name for x in values} == {"float64"}
