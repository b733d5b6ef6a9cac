"""Numbers as ranks."""

import torch
from torch import nn


class Ranks(nn.Module):
    """The rank of each number among the distinct values of its column, from -1 to 1.

    Between the knots of a column it is linear, beyond them constant. As trees do, a net behind it
    sees numbers by their order: values that lie close together are as far apart as others.

    Parameters
    ----------
    knots : array-like or tensor of shape (n_features, n_knots)
        Values of each column that are one step of the rank apart, ascending; a row with fewer
        repeats its last one. `rank_knots` makes them of training rows.

    Raises
    ------
    ValueError
        If ``knots`` has another number of dimensions, fewer than two knots, or a row that descends.

    Examples
    --------
    >>> import torch
    >>> from sktorch.modules import Ranks
    >>> Ranks([[0.0, 1.0, 100.0]])(torch.tensor([[0.5], [1.0], [100.0]])).flatten()
    tensor([-0.5000,  0.0000,  1.0000])
    """

    def __init__(self, knots):
        super().__init__()
        knots = torch.as_tensor(knots, dtype=torch.get_default_dtype())
        if knots.ndim != 2 or knots.shape[1] < 2 or bool((knots.diff(dim=1) < 0).any()):
            raise ValueError(
                f"knots of shape {tuple(knots.shape)} must be of shape (n_features, n_knots), with "
                "two knots or more in each row, ascending. Make them with rank_knots."
            )
        self.register_buffer("knots", knots.contiguous())
        n_steps = (knots.diff(dim=1) > 0).sum(dim=1, keepdim=True).clamp(min=1)
        self.register_buffer("n_steps", n_steps)

    def forward(self, X):
        """Return ranks of X, in its shape (..., n_features)."""
        numbers = X.movedim(-1, 0).flatten(1).contiguous()
        last = torch.searchsorted(self.knots, numbers, right=True) - 1
        last = torch.minimum(last.clamp(min=0), self.n_steps - 1)
        below, above = self.knots.gather(1, last), self.knots.gather(1, last + 1)
        width = torch.where(above > below, above - below, 1)
        steps = last + ((numbers - below) / width).clamp(0, 1)
        ranks = 2 * steps / self.n_steps - 1
        return ranks.reshape(X.shape[-1], *X.shape[:-1]).movedim(0, -1)


def rank_knots(X, n_knots=65):
    """Return knots for `Ranks`: quantiles of the distinct values of each column.

    A value that most rows share counts once, so that the others are told apart as well.

    Parameters
    ----------
    X : array-like or tensor of shape (n_samples, n_features)
        Training rows, finite numbers.
    n_knots : int, default=65
        Number of knots of a column, two or more.

    Returns
    -------
    knots : tensor of shape (n_features, n_knots)
        In the dtype of X.

    Examples
    --------
    >>> from sktorch.modules import rank_knots
    >>> rank_knots([[0.0], [0.0], [0.0], [1.0], [100.0]], n_knots=3)
    tensor([[  0.,   1., 100.]])
    """
    X = torch.as_tensor(X)
    knots = X.new_empty(X.shape[1], n_knots)
    for own, column in zip(knots, X.T, strict=True):
        distinct = column.unique()
        positions = torch.linspace(0, len(distinct) - 1, n_knots).round().long()
        found = distinct[positions].unique()
        own[: len(found)], own[len(found) :] = found, found[-1]
    return knots
