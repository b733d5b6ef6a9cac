"""A step of a stack whose models have next batches of several lengths.

Folds differ by a row, and so do the last batches of their epochs. The models whose batches are of
one length are computed together, on copies of their rows of the stack; the optimizer then steps
them all. So the stack is not taken apart for a single step, and built again.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from sktorch._private.torch import tree_leaves
from sktorch.fused.epoch import EpochTask
from sktorch.fused.stack import Stack
from sktorch.fused.stacked_block import stacked_block
from sktorch.fused.trial import Program


class PartProgram(NamedTuple):
    """A program for some models of a stack, and its width, which may be more than they are."""

    program: Program
    width: int


# Returns a program for the next batches of tasks, all of one length; None if there is none.
FindProgram = Callable[[list[EpochTask]], PartProgram | None]


def uneven_gradients(
    tasks: list[EpochTask], stack: Stack, generator: torch.Generator, find_program: FindProgram
) -> Tensor | None:
    """Write the gradients of every model's next batch to the stack; return the losses.

    None if a length has no program: then nothing is written.
    """
    by_length: defaultdict[int, list[int]] = defaultdict(list)
    for row, task in enumerate(tasks):
        by_length[task.n_rows].append(row)
    parts = [(rows, find_program([tasks[row] for row in rows])) for rows in by_length.values()]
    known = [(rows, part) for rows, part in parts if part is not None]
    if len(known) < len(parts):
        return None
    losses = [(r, _gradients_of(r, tasks, stack, generator, *part)) for r, part in known]
    together = losses[0][1].new_zeros(stack.width)
    for rows, own in losses:
        together[rows] = own
    return together


def _gradients_of(
    rows: list[int],
    tasks: list[EpochTask],
    stack: Stack,
    generator: torch.Generator,
    program: Program,
    width: int,
) -> Tensor:
    """Write the gradients and buffers of some rows; return their losses."""
    padded = rows + rows[:1] * (width - len(rows))
    index = torch.tensor(padded, device=tasks[0].device)

    def taken(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor.index_select(0, index) for name, tensor in tensors.items()}

    gradients, buffers = taken(stack.gradients), taken(stack.buffers)
    tensors = taken(stack.trained), gradients, taken(stack.fixed), buffers, taken(stack.masks)
    batch = next(iter(stacked_block([tasks[row] for row in rows], width)))
    (losses,) = program.usable_recording().flat()(generator, *tree_leaves(tensors), *batch)
    for part, whole in (gradients, stack.gradients), (buffers, stack.buffers):
        for name, tensor in part.items():
            whole[name][rows] = tensor[: len(rows)]
    return losses[: len(rows)]
