"""An embedding of numbers by where they lie among bins."""

import math

import torch
from torch import Tensor, nn

from sktorch.modules._layers import activation_factory, positive


class PiecewiseLinearEmbedding(nn.Module):
    """An embedding of each numeric column by a piecewise linear function with given knots.

    A number fills the bins of its column from below: those under it are 1, those above it 0, and
    its own holds the share of it that is passed ("PLE", Gorishniy, Rubachev and Babenko, "On
    Embeddings for Numerical Features in Tabular Deep Learning", 2022, arXiv:2203.05556). A linear
    map of each column's own embeds them. As in TabM (Gorishniy, Kotelnikov and Babenko, 2024,
    arXiv:2410.24210), a linear map of the number itself is added, and that of the bins starts at
    zero: so the embedding is linear at first.

    Parameters
    ----------
    bins : tensor of shape (n_features, n_bins + 1), or a sequence of n_features sequences
        The edges of each column's bins, not falling; of bins between equal edges nothing is learnt.
        :func:`quantile_bins` returns those of training rows. Values beyond the outer edges go on
        along the outer bins.
    embedding_dim : int, default=16
        Number of outputs of a column.
    starts_linear : bool, default=True
        TabM's version. Otherwise that of 2022: only the bins are mapped, and start at random.
    activation : str or callable, default="identity"
        What follows; see :class:`MLP`.
    dtype : torch.dtype, default=None
        Dtype of the parameters; None is torch's default, float32.

    Attributes
    ----------
    n_outputs : int
        ``n_features * embedding_dim``, the number of inputs of the layer that follows.

    Raises
    ------
    ValueError
        If the edges fall or are not finite, a column has none, or ``embedding_dim`` is not a
        positive whole number.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sktorch.modules import MLP, PiecewiseLinearEmbedding, quantile_bins
    >>> X = torch.rand(200, 3)
    >>> embedding = PiecewiseLinearEmbedding(quantile_bins(X, n_bins=8))
    >>> nn.Sequential(embedding, MLP(embedding.n_outputs, 2))(X).shape
    torch.Size([200, 2])
    """

    slopes: Tensor
    offsets: Tensor
    low: Tensor
    high: Tensor

    def __init__(
        self, bins, embedding_dim=16, starts_linear=True, activation="identity", dtype=None
    ):
        super().__init__()
        embedding_dim = positive("embedding_dim", embedding_dim)
        self._register_bins(_as_edges(bins), dtype or torch.get_default_dtype())
        n_features, n_bins, _ = self.slopes.shape
        self.weight = nn.Parameter(torch.empty(n_features, embedding_dim, n_bins, dtype=dtype))
        # Of the number itself, and of one.
        n_linear = 2 if starts_linear else 1
        self.linear = nn.Parameter(torch.empty(n_features, embedding_dim, n_linear, dtype=dtype))
        self.activation = activation_factory(activation)()
        self.starts_linear = bool(starts_linear)
        self.n_outputs = n_features * embedding_dim
        self.reset_parameters()

    def reset_parameters(self):
        """Draw the linear map of the numbers, with that of the bins zero, or that of the bins."""
        _, embedding_dim, n_bins = self.weight.shape
        if self.starts_linear:
            nn.init.zeros_(self.weight)
            bound = embedding_dim**-0.5
        else:
            bound = n_bins**-0.5
            nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.linear, -bound, bound)

    def forward(self, X):
        """Return the embedded numbers of a batch.

        Parameters
        ----------
        X : floating tensor of shape (n_samples, n_features)

        Returns
        -------
        embedded : tensor of shape (n_samples, n_outputs)
            The outputs of each column in turn.
        """
        # Samples stand last: a column's products are matrices, and none of them is copied.
        columns = X.T.unsqueeze(1)
        filled = torch.addcmul(self.offsets, self.slopes, columns).clamp(self.low, self.high)
        base = self.linear
        if self.starts_linear:
            base = torch.bmm(base, torch.cat([columns, torch.ones_like(columns)], dim=1))
        embedded = self.activation(torch.baddbmm(base, self.weight, filled))
        return embedded.reshape(self.n_outputs, -1).T

    def _register_bins(self, edges: Tensor, dtype: torch.dtype) -> None:
        """Keep how a number fills a bin, ``clamp(offset + slope * x, low, high)``, as buffers."""
        widths = edges.diff(dim=1)
        is_bin = widths > 0
        slopes = torch.where(is_bin, 1 / widths, 0.0)
        order = is_bin.cumsum(dim=1)
        is_first, is_last = order == 1, order == order[:, -1:]
        buffers = {
            "slopes": slopes,
            "offsets": -edges[:, :-1] * slopes,
            "low": torch.where(is_bin & is_first, -math.inf, 0.0),
            "high": torch.where(is_bin & is_last, math.inf, 1.0),
        }
        for name, values in buffers.items():
            self.register_buffer(name, values.to(dtype).unsqueeze(-1))

    def extra_repr(self):
        """Return what the layer's text shows."""
        n_features, embedding_dim, n_bins = self.weight.shape
        return f"{n_features}, n_bins={n_bins}, embedding_dim={embedding_dim}"


def quantile_bins(X, n_bins=48):
    """Return edges of bins that hold equally many rows each.

    Parameters
    ----------
    X : tensor or array of shape (n_samples, n_features)
        Training rows; missing values (NaN) do not count.
    n_bins : int, default=48
        Number of bins of a column.

    Returns
    -------
    edges : tensor of shape (n_features, n_bins + 1), float64
        The quantiles of each column from its smallest value to its largest, for
        :class:`PiecewiseLinearEmbedding`. A value that many rows share may be several edges.

    Raises
    ------
    ValueError
        If X has another number of dimensions or no rows, a column holds no number or an infinite
        one, or ``n_bins`` is not a positive whole number.

    Examples
    --------
    >>> import torch
    >>> from sktorch.modules import quantile_bins
    >>> quantile_bins(torch.tensor([[0.0], [1.0], [2.0], [10.0], [20.0]]), n_bins=2)
    tensor([[ 0.,  2., 20.]], dtype=torch.float64)
    """
    n_bins = positive("n_bins", n_bins)
    X = torch.as_tensor(X)
    if X.ndim != 2 or not len(X):
        raise ValueError(f"X must have shape (n_samples, n_features) and rows, not {(*X.shape,)}.")
    return torch.stack([_quantiles(column.double(), n_bins) for column in X.T])


def _quantiles(column: Tensor, n_bins: int) -> Tensor:
    """Return the quantiles of a column, linear between its sorted values."""
    values = column[~column.isnan()].sort().values
    if not len(values) or values[[0, -1]].isinf().any():
        raise ValueError("X has a column without a finite number, or with infinite ones.")
    places = torch.linspace(0, len(values) - 1, n_bins + 1, dtype=torch.float64)
    below = places.floor()
    return values[below.long()].lerp(values[places.ceil().long()], places - below)


def _as_edges(bins) -> Tensor:
    """Return a tensor of one row of edges a column; columns of fewer repeat their last."""
    rows = [torch.as_tensor(row, dtype=torch.float64).flatten() for row in bins]
    n_edges = max(map(len, rows), default=0)
    if n_edges < 2 or not all(map(len, rows)):
        raise ValueError(
            f"bins must hold the edges of each column's bins, but has {len(rows)} columns of "
            f"{[*map(len, rows)]} edges. Take quantile_bins(X), or list them."
        )
    edges = torch.stack([torch.cat([row, row[-1:].expand(n_edges - len(row))]) for row in rows])
    if not edges.isfinite().all() or (edges.diff(dim=1) < 0).any():
        raise ValueError("bins must hold finite edges that do not fall. Sort those of each column.")
    return edges
