"""A multi-layer perceptron of numbers beside embedded categories."""

import math
from collections.abc import Iterable
from itertools import groupby
from numbers import Integral
from typing import Any

import torch
from torch import nn

from sktorch.modules._layers import positive
from sktorch.modules._mlp import MLP


class EmbeddedColumns(nn.Module):
    """The numbers of a table beside an embedding of each column of codes.

    ``n_embedded`` is the number of features that this makes of the columns.
    """

    def __init__(
        self,
        cardinalities: Iterable[int],
        embedding_dim: int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        cardinalities = _checked(cardinalities)
        if embedding_dim is not None:
            embedding_dim = positive("embedding_dim", embedding_dim, otherwise=", or None")
        self.numeric_slices = _runs_of_zeros(cardinalities)
        self.code_columns = [j for j, size in enumerate(cardinalities) if size]
        sizes = [size for size in cardinalities if size]
        dims = [embedding_dim or default_embedding_dim(size) for size in sizes]
        self.embeddings = nn.ModuleList(
            nn.Embedding(size, dim, dtype=dtype) for size, dim in zip(sizes, dims, strict=True)
        )
        self.n_embedded = cardinalities.count(0) + sum(dims)

    def embedded(self, X: torch.Tensor) -> torch.Tensor:
        """Return the features of a batch, of shape (n_samples, n_embedded)."""
        parts = [X[:, columns] for columns in self.numeric_slices]
        embeddings: Any = self.embeddings
        for column, embedding in zip(self.code_columns, embeddings, strict=True):
            codes = X[:, column].long()
            is_known = (codes >= 0) & (codes < embedding.num_embeddings)
            parts.append(embedding(torch.where(is_known, codes, 0)))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


class TabularMLP(EmbeddedColumns):
    """A multi-layer perceptron for tables: numbers beside an embedding of each category.

    Each column of codes looks up a vector in a table of its own, learnt with the rest (entity
    embeddings, Guo and Berkhahn 2016, arXiv:1604.06737). The numbers and these vectors together
    are the input of an :class:`MLP`.

    Parameters
    ----------
    cardinalities : sequence of int
        One for each column of the input: 0 for numbers, k + 1 for codes from 0 to k. It is the
        attribute `cardinalities_` of :class:`sktorch.preprocessing.TableCleaner`.
    n_outputs : int
        Number of outputs; for a classifier, one logit per class.
    hidden : int or sequence of int, default=(100,)
        Width of each hidden layer. ``()`` gives a linear model of numbers and embeddings.
    activation : str or callable, default="relu"
        See :class:`MLP`.
    dropout : float, default=0.0
        Probability, between 0 and 1, that a hidden unit is zeroed in training.
    embedding_dim : int, default=None
        Length of each column's vectors. None takes ``min(50, ceil(1.6 * cardinality ** 0.56))``,
        the rule of thumb of fastai.
    normalization : {"batch", "layer"} or None, default=None
        See :class:`MLP`.
    dtype : torch.dtype, default=None
        Dtype of the parameters; None is torch's default, float32.

    Raises
    ------
    ValueError
        If ``cardinalities`` is empty or holds anything but whole numbers from 0 on, or
        ``embedding_dim`` is not positive.

    Notes
    -----
    Codes are whole numbers in a floating column, as one tensor holds all columns. A code outside
    its table, negative or above k, is looked up as 0, which is what unknown categories are.

    Examples
    --------
    >>> import torch
    >>> from sktorch.modules import TabularMLP
    >>> module = TabularMLP(cardinalities=(0, 0, 7), n_outputs=2)
    >>> module(torch.tensor([[0.3, -1.2, 6.0], [0.5, 0.1, 0.0]])).shape
    torch.Size([2, 2])
    """

    def __init__(
        self,
        cardinalities,
        n_outputs,
        hidden=(100,),
        activation="relu",
        dropout=0.0,
        embedding_dim=None,
        normalization=None,
        dtype=None,
    ):
        super().__init__(cardinalities, embedding_dim, dtype)
        self.mlp = MLP(
            self.n_embedded,
            n_outputs,
            hidden=hidden,
            activation=activation,
            dropout=dropout,
            normalization=normalization,
            dtype=dtype,
        )

    def forward(self, X):
        """Return the outputs of a batch.

        Parameters
        ----------
        X : floating tensor of shape (n_samples, n_columns)
            Numbers, and codes as whole numbers.

        Returns
        -------
        outputs : tensor of shape (n_samples, n_outputs)
        """
        return self.mlp(self.embedded(X))


def default_embedding_dim(cardinality: int) -> int:
    """Return the embedding length of fastai's rule of thumb, at most 50."""
    return min(50, math.ceil(1.6 * cardinality**0.56))


def _runs_of_zeros(cardinalities: list[int]) -> list[slice]:
    """Return slices of neighbouring numeric columns: slices are views, lists of indices copy."""
    slices, start = [], 0
    for is_numeric, run in groupby(cardinalities, key=lambda size: size == 0):
        stop = start + len(list(run))
        if is_numeric:
            slices.append(slice(start, stop))
        start = stop
    return slices


def _checked(cardinalities: Iterable[int]) -> list[int]:
    cardinalities = list(cardinalities)
    are_counts = all(isinstance(size, Integral) and int(size) >= 0 for size in cardinalities)
    if not cardinalities or not are_counts:
        raise ValueError(
            f"cardinalities={cardinalities} must hold a whole number for each column of X: 0 for "
            "numbers, k + 1 for codes from 0 to k."
        )
    return [int(size) for size in cardinalities]
