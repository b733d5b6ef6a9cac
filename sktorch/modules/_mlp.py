"""The multi-layer perceptron, and the one that standardises its inputs."""

from itertools import pairwise

import torch
from torch import nn

from sktorch.modules._layers import (
    activation_factory,
    dropout_layers,
    normalization_layers,
    widths,
)
from sktorch.modules._standardize import Standardize


class MLP(nn.Sequential):
    """A multi-layer perceptron: linear layers with an activation between them.

    Samples of more than one dimension (images, sequences) are flattened first.

    Parameters
    ----------
    n_features : int
        Number of values of one sample.
    n_outputs : int
        Number of outputs; for a classifier, one logit per class.
    hidden : int or sequence of int, default=(100,)
        Width of each hidden layer. ``()`` gives a linear model.
    activation : str or callable, default="relu"
        Name of an activation ("relu", "leaky_relu", "elu", "selu", "gelu", "silu", "tanh",
        "sigmoid", "identity"), or a function without arguments that returns an ``nn.Module``.
    dropout : float, default=0.0
        Probability, between 0 and 1, that a hidden unit is zeroed in training.
    normalization : {"batch", "layer"} or None, default=None
        Batch or layer normalization of each hidden layer, before its activation. A linear layer
        before batch normalization has no bias: it would be subtracted again.
    dtype : torch.dtype, default=None
        Dtype of the parameters; None is torch's default, float32.

    Raises
    ------
    ValueError
        If ``activation`` or ``normalization`` is not a known name, or a hidden width is not
        positive.

    Examples
    --------
    >>> import torch
    >>> from sktorch.modules import MLP
    >>> MLP(4, 3, hidden=(8,))(torch.zeros(5, 4)).shape
    torch.Size([5, 3])
    """

    def __init__(
        self,
        n_features,
        n_outputs,
        hidden=(100,),
        activation="relu",
        dropout=0.0,
        normalization=None,
        dtype=None,
    ):
        make_activation = activation_factory(activation)
        hidden = widths(hidden)
        bias = normalization != "batch"
        layers = [nn.Flatten()]
        for n_in, n_out in pairwise((n_features, *hidden)):
            layers += [
                nn.Linear(n_in, n_out, bias=bias, dtype=dtype),
                *normalization_layers(normalization, n_out, dtype=dtype),
                make_activation(),
                *dropout_layers(dropout),
            ]
        layers.append(nn.Linear((n_features, *hidden)[-1], n_outputs, dtype=dtype))
        super().__init__(*layers)


LIMIT = 3.0  # standard deviations that inputs come near to, however far out


class StandardizedMLP(MLP):
    """A multi-layer perceptron that standardises its inputs: the default module of the estimators.

    It takes numbers of any offset and scale, limited as by `Standardize` to 3 standard deviations.
    With more than 4 features all are divided by a common factor, so that a row stays about as long.
    The last layer begins at a tenth of torch's initialisation, with nearly the same output for all.

    Parameters
    ----------
    n_features, n_outputs : int
        See :class:`MLP`.
    input_mean, input_scale : torch.Tensor or array-like
        Mean and scale of the inputs, of the shape of a sample.
    hidden, activation, dropout, normalization, dtype
        See :class:`MLP`. ``hidden=()`` is linear in the limited inputs.

    Raises
    ------
    ValueError
        As for :class:`MLP`, and if a scale is not above zero.

    Examples
    --------
    >>> import torch
    >>> from sktorch.modules import StandardizedMLP
    >>> years = torch.tensor([[1999.0], [2001.0]])
    >>> StandardizedMLP(1, 3, input_mean=years.mean(0), input_scale=years.std(0))(years).shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        n_features,
        n_outputs,
        input_mean,
        input_scale,
        hidden=(100,),
        activation="relu",
        dropout=0.0,
        normalization=None,
        dtype=None,
    ):
        super().__init__(
            n_features,
            n_outputs,
            hidden=hidden,
            activation=activation,
            dropout=dropout,
            normalization=normalization,
            dtype=dtype,
        )
        # The more features, the smaller each: a long row would be learnt by heart.
        length = max(1.0, (n_features / 4) ** 0.5)
        dtype = torch.get_default_dtype() if dtype is None else dtype
        scale = torch.as_tensor(input_scale, dtype=dtype) * length
        standardize = Standardize(input_mean, scale, LIMIT / length, dtype)
        # The other layers keep their places, and so their parameters their names.
        self[0] = nn.Sequential(standardize, nn.Flatten())
        with torch.no_grad():
            for parameter in self[-1].parameters():
                parameter.mul_(0.1)
