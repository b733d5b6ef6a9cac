"""Decodings are modules: they move, they are saved, and compute what the codec does."""

import numpy as np
import pytest
import torch
from torch import nn

from sktorch.targets.decoding import Decoding, in_rows, in_scale
from sktorch.targets.labels import Labels
from sktorch.targets.numbers import Numbers


def test_several_columns_become_a_tuple():
    decoding = Decoding(lambda criterion, output: [output, 2 * output], nn.MSELoss())
    first, second = decoding(torch.ones(2))
    assert torch.equal(2 * first, second)


def test_the_parameters_of_a_criterion_move_along():
    criterion = nn.PReLU()  # whatever has parameters
    decoding = Decoding(lambda criterion, output: criterion(output), criterion)
    assert [*decoding.parameters()] == [*criterion.parameters()]


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3)])
def test_numbers_come_in_the_scale_and_shape_of_y(shape):
    y = np.random.default_rng(0).normal(100, 10, size=(50, *shape))
    codec = Numbers.of(y, nn.MSELoss())
    encoded = codec.encode(y)
    codec.fit_scale(encoded, None)
    criterion, scaled = nn.MSELoss(), torch.zeros(50, codec.n_targets)
    decoded = codec.decoding(criterion, torch.float32)(scaled)
    assert decoded.shape == y.shape
    expected = codec.decode_predicted(codec.predicted(criterion, scaled))
    assert torch.equal(decoded, expected)


def test_scale_and_mean_are_buffers():
    decoding = Numbers((), False).decoding(nn.MSELoss(), torch.float32)
    assert {*decoding.state_dict()} == {"scale", "mean"}
    assert decoding.double()(torch.zeros(2, 1, dtype=torch.float64)).dtype is torch.float64


def test_labels_become_probabilities():
    output = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    decoding = Labels(np.array(["a", "b"])).decoding(nn.CrossEntropyLoss(), torch.float32)
    assert torch.equal(decoding(output), torch.full((2, 2), 0.5))


def test_a_limit_holds():
    values, scale = torch.tensor([[1.0], [-4.0]]), torch.tensor([1e308], dtype=torch.float64)
    limited = in_scale(values, scale, torch.zeros_like(scale), 1.5e308)
    assert limited.tolist() == [[1e308], [-1.5e308]]
    assert in_scale(values, scale, torch.zeros_like(scale), None).isinf().tolist() == [
        [False],
        [True],
    ]


def test_quantiles_stay_columns():
    assert in_rows(torch.zeros(4, 3), ()).shape == (4, 3)
    assert in_rows(torch.zeros(4, 1), ()).shape == (4,)
