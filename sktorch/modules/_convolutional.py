"""The convolutional network."""

from itertools import pairwise

import torch
from torch import nn

from sktorch.modules._layers import (
    activation_factory,
    dropout_layers,
    normalization_layers,
    positive,
    widths,
)

_CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d}
_POOLINGS = {1: nn.MaxPool1d, 2: nn.MaxPool2d}


class ConvNet(nn.Sequential):
    """A convolutional network for images, signals and time series.

    Each block is a convolution, a max pooling that halves every side, and an activation; a linear
    layer reads what is left.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of one sample: (channels, height, width) for images, (channels, length) for signals,
        or (length,) for signals of one channel. Two dimensions are always channels × length: grey
        images need their channel, as ``X[:, None]`` gives it.
    n_outputs : int
        Number of outputs; for a classifier, one logit per class.
    hidden : int or sequence of int, default=(32, 64)
        Number of channels of each block. ``()`` gives a linear model.
    kernel_size : int, default=3
        Side of the convolutions' windows. The input is padded by half of it.
    activation : str or callable, default="relu"
        Name of an activation ("relu", "leaky_relu", "elu", "selu", "gelu", "silu", "tanh",
        "sigmoid", "identity"), or a function without arguments that returns an ``nn.Module``.
    dropout : float, default=0.0
        Probability, between 0 and 1, that a value the linear layer reads is zeroed in training.
    normalization : {"batch", "layer"} or None, default=None
        Normalization after each convolution: of each channel over the batch, or of each sample
        over all its channels and positions. A convolution before batch normalization has no bias:
        it would be subtracted again.
    dtype : torch.dtype, default=None
        Dtype of the parameters; None is torch's default, float32.

    Raises
    ------
    ValueError
        If ``input_shape`` is not one of those above, if the samples are too small for so many
        blocks, if a width or ``kernel_size`` is not positive, or if ``activation`` or
        ``normalization`` is not a known name.

    Examples
    --------
    >>> import torch
    >>> from sktorch.modules import ConvNet
    >>> ConvNet((1, 8, 8), 10)(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 10])
    >>> ConvNet((3, 50), 2, hidden=(8, 8, 8), kernel_size=5)(torch.zeros(5, 3, 50)).shape
    torch.Size([5, 2])
    """

    def __init__(
        self,
        input_shape,
        n_outputs,
        hidden=(32, 64),
        kernel_size=3,
        activation="relu",
        dropout=0.0,
        normalization=None,
        dtype=None,
    ):
        n_channels, *sides = _channels_first(input_shape)
        hidden = widths(hidden)
        kernel_size = positive("kernel_size", kernel_size)
        make_activation = activation_factory(activation)
        n_dims, bias = len(sides), normalization != "batch"
        options = {"padding": kernel_size // 2, "bias": bias, "dtype": dtype}

        layers = [nn.Unflatten(1, (1, -1))] if len(input_shape) == 1 else []
        for n_in, n_out in pairwise((n_channels, *hidden)):
            layers += [
                _CONVOLUTIONS[n_dims](n_in, n_out, kernel_size, **options),
                *normalization_layers(normalization, n_out, n_dims, dtype),
                _POOLINGS[n_dims](2),
                make_activation(),
            ]
        n_values = (n_channels, *hidden)[-1]
        for side in sides:
            n_values *= _side_after(side, kernel_size, input_shape, hidden)
        head = nn.Linear(n_values, n_outputs, dtype=dtype)
        super().__init__(*layers, nn.Flatten(), *dropout_layers(dropout), head)

    def forward(self, X):
        """Return the output for each sample, of shape (n_samples, n_outputs)."""
        if X.ndim == 4 and X.device.type == "cpu":
            # A CPU trains up to twice as fast with the channels innermost in memory. That is
            # torch's channels_last, which does not exist under vmap.
            X = X.movedim(1, -1).clone(memory_format=torch.contiguous_format).movedim(-1, 1)
        return super().forward(X)


def _channels_first(input_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return ``(channels, length)`` or ``(channels, height, width)``."""
    if len(input_shape) not in (1, 2, 3) or not all(side and side > 0 for side in input_shape):
        raise ValueError(
            f"input_shape={tuple(input_shape)} must be (channels, height, width), (channels, "
            "length) or (length,), of positive sizes. Reshape X, or choose another module."
        )
    return tuple(input_shape) if len(input_shape) > 1 else (1, *input_shape)


def _side_after(
    side: int, kernel_size: int, input_shape: tuple[int, ...], hidden: tuple[int, ...]
) -> int:
    """Return the length of a side after all blocks."""
    for n_blocks, _ in enumerate(hidden):
        convolved = side + 2 * (kernel_size // 2) - kernel_size + 1
        side = convolved // 2
        if side == 0:
            raise ValueError(
                f"input_shape={tuple(input_shape)} is too small for the {len(hidden)} blocks of "
                f"hidden={hidden}: each halves every side, and after {n_blocks} nothing is left "
                f"to halve. Give at most {n_blocks} widths, or larger samples."
            )
    return side
