"""The order in which an epoch visits its rows."""

import torch
from torch import Tensor

# The value of ``shuffle`` that mixes rows which lie together in a file.
IN_BLOCKS = "blocks"
# A disk reads so much in one piece at nearly its full speed; 64 pieces are mixed with each other.
RUN_BYTES, RUNS_MIXED = 2**20, 64


def epoch_order(n_rows: int, seed: int) -> Tensor:
    """Return the order in which a ``DataLoader(shuffle=True)`` visits rows, by its sampler's seed.

    The sampler draws that seed from torch's default generator, after the loader's own draw.
    """
    return torch.randperm(n_rows, generator=torch.Generator().manual_seed(seed))


def order_in_blocks(index: Tensor, seed: int, row_bytes: int) -> Tensor:
    """Return the rows of an index in a random order that a disk reads in few pieces.

    Runs of rows that follow each other come in a random order, and the rows of some runs are mixed.
    """
    generator = torch.Generator().manual_seed(seed)
    n_rows = max(RUN_BYTES // max(row_bytes, 1), 1)
    runs = index.sort().values.split(n_rows)
    order = torch.randperm(len(runs), generator=generator)
    pools = torch.cat([runs[number] for number in order]).split(n_rows * RUNS_MIXED)
    mixed = [pool[torch.randperm(len(pool), generator=generator)] for pool in pools]
    return torch.cat(mixed)
