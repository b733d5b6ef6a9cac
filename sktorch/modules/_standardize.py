"""Standardised inputs, by statistics that do not change in training."""

import torch
from torch import Tensor, nn


class Standardize(nn.Module):
    """Standardise inputs: less their mean, over their scale, and smoothly limited.

    With ``y = (x - mean) / scale / limit``, the output is ``limit * y / (abs(y) + 1 / (1 +
    abs(y)))``: nearly (x - mean) / scale where that is small, and never beyond the limit. So a
    value far out, a rare category or a pixel that hardly ever changes does not outweigh all others.
    What the dtype of the inputs can't hold becomes NaN.

    As the constructor parameters of a module, `input_mean` and `input_scale` are filled in from the
    training rows, as ``n_features`` is: the first layer of a module of your own may be
    ``Standardize(input_mean, input_scale)``.

    Parameters
    ----------
    mean, scale : torch.Tensor or array-like
        Of a shape that broadcasts to that of a sample; each scale is above zero. They become
        buffers, which are saved and moved with the module, and not trained.
    limit : float, default=3.0
        What outputs come near to for large inputs, above zero.
    dtype : torch.dtype, default=None
        Dtype of the buffers; None is that of the mean and the scale.

    Raises
    ------
    ValueError
        If a scale or the limit is not above zero.

    Examples
    --------
    >>> import torch
    >>> from sktorch.modules import Standardize
    >>> standardize = Standardize(mean=[2000.0, 0.0], scale=[10.0, 1e-3])
    >>> standardize(torch.tensor([[2010.0, 0.0], [1990.0, 1.0]])).round(decimals=2)
    tensor([[ 0.9200,  0.0000],
            [-0.9200,  3.0000]])
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, mean, scale, limit=3.0, dtype=None):
        super().__init__()
        mean, scale = (torch.as_tensor(values, dtype=dtype).clone() for values in (mean, scale))
        if not (scale > 0).all() or not limit > 0:
            raise ValueError(
                f"scale={scale} and limit={limit} must be above zero. Give a column that does not "
                "vary the scale 1."
            )
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.limit = float(limit)

    def forward(self, X):
        """Return X standardised, in its shape."""
        y = (X - self.mean) / (self.scale * self.limit)
        size = y.abs()
        return self.limit * y / (size + 1 / (1 + size))  # finite for all y but infinite ones

    def extra_repr(self):
        """Return what the layer's text shows."""
        return f"{tuple(self.mean.shape)}, limit={self.limit}"
