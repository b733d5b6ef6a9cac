"""How a loss takes its targets, and what the outputs that it trains mean.

A loss has a link for each kind of targets that it fits: `LabelLink` for one label a row,
`IndicatorLink` for several labels a row, `NumberLink` for numbers. `registry` says which.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sktorch.losses.adapters import GaussianLoss

REGISTER_BYTES = 64  # of AVX-512
ROWS_AT_ONCE = 8192  # whose softmax stays in a CPU's caches


@dataclass(frozen=True)
class LabelLink:
    """A conversion of class codes to a loss's target, and of outputs to scores of the classes."""

    # n_classes -> the widths of an output that fit, the usual one first
    widths: Callable[[int], tuple[int, ...]]
    # codes of shape (n_rows,), n_classes, output -> target, in the output's shape if it has to be
    encode: Callable[[Tensor, int, Tensor], Tensor]
    # output -> (n_rows, n_classes), or (n_rows,) where above zero is the second of two classes
    scores: Callable[[Tensor], Tensor]
    # output -> (n_rows, n_classes); None if the loss defines no probabilities
    log_probabilities: Callable[[Tensor], Tensor] | None


def _identity(values: Tensor) -> Tensor:
    return values


def codes(codes: Tensor, n_classes: int, output: Tensor) -> Tensor:
    """Return the codes, as cross entropy takes them."""
    return codes


def zero_one(codes: Tensor, n_classes: int, output: Tensor) -> Tensor:
    """Return zeros and ones in the output's shape: one column for two classes, else one a class."""
    if _is_single(output):
        return codes.to(output.dtype).reshape(-1, *output.shape[1:])
    return F.one_hot(codes, n_classes).to(output.dtype)


def plus_minus_one(codes: Tensor, n_classes: int, output: Tensor) -> Tensor:
    """Return minus ones and ones in the output's shape, as `zero_one` does zeros and ones."""
    return 2 * zero_one(codes, n_classes, output) - 1


def _is_single(output: Tensor) -> bool:
    return output.ndim == 1 or output.shape[1] == 1


def _as_scores(output: Tensor) -> Tensor:
    return output.reshape(-1) if _is_single(output) else output


def _log_sigmoids(logits: Tensor) -> Tensor:
    """Return log-probabilities: of two classes for one logit, else normalised one-vs-rest."""
    if _is_single(logits):
        logits = logits.reshape(-1, 1)
        return torch.cat([_log_sigmoid(-logits), _log_sigmoid(logits)], dim=1)
    log_p = _log_sigmoid(logits)
    return log_p - log_p.logsumexp(dim=1, keepdim=True)


def _log_sigmoid(logits: Tensor) -> Tensor:
    """Return the logarithm of the sigmoid, by operations that ONNX has.

    ONNX would take the logarithm of a sigmoid that may have become 0.
    """
    if _is_traced():
        return -(F.relu(-logits) + torch.log1p((-logits.abs()).exp()))
    return F.logsigmoid(logits)


def _is_traced() -> bool:
    """Say whether a program is made of what is computed, for any number of rows."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def _log_softmax(logits: Tensor) -> Tensor:
    return _log_sigmoids(logits) if _is_single(logits) else _log_softmax_of_rows(logits)


def _log_softmax_of_rows(logits: Tensor) -> Tensor:
    """Return the logarithms of the softmax over the second dimension.

    Of rows shorter than a vector register torch takes number after number; over the rows of the
    transposed tensor it takes a register at a time, up to six times as fast.
    A traced program is one for any number of rows, and so can't hold a list of their pieces.
    """
    if logits.ndim != 2 or _is_traced() or logits.shape[1] * logits.itemsize >= REGISTER_BYTES:
        return logits.log_softmax(dim=1)
    pieces = logits.split(ROWS_AT_ONCE)
    return torch.cat([piece.T.log_softmax(dim=0).T for piece in pieces])


def _multiclass(log_probabilities: Callable[[Tensor], Tensor] | None) -> LabelLink:
    """Return the link of a loss of codes and one output a class."""
    return LabelLink(lambda n_classes: (n_classes,), codes, _as_scores, log_probabilities)


def _binary(
    encode: Callable[[Tensor, int, Tensor], Tensor],
    to_logits: Callable[[Tensor], Tensor] = _identity,
) -> LabelLink:
    """Return the link of a loss of independent outputs: one for two classes, else one a class."""
    return LabelLink(
        lambda n_classes: (1, 2) if n_classes == 2 else (n_classes,),
        encode,
        lambda output: _as_scores(to_logits(output)),
        lambda output: _log_sigmoids(to_logits(output)),
    )


# A loss that is not known: its module returns logits, as the documentation asks.
LOGITS = LabelLink(
    lambda n_classes: (2, 1) if n_classes == 2 else (n_classes,), codes, _as_scores, _log_softmax
)
SOFTMAX = _multiclass(_log_softmax_of_rows)
LOG_PROBABILITIES = _multiclass(_identity)
MARGINS = _multiclass(None)
SIGMOID = _binary(zero_one)
PROBABILITIES = _binary(zero_one, torch.logit)
SIGNS = _binary(plus_minus_one)


@dataclass(frozen=True)
class IndicatorLink:
    """A conversion of zeros and ones, a column a label, to a target, and of an output to logits."""

    encode: Callable[[Tensor], Tensor] = _identity
    logits: Callable[[Tensor], Tensor] = _identity


INDICATORS = IndicatorLink()
INDICATOR_PROBABILITIES = IndicatorLink(logits=torch.logit)
INDICATOR_SIGNS = IndicatorLink(encode=lambda indicators: 2 * indicators - 1)


@dataclass(frozen=True)
class NumberLink:
    """The number of outputs that a target needs, and their conversion to predictions."""

    # criterion -> outputs of the module for each target
    n_outputs: Callable[[Any], int] = lambda criterion: 1
    # criterion -> predictions for each target
    n_predictions: Callable[[Any], int] = lambda criterion: 1
    # criterion, output -> predictions
    predict: Callable[[Any, Tensor], Tensor] = lambda criterion, output: output
    # output -> standard deviations, where the loss learns them
    standard_deviation: Callable[[Tensor], Tensor] | None = None
    # Targets are counts, zero or more, which can't be scaled.
    counts: bool = False
    # criterion -> loss module of (output, target), for a loss that takes more arguments
    adapt: Callable[[nn.Module], nn.Module] | None = None


NUMBERS = NumberLink()
COUNTS = NumberLink(
    predict=lambda criterion, output: output.exp() if criterion.log_input else output, counts=True
)
GAUSSIAN = NumberLink(
    n_outputs=lambda criterion: 2,
    predict=lambda criterion, output: GaussianLoss.mean_and_variance(output)[0],
    standard_deviation=lambda output: GaussianLoss.mean_and_variance(output)[1].sqrt(),
    adapt=GaussianLoss,
)
