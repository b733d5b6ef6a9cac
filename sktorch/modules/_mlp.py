"""The multi-layer perceptron."""

from itertools import pairwise
from numbers import Integral

from torch import nn

ACTIVATIONS = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "identity": nn.Identity,
}


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
        Name of an activation ("relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid",
        "identity"), or a function without arguments that returns an ``nn.Module``.
    dropout : float, default=0.0
        Probability, between 0 and 1, that a hidden unit is zeroed in training.
    dtype : torch.dtype, default=None
        Dtype of the parameters; None is torch's default, float32.

    Raises
    ------
    ValueError
        If ``activation`` is not a known name, or a hidden width is not positive.

    Examples
    --------
    >>> import torch
    >>> from sktorch.modules import MLP
    >>> MLP(4, 3, hidden=(8,))(torch.zeros(5, 4)).shape
    torch.Size([5, 3])
    """

    def __init__(
        self, n_features, n_outputs, hidden=(100,), activation="relu", dropout=0.0, dtype=None
    ):
        if isinstance(activation, str):
            if activation not in ACTIVATIONS:
                raise ValueError(
                    f"activation={activation!r} is not known; expected one of "
                    f"{sorted(ACTIVATIONS)} or a function that returns an nn.Module."
                )
            activation = ACTIVATIONS[activation]
        hidden = (hidden,) if isinstance(hidden, Integral) else tuple(hidden)
        if not all(isinstance(width, Integral) and width > 0 for width in hidden):
            raise ValueError(f"hidden={hidden} must hold positive layer widths, whole numbers.")
        hidden = tuple(int(width) for width in hidden)

        layers = [nn.Flatten()]
        for n_in, n_out in pairwise((n_features, *hidden)):
            layers += [nn.Linear(n_in, n_out, dtype=dtype), activation()]
            if dropout:
                layers.append(nn.Dropout(dropout))
        layers.append(nn.Linear((n_features, *hidden)[-1], n_outputs, dtype=dtype))
        super().__init__(*layers)
