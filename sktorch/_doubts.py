"""Programs that run, but hardly mean what they say: told by the numbers in them, and warned of."""

from collections.abc import Iterator
from math import isqrt

import numpy as np
import torch
from torch import nn

from sktorch._net import Net
from sktorch._part import Part
from sktorch._state import deepcopied
from sktorch.data.structure import call_module
from sktorch.data.tensors import as_tensors, take_rows
from sktorch.losses.registry import class_of
from sktorch.modules import ConvNet
from sktorch.training.randomness import RandomStream

MIN_ROWS = 10  # of labels that are one-hot: fewer may be so by chance
SMOOTH = 0.8  # share of the difference of far pixels that neighbours differ by at most
MAX_VALUES = 100_000  # of X, looked at


def doubts(net: Net, part: Part) -> Iterator[str]:
    """Yield what is doubtful about the module's outputs, the targets and the inputs."""
    yield from _doubts_of_outputs(net, part)
    if net.codec_.kind == "indicators" and _is_one_hot(part.y[part.index]):
        yield (
            "Every row of y holds exactly one 1, as one-hot labels do, and its columns are "
            "trained as independent labels. For one class a row pass y.argmax(axis=1)."
        )
    X = _some_rows(part) if isinstance(net.module_, ConvNet) else None
    if X is not None and _is_pictures(X):
        yield (
            f"Samples of shape {X.shape[1:]} look like pictures, and ConvNet takes them for "
            "signals. It takes pictures N×C×H×W: reshape X to (n_samples, channels, height, "
            "width), with one channel for grey pictures."
        )


def _doubts_of_outputs(net: Net, part: Part) -> Iterator[str]:
    """Yield the doubt that outputs are probabilities where the loss takes logits."""
    output, loss = net.example_output_, class_of(net.criterion_)
    if not isinstance(output, torch.Tensor):  # Only a loss of the user's own takes others.
        return
    several = output.ndim == 2 and output.shape[1] > 1
    if loss is nn.CrossEntropyLoss and several and _sum_to_one(output):
        yield (
            "The module's outputs are probabilities, of a softmax, and CrossEntropyLoss takes "
            "logits: it applies the softmax itself. Leave the softmax out of the module."
        )
    if loss is nn.BCEWithLogitsLoss and _is_squashed(net, part, output):
        yield (
            "The module's outputs are probabilities, of a sigmoid, and BCEWithLogitsLoss takes "
            "logits: it applies the sigmoid itself. Leave the sigmoid out of the module, or choose "
            "criterion='bce'."
        )


def _is_one_hot(indicators: np.ndarray) -> bool:
    return len(indicators) >= MIN_ROWS and bool((indicators.sum(axis=1) == 1).all())


def _sum_to_one(output: torch.Tensor) -> bool:
    return bool((output > 0).all() and torch.allclose(output.sum(1), output.new_ones(len(output))))


@torch.no_grad()
def _is_squashed(net: Net, part: Part, output: torch.Tensor) -> bool:
    """Say whether outputs lie between zero and one whatever the parameters are."""
    if not ((output > 0) & (output < 1)).all():
        return False
    inputs = as_tensors(part.source.example, net.input_dtypes_, torch.device(net.device))
    for factor in (-1e3, 1e3):
        module = deepcopied(net.module_).eval()
        for parameter in module.parameters():
            parameter.mul_(factor)
        stream = RandomStream(0, torch.device(net.device))  # The module may draw.
        output = stream.run(call_module, module, inputs)
        if not ((output >= 0) & (output <= 1)).all():
            return False
    return True


def _some_rows(part: Part) -> np.ndarray | None:
    """Return rows of a dense array or tensor, few enough to be looked at in no time."""
    values = part.source.values
    if part.source.runs_user_code or not isinstance(values, np.ndarray | torch.Tensor):
        return None
    if values.dtype == object:  # sequences
        return None
    n_rows = max(MAX_VALUES * len(values) // max(int(np.prod(values.shape)), 1), 1)
    rows = take_rows(values, part.index[:: max(len(part.index) // n_rows, 1)])
    rows = rows.detach().float().cpu().numpy() if isinstance(rows, torch.Tensor) else rows
    return rows.astype(np.float64)


def _is_pictures(X: np.ndarray) -> bool:
    """Say whether square samples resemble their neighbours along both sides, as pictures do.

    A signal resembles itself less, the longer ago; a flattened picture again after a row.
    """
    size = int(X[0].size)
    side = isqrt(size)
    if X.ndim > 3 or side < 4 or side**2 != size or X.shape[1] not in (size, side):
        return False
    pictures = X.reshape(len(X), side, side)

    def difference(axis: int, lag: int) -> float:
        along = np.moveaxis(pictures, axis, -1)
        return float(np.abs(along[..., lag:] - along[..., :-lag]).mean())

    far = difference(2, side // 2)
    return max(difference(1, 1), difference(2, 1)) < SMOOTH * far
