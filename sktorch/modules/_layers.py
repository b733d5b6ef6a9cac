"""What the modules share: layers by name, and checks of their parameters."""

from numbers import Integral

from torch import nn

from sktorch._lookup import did_you_mean

ACTIVATIONS = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "identity": nn.Identity,
}
NORMALIZATIONS = ("batch", "layer")


def unknown_name(parameter, name, known, otherwise=None):
    """The error for a name that is not known, with the nearest one that is."""
    hint = did_you_mean(str(name), known)
    expected = f"{sorted(known)}" + (f" or {otherwise}" if otherwise else "")
    return ValueError(f"{parameter}={name!r} is not known; expected one of {expected}.{hint}")


def activation_factory(activation):
    """A function without arguments that makes the activation layer."""
    if callable(activation) and not isinstance(activation, nn.Module):
        return activation
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        otherwise = "a function that returns an nn.Module"
        raise unknown_name("activation", activation, ACTIVATIONS, otherwise)
    return ACTIVATIONS[activation]


def normalization_layers(normalization, n_channels, n_dims=0, dtype=None):
    """The layer that normalises (N, C) for ``n_dims=0``, (N, C, L) for 1, (N, C, H, W) for 2.

    A list: empty for None.
    """
    if normalization is None:
        return []
    if normalization == "batch":
        batch_norm = nn.BatchNorm2d if n_dims == 2 else nn.BatchNorm1d
        return [batch_norm(n_channels, dtype=dtype)]
    if normalization == "layer":
        if n_dims == 0:
            return [nn.LayerNorm(n_channels, dtype=dtype)]
        return [nn.GroupNorm(1, n_channels, dtype=dtype)]  # Over channels and positions together.
    raise unknown_name("normalization", normalization, NORMALIZATIONS, "None")


def dropout_layers(dropout):
    """The dropout layer, a list: empty for a probability of zero."""
    return [nn.Dropout(dropout)] if dropout else []


def widths(hidden):
    """The widths of hidden layers, a tuple of int."""
    hidden = (hidden,) if isinstance(hidden, Integral) else tuple(hidden)
    if not all(isinstance(width, Integral) and width > 0 for width in hidden):
        raise ValueError(f"hidden={hidden} must hold positive layer widths, whole numbers.")
    return tuple(int(width) for width in hidden)


def positive(name, value):
    """``value`` as an int, if it is a positive whole number."""
    if not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name}={value!r} must be a positive whole number.")
    return int(value)
