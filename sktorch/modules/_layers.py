"""Layers by name and checks of parameters, which the modules share."""

from collections.abc import Callable, Iterable
from numbers import Integral
from typing import Any

import torch
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


def unknown_name(
    parameter: str, name: Any, known: Iterable[str], otherwise: str = ""
) -> ValueError:
    """Return the error for an unknown name, which suggests the nearest known name."""
    hint = did_you_mean(str(name), known)
    expected = f"{sorted(known)}" + (f" or {otherwise}" if otherwise else "")
    return ValueError(f"{parameter}={name!r} is not known; expected one of {expected}.{hint}")


def activation_factory(activation: str | Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """Return a function without arguments that makes the activation layer."""
    if callable(activation) and not isinstance(activation, nn.Module):
        return activation
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        otherwise = "a function that returns an nn.Module"
        raise unknown_name("activation", activation, ACTIVATIONS, otherwise)
    return ACTIVATIONS[activation]


def normalization_layers(
    normalization: str | None, n_channels: int, n_dims: int = 0, dtype: torch.dtype | None = None
) -> list[nn.Module]:
    """Return a list of the layer that normalises (N, C, …) with ``n_dims`` more dimensions."""
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


def dropout_layers(dropout: float) -> list[nn.Module]:
    """Return a list of the dropout layer, empty for a probability of zero."""
    return [nn.Dropout(dropout)] if dropout else []


def widths(hidden: int | Iterable[int]) -> tuple[int, ...]:
    """Return the widths of hidden layers; raise unless they are positive whole numbers."""
    each = tuple(hidden) if isinstance(hidden, Iterable) else (hidden,)
    if not all(map(_is_positive_integer, each)):
        raise ValueError(f"hidden={each} must hold positive layer widths, whole numbers.")
    return tuple(map(int, each))


def positive(name: str, value: Any, otherwise: str = "") -> int:
    """Return a positive whole number as an int; raise for any other value."""
    if not _is_positive_integer(value):
        raise ValueError(f"{name}={value!r} must be a positive whole number{otherwise}.")
    return int(value)


def _is_positive_integer(value: Any) -> bool:
    return isinstance(value, Integral) and int(value) > 0
