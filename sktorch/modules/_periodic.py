"""An embedding of numbers by waves of learnt frequencies."""

import math

import torch
from torch import nn

from sktorch.modules._layers import activation_factory, positive


class PeriodicEmbedding(nn.Module):
    """An embedding of each numeric column by waves of frequencies of its own, mapped linearly.

    A number x of column j becomes ``activation(W_j sin(2 pi w_j x + b_j) + c_j)``, with
    `n_frequencies` frequencies w and phases b, and `embedding_dim` rows of W and c. Nets tell apart
    values close to each other by it, as trees do (Gorishniy, Rubachev and Babenko, "On Embeddings
    for Numerical Features in Tabular Deep Learning", 2022, arXiv:2203.05556). The defaults are as
    in RealMLP (Holzmüller, Grinsztajn and Steinwart, 2024, arXiv:2407.04491): learnt phases, no
    activation, and x itself beside its embedding. The layer "PLR" of the first paper is
    ``learn_phases=False, activation="relu", keep_inputs=False``, and "PLR(lite)" has
    ``shared=True``, too.

    Parameters
    ----------
    n_features : int
        Number of columns.
    n_frequencies : int, default=16
        Number of waves of a column.
    embedding_dim : int, default=4
        Number of outputs of a column, besides the number itself.
    sigma : float, default=0.1
        Standard deviation of the frequencies at first, for columns of about unit scale. The larger
        it is, the finer the differences that are seen, and the more is made of noise. Search it.
    learn_phases : bool, default=True
        Whether phases are learnt, from uniform ones on. Otherwise each frequency has a sine and a
        cosine, and W is twice as wide.
    shared : bool, default=False
        Whether all columns share one W and c.
    activation : str or callable, default="identity"
        What follows the linear map; see :class:`MLP`.
    keep_inputs : bool, default=True
        Whether the numbers themselves are outputs, too, before their embeddings.
    dtype : torch.dtype, default=None
        Dtype of the parameters; None is torch's default, float32.

    Attributes
    ----------
    n_outputs : int
        ``n_features * embedding_dim``, and `n_features` more with `keep_inputs`: the number of
        inputs of the layer that follows.

    Raises
    ------
    ValueError
        If a number of columns, frequencies or outputs is not a positive whole number, sigma not
        positive, or the activation not known.

    Notes
    -----
    Frequencies and phases learn best at a tenth of the learning rate of the layers behind them:
    ``optimizer__param_groups=[("*frequencies", {"lr_factor": 0.1}), ...]``.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sktorch.modules import MLP, PeriodicEmbedding
    >>> def periodic_mlp(n_features, n_outputs, sigma=0.1):
    ...     embedding = PeriodicEmbedding(n_features, sigma=sigma)
    ...     return nn.Sequential(embedding, MLP(embedding.n_outputs, n_outputs))
    >>> periodic_mlp(3, 2)(torch.zeros(5, 3)).shape
    torch.Size([5, 2])
    """

    def __init__(
        self,
        n_features,
        n_frequencies=16,
        embedding_dim=4,
        sigma=0.1,
        learn_phases=True,
        shared=False,
        activation="identity",
        keep_inputs=True,
        dtype=None,
    ):
        super().__init__()
        n_features = positive("n_features", n_features)
        n_frequencies = positive("n_frequencies", n_frequencies)
        embedding_dim = positive("embedding_dim", embedding_dim)
        if not 0 < sigma < math.inf:
            raise ValueError(f"sigma={sigma!r} must be a positive number. Change it.")
        n_waves = n_frequencies if learn_phases else 2 * n_frequencies
        n_maps = 1 if shared else n_features
        self.frequencies = nn.Parameter(torch.empty(n_features, n_frequencies, dtype=dtype))
        self.phases = None
        if learn_phases:
            self.phases = nn.Parameter(torch.empty_like(self.frequencies))
        self.weight = nn.Parameter(torch.empty(n_maps, embedding_dim, n_waves, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(n_maps, embedding_dim, 1, dtype=dtype))
        self.activation = activation_factory(activation)()
        self.sigma, self.keep_inputs = sigma, bool(keep_inputs)
        self.n_outputs = n_features * (embedding_dim + self.keep_inputs)
        self.reset_parameters()

    def reset_parameters(self):
        """Draw frequencies, phases, and a linear map as that of `torch.nn.Linear`."""
        nn.init.normal_(self.frequencies, std=self.sigma)
        if self.phases is not None:
            nn.init.uniform_(self.phases, -math.pi, math.pi)
        bound = self.weight.shape[-1] ** -0.5
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, X):
        """Return the embedded numbers of a batch.

        Parameters
        ----------
        X : floating tensor of shape (n_samples, n_features)

        Returns
        -------
        embedded : tensor of shape (n_samples, n_outputs)
            The numbers, if they are kept, and then the outputs of each column in turn.
        """
        # Samples stand last: a column's products are matrices, and none of them is copied. Sines
        # have a cheaper derivative than cosines, which uniform phases make the same.
        columns = X.T
        ones_too = torch.stack([columns, torch.ones_like(columns)], dim=1)
        waves = torch.bmm(self._frequencies_and_phases(), ones_too).sin()
        n_features, embedding_dim = waves.shape[0], self.weight.shape[1]
        weight = self.weight.expand(n_features, -1, -1)
        embedded = self.activation(torch.baddbmm(self.bias, weight, waves))
        embedded = embedded.reshape(n_features * embedding_dim, -1)
        if self.keep_inputs:
            embedded = torch.cat([columns, embedded])
        return embedded.T

    def _frequencies_and_phases(self):
        """Return a tensor of shape (n_features, n_waves, 2)."""
        angular = 2 * math.pi * self.frequencies
        if self.phases is not None:
            return torch.stack([angular, self.phases], dim=-1)
        cosines = torch.full_like(angular, math.pi / 2)
        phases = torch.cat([torch.zeros_like(angular), cosines], dim=1)
        return torch.stack([torch.cat([angular, angular], dim=1), phases], dim=-1)

    def extra_repr(self):
        """Return what the layer's text shows."""
        (n_features, n_frequencies), sizes = self.frequencies.shape, self.weight.shape
        return f"{n_features}, n_frequencies={n_frequencies}, embedding_dim={sizes[1]}"
