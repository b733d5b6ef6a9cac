"""Fill short batches up with rows of weight zero, so that they fit the program of full ones.

Members of an ensemble have as many rows as they drew, so that their last batches are of different
lengths. Cut to these, each length would be a stack of a few models with a program of its own.
"""

from typing import Any

import torch
from torch import Tensor

from sktorch.data.structure import tree_map

# The only batch of an epoch is filled up to a multiple of so many rows.
ROWS_MULTIPLE = 32


def filled_size(sizes: list[int]) -> int:
    """Return the number of rows that a short batch of an epoch is filled up to."""
    return sizes[0] if len(sizes) > 1 else -(-sizes[0] // ROWS_MULTIPLE) * ROWS_MULTIPLE


def filled_up(parts: list[Any], n_rows: int) -> list[Any]:
    """Return batches (inputs, targets, weights) with so many rows each and the same mean loss.

    The further rows are copies of the first one, which the module and the criterion take.
    """
    n_given, weights = parts[-1].shape[1], parts[-1]
    index = filling(n_given, n_rows, weights.device)
    others = (tree_map(lambda x: x.index_select(1, index), part) for part in parts[:-1])
    return [*others, weights.index_select(1, index) * filling_weight(n_given, n_rows, weights)]


def filling(n_given: int, n_rows: int, device: torch.device) -> Tensor:
    """Return which row of a batch stands in each of its rows when it is filled up."""
    numbers = torch.arange(n_rows, device=device)
    return numbers * (numbers < n_given)


def filling_weight(n_given: int, n_rows: int, weights: Tensor) -> Tensor:
    """Return the factors of the weights of a batch's rows when it is filled up."""
    is_given = torch.arange(n_rows, device=weights.device) < n_given
    return is_given.to(weights.dtype) * (n_rows / n_given)
