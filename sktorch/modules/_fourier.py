"""Waves of numbers at fixed frequencies."""

import math

import torch
from torch import nn

from sktorch.modules._layers import positive


class FourierFeatures(nn.Module):
    """Sines and cosines of each number, at frequencies an octave apart that are not learnt.

    Beside the numbers themselves they let a net tell apart values close to each other, as trees do
    (Tancik et al., "Fourier Features Let Networks Learn High Frequency Functions in Low
    Dimensional Domains", 2020, arXiv:2006.10739). They have no weights, so that members of an
    ensemble can share them without learning from each other's rows.

    Parameters
    ----------
    n_frequencies : int, default=4
        Number of frequencies. The first has `lowest` periods in a unit, each other twice as many
        as the one before.
    lowest : float, default=0.1
        The lowest frequency, for columns of about unit scale.

    Raises
    ------
    ValueError
        If ``n_frequencies`` is not a positive whole number, or ``lowest`` is not positive.

    Examples
    --------
    >>> import torch
    >>> from sktorch.modules import FourierFeatures
    >>> FourierFeatures(n_frequencies=3)(torch.zeros(5, 2)).shape
    torch.Size([5, 12])
    """

    def __init__(self, n_frequencies=4, lowest=0.1):
        super().__init__()
        n_frequencies = positive("n_frequencies", n_frequencies)
        if not 0 < lowest < math.inf:
            raise ValueError(f"lowest={lowest!r} must be a positive number. Change it.")
        self.frequencies = [lowest * 2**octave for octave in range(n_frequencies)]

    def forward(self, X):
        """Return waves of X, of shape (..., n_features): (..., 2 * n_features * n_frequencies)."""
        angles = torch.cat([2 * math.pi * frequency * X for frequency in self.frequencies], dim=-1)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)

    def extra_repr(self):
        """Return what the layer's text shows."""
        return f"n_frequencies={len(self.frequencies)}, lowest={self.frequencies[0]}"
