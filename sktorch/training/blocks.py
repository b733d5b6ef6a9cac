"""Train an epoch a block of batches at a time, where one program does the steps of a block."""

from collections.abc import Iterable

import torch

from sktorch.data.batches import rows_of
from sktorch.data.structure import Batch
from sktorch.training.replayed_step import ReplayedStep
from sktorch.training.runner import Trained


def train_blocks(step: ReplayedStep, blocks: Iterable[tuple[Batch, int]]) -> Trained:
    """Do as `sktorch.training.loop.train_epoch` does, for blocks of batches of so many rows each.

    Batches are done one by one until it is known how to replay their steps and the optimizer's.
    """
    losses, sizes = [], []
    for block, n_rows in blocks:
        n_batches, n_done = len(block[1]) // n_rows, 0
        while n_done < n_batches:
            batch = rows_of(block, n_done * n_rows, n_rows)
            loop = step.loop(batch)
            if loop is None:
                loss, _ = step(batch, True, True, 1.0)
                losses.append(loss.reshape(1))
                n_done += 1
            else:
                n_left = n_batches - n_done
                losses.append(
                    loop(rows_of(block, n_done * n_rows, n_left * n_rows), n_left, n_rows)
                )
                n_done = n_batches
        sizes += [n_rows] * n_batches
    return torch.cat(losses).tolist() if losses else [], sizes
