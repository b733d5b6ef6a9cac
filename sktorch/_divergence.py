"""Errors for trainings that diverge: losses that are not finite, and what the last step left."""

import copy
import math
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from sktorch._trial_call import isolated
from sktorch.data.structure import Outputs, tree_leaves
from sktorch.data.tensors import as_tensors
from sktorch.training.loop import infer


def check_losses(net: Any, prefix: str, losses: list[float]) -> None:
    """Raise ValueError for the first loss of an epoch that is not finite."""
    for number, loss in enumerate(losses, start=1):
        if not math.isfinite(loss):
            raise _diverged(
                f"{prefix}_loss is {loss} in epoch {len(net.history)}, batch {number} of "
                f"{len(losses)}",
                net,
            )


def check_last_step(net: Any, example: Any) -> None:
    """Raise ValueError if the last step, whose loss nobody sees, has left outputs of NaN.

    The module is called only if its weights are so large that a product of two may overflow.
    """
    weights = [*net.module_.parameters(), *net.module_.buffers()]
    if not any(map(_may_overflow, weights)):
        return
    inputs = as_tensors(example, net.input_dtypes_, torch.device(net.device), copy=True)
    outputs: Outputs = ()
    # Copies: numbers that are drawn here are not missing in a further epoch.
    with suppress(Exception):  # It may refuse so few rows.
        outputs = copy.copy(net.stream_).run(infer, isolated(net.module_), [inputs], None)
    lowest = math.nan if net.codec_.classes is None else -math.inf  # Scores can be so low.
    if not all((torch.isfinite(x) | (x == lowest)).all() for x in tree_leaves(outputs)):
        raise _diverged("The module's outputs are not finite after the last step", net)


@torch.no_grad()
def _may_overflow(weights: Tensor) -> bool:
    """Say whether weights hold NaN, infinity, or more than the root of the largest float."""
    if not weights.is_floating_point() or not weights.numel():
        return False
    low, high = (extreme.item() for extreme in weights.aminmax())
    limit = torch.finfo(weights.dtype).max ** 0.5
    return not -limit < low <= high < limit


def _diverged(what: str, net: Any) -> ValueError:
    return ValueError(
        f"{what}. Try a smaller lr (now {net.lr}), scale X (StandardScaler), or clip gradients "
        "(gradient_clip=1.0)."
    )
