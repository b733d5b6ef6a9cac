"""Learnt factors of features."""

import torch
from torch import nn

from sktorch.modules._layers import positive


class ScaleLayer(nn.Module):
    """A learnt factor for each feature, 1 at first.

    As the first layer it lets a net weigh its inputs; RealMLP trains it at six times the learning
    rate of the others (Holzmüller, Grinsztajn and Steinwart, "Better by Default", 2024,
    arXiv:2407.04491): ``optimizer__param_groups=[("0.weight", {"lr_factor": 6})]``.

    Parameters
    ----------
    n_features : int
        Number of features, the size of the inputs' last dimension.
    dtype : torch.dtype, default=None
        Dtype of the factors; None is torch's default, float32.

    Raises
    ------
    ValueError
        If ``n_features`` is not a positive whole number.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sktorch.modules import MLP, ScaleLayer
    >>> nn.Sequential(ScaleLayer(4), MLP(4, 3))(torch.zeros(5, 4)).shape
    torch.Size([5, 3])
    """

    def __init__(self, n_features, dtype=None):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(positive("n_features", n_features), dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self):
        """Set all factors to 1."""
        nn.init.ones_(self.weight)

    def forward(self, X):
        """Return X, of shape (..., n_features), times the factors."""
        return X * self.weight

    def extra_repr(self):
        """Return what the layer's text shows."""
        return str(len(self.weight))
