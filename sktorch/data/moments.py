"""Means and scales of data of any kind, a few rows at a time."""

from collections.abc import Iterator
from itertools import chain
from math import prod

import numpy as np
import torch
from torch import Tensor

from sktorch.data.dtypes import own_dtypes
from sktorch.data.source import Source

# Of rows at once, in float64: those of a file never fill the memory, and few fit in the cache.
PART_BYTES, PART_ROWS = 2**24, 2**12
_CPU = torch.device("cpu")


def mean_and_scale(
    source: Source, index: np.ndarray, weights: np.ndarray | None, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Return the mean of each value of a sample, and its standard deviation, or one in its place.

    The index names the rows that count, `weights` holds a weight for each row of the source. Both
    results are of a dtype that is given. What varies less than it can tell is constant: its scale
    is its magnitude, or 1 if it is zero.
    """
    own_dtypes(source.example, dtype)  # refuses complex numbers
    counts = np.zeros(int(index.max()) + 1)
    counts[index] = 1.0 if weights is None else weights[index]
    mean, variance = _moments(_counted_rows(source, torch.from_numpy(counts)))
    scale, magnitude, limits = variance.sqrt(), mean.abs(), torch.finfo(dtype)
    varies = scale > (limits.eps * magnitude).clamp(min=limits.tiny)
    magnitude = torch.where(magnitude > limits.tiny, magnitude, 1.0)
    scale = torch.where(varies, scale, magnitude).clamp(max=limits.max)
    return mean.to(dtype).reshape(source.shape), scale.to(dtype).reshape(source.shape)


def _counted_rows(source: Source, weights: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the rows whose weight is not zero, flat and in float64, and their weights."""
    n_rows = min(max(PART_BYTES // (8 * prod(source.shape)), 1), PART_ROWS)
    options = {"batch_size": n_rows, "collate_fn": source.settings.collate_fn}
    rest = weights
    for rows in source.inputs(torch.float64, _CPU, n_rows=n_rows, options=options):
        assert isinstance(rows, Tensor)
        own, rest = rest[: len(rows)], rest[len(rows) :]
        counted = own.nonzero().flatten()
        if len(counted):
            yield rows[counted].flatten(1), own[counted]


def _moments(parts: Iterator[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Return the weighted mean and variance of each column.

    They are computed of differences from the first row: a constant column has no variance to the
    bit, and a large offset costs no digits.
    """
    part = next(parts)
    first, total = part[0][0], 0.0
    mean = variance = torch.zeros_like(first)
    for rows, weights in chain([part], parts):
        total += float(weights.sum())
        shares = weights / total
        share = shares.sum()
        rows = rows - first
        own_mean = shares @ rows / share
        change = own_mean - mean
        variance = (1 - share) * variance + shares @ (rows - own_mean).square_()
        variance += share * (1 - share) * change.square()
        mean = mean + share * change
    return first + mean, variance
