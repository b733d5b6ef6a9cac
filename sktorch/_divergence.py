"""Errors for losses and outputs that are not finite, in training and after it."""

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


class DivergenceError(ValueError):
    """A training whose losses or outputs are not finite any more.

    ``history`` is that of the net until then; its last epoch may be incomplete.
    """

    history: Any = ()


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
    if not _are_finite(net, outputs):
        raise _diverged("The module's outputs are not finite after the last step", net)


def check_outputs(net: Any, outputs: Outputs, given: str) -> None:
    """Raise ValueError if outputs for the rows that were given are not finite."""
    if not _are_finite(net, outputs):
        raise ValueError(
            f"The module's outputs for {given} hold NaN or infinity: its values do, in "
            f"{net.input_dtypes_}, or they are too large. Impute or drop them, or scale X "
            "(StandardScaler) for the fit, too."
        )


def _are_finite(net: Any, outputs: Outputs) -> bool:
    """Say whether outputs are finite; scores of classes may be as low as -inf."""
    lowest = math.nan if net.codec_.classes is None else -math.inf
    return all(
        bool(torch.isfinite(x.sum()) or (torch.isfinite(x) | (x == lowest)).all())
        for x in tree_leaves(outputs)
    )


@torch.no_grad()
def _may_overflow(weights: Tensor) -> bool:
    """Say whether weights hold NaN, infinity, or more than the root of the largest float."""
    if not weights.is_floating_point() or not weights.numel():
        return False
    low, high = (extreme.item() for extreme in weights.aminmax())
    limit = torch.finfo(weights.dtype).max ** 0.5
    return not -limit < low <= high < limit


def _diverged(what: str, net: Any) -> DivergenceError:
    error = DivergenceError(
        f"{what}. Try a smaller lr (now {net.lr}), scale X (StandardScaler), or clip gradients "
        "(gradient_clip=1.0)."
    )
    error.history = net.history
    return error
