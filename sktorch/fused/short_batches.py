"""Fill short batches up with rows of weight zero, so that they fit the program of full ones.

Members of an ensemble have as many rows as they drew, so that their last batches are of different
lengths. Cut to these, each length would be a stack of a few models with a program of its own.
"""

from typing import Any

import torch

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
    n_given, device = parts[-1].shape[1], parts[-1].device
    is_given = torch.arange(n_rows, device=device) < n_given
    index = torch.arange(n_rows, device=device) * is_given
    *others, weights = (tree_map(lambda x: x.index_select(1, index), part) for part in parts)
    return [*others, weights * is_given * (n_rows / n_given)]
