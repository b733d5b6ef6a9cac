"""The convolutional network."""

import copy
import pickle

import pytest
import torch
from torch import nn

from sktorch.modules import ConvNet
from tests.modules.test_mlp import kinds


@pytest.mark.parametrize(
    ("input_shape", "hidden", "n_read"),
    [
        ((1, 28, 28), (32, 64), 64 * 7 * 7),
        ((1, 8, 8), (32, 64), 64 * 2 * 2),
        ((3, 9, 5), [4, 6], 6 * 2 * 1),
        ((1, 2, 3), 5, 5),
        ((2, 4, 4), (), 32),
        ((2, 50), (4, 4, 4), 4 * 6),
        ((50,), (4, 6), 6 * 12),
    ],
)
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_sized_from_the_data(input_shape, hidden, n_read, kernel_size):
    module = ConvNet(input_shape, 3, hidden=hidden, kernel_size=kernel_size)
    assert module[-1].in_features == n_read
    assert module(torch.zeros(2, *input_shape)).shape == (2, 3)


@pytest.mark.parametrize("kernel_size", [2, 4])
def test_even_kernels(kernel_size):
    module = ConvNet((1, 7, 9), 3, kernel_size=kernel_size)
    assert module(torch.zeros(2, 1, 7, 9)).shape == (2, 3)


def test_layers_in_order():
    module = ConvNet((1, 8, 8), 3, hidden=4, activation="gelu", dropout=0.2, normalization="batch")
    block = ["Conv2d", "BatchNorm2d", "MaxPool2d", "GELU"]
    assert kinds(module) == [*block, "Flatten", "Dropout", "Linear"]
    assert module[0].bias is None
    assert kinds(ConvNet((4, 9), 3, hidden=4, normalization="layer")) == [
        *["Conv1d", "GroupNorm", "MaxPool1d", "ReLU"],
        *["Flatten", "Linear"],
    ]


def test_output_is_that_of_torch_functions():
    module = ConvNet((2, 7, 7), 3, hidden=4, dtype=torch.float64)
    X = torch.randn(5, 2, 7, 7, dtype=torch.float64)
    convolution, head = module[0], module[-1]
    blocks = torch.conv2d(X, convolution.weight, convolution.bias, padding=1).relu()
    blocks = nn.functional.max_pool2d(blocks, 2)
    torch.testing.assert_close(module(X), blocks.flatten(1) @ head.weight.T + head.bias)
    assert module(X).dtype is torch.float64


def test_a_signal_without_channels_has_one():
    module = ConvNet((20,), 3)
    X = torch.randn(5, 20)
    torch.testing.assert_close(module(X), nn.Sequential(*module)[1:](X[:, None]))


def test_parameters_are_contiguous():
    """As safetensors wants them, though activations have their channels innermost."""
    module = ConvNet((3, 8, 8), 2)
    assert all(parameter.is_contiguous() for parameter in module.parameters())
    X = torch.randn(2, 3, 8, 8)
    inner = []
    module[0].register_forward_hook(lambda _, __, output: inner.append(output))
    module(X).sum().backward()
    assert inner[0].is_contiguous(memory_format=torch.channels_last)
    assert all(parameter.grad.is_contiguous() for parameter in module.parameters())


@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
def test_learns_digits(digits_images, losses_of_training, normalization):
    X, y = map(torch.from_numpy, digits_images)
    torch.manual_seed(0)
    module = ConvNet((1, 8, 8), 10, hidden=(8, 16), normalization=normalization)
    first, last = losses_of_training(module, y[:500], X[:500])
    assert last < 0.7 * first


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
def test_dtype(dtype, normalization):
    module = ConvNet((1, 8, 8), 3, normalization=normalization, dtype=dtype)
    assert {parameter.dtype for parameter in module.parameters()} == {dtype}
    assert module(torch.zeros(2, 1, 8, 8, dtype=dtype)).dtype is dtype


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_clones(clone):
    module = ConvNet((1, 8, 8), 3, dropout=0.5, normalization="batch").eval()
    X = torch.randn(2, 1, 8, 8)
    assert torch.equal(clone(module)(X), module(X))


@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
@pytest.mark.parametrize("input_shape", [(1, 8, 8), (3, 8, 8), (2, 12), (12,)])
def test_many_at_once(assert_stacks, input_shape, normalization):
    X = torch.randn(6, *input_shape)
    assert_stacks(lambda: ConvNet(input_shape, 3, hidden=4, normalization=normalization), X)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"input_shape": (1, 3, 3)}, r"\(1, 3, 3\) is too small for the 2 blocks .* most 1 widths"),
        ({"input_shape": (1, 28, 1)}, "is too small for the 2 blocks .* after 0 nothing is left"),
        ({"input_shape": (3, 2)}, "too small"),
        ({"input_shape": ()}, r"input_shape=\(\) must be \(channels, height, width\)"),
        ({"input_shape": (1, 2, 8, 8)}, "must be"),
        ({"input_shape": (None, 8)}, r"\(None, 8\) must be .* of positive sizes"),
        ({"hidden": (4, 0)}, r"hidden=\(4, 0\) must hold positive layer widths"),
        ({"kernel_size": 0}, "kernel_size=0 must be a positive whole number"),
        ({"kernel_size": 2.5}, "kernel_size=2.5 must be"),
        ({"activation": "gellu"}, "activation='gellu' is not known.*Did you mean 'gelu'?"),
        ({"normalization": "bach"}, "normalization='bach' .* or None. Did you mean 'batch'?"),
        ({"dropout": 2}, "dropout probability has to be between 0 and 1"),
    ],
)
def test_wrong_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        ConvNet(**{"input_shape": (1, 8, 8), "n_outputs": 3} | parameters)
