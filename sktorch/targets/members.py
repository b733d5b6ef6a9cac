"""Targets of an ensemble in one module, whose outputs are those of several members."""

import math
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sktorch.losses.registry import has_probabilities
from sktorch.targets.around import AroundCodec
from sktorch.targets.codec import Codec, LabelCodec
from sktorch.targets.columns import LabelColumns
from sktorch.targets.decoding import Decoding
from sktorch.targets.indicators import Indicators
from sktorch.targets.numbers import Numbers


def has_members(module: nn.Module, output: Any) -> bool:
    """Say whether a module's output is (n_rows, n_members, ...), as its ``n_members`` says."""
    n_members = getattr(module, "n_members", None)
    is_deep = isinstance(output, Tensor) and output.ndim > 2
    return isinstance(n_members, Integral) and is_deep and output.shape[1] == n_members


def of_members(targets: Codec) -> "MemberOutputs":
    """Return the codec of the outputs of several members, around that of y."""
    return (MemberNumbers if isinstance(targets, Numbers) else MemberLabels)(targets)


class MemberOutputs(AroundCodec):
    """A codec of outputs (n_rows, n_members, ...), each member's as that of y's kind reads it."""

    def score_name(self, criterion: nn.Module) -> str | None:
        """Return the name of the score of each epoch that these targets have."""
        return self.targets.score_name(criterion)

    def check_output(self, criterion: nn.Module, output: Tensor, n_rows: int) -> None:
        """Raise ValueError if the outputs of a member do not fit."""
        self.targets.check_output(criterion, output[:, 0], n_rows)

    def target(self, criterion: nn.Module, encoded: np.ndarray, output: Tensor) -> Tensor:
        """Return the criterion's target for one member."""
        return self.targets.target(criterion, encoded, output[:, 0])


class MemberLabels(MemberOutputs):
    """The codec of labels: probabilities are averaged, and labels chosen by their mean.

    Where the loss defines no probabilities, outputs are averaged.
    """

    @property
    def targets(self) -> LabelCodec:
        """The codec of y."""
        assert isinstance(self._targets, LabelCodec)
        return self._targets

    def log_probabilities(self, criterion: nn.Module, output: Tensor) -> Any:
        """Return the logarithms of the members' mean probabilities."""
        log_p = self.targets.log_probabilities(criterion, output.flatten(0, 1))
        return _each(log_p, lambda part: _log_mean(part, output))

    def probabilities(self, criterion: nn.Module, output: Tensor) -> Any:
        """Return the members' mean probabilities."""
        return _each(self.log_probabilities(criterion, output), torch.exp)

    def decision(self, criterion: nn.Module, output: Tensor) -> Any:
        """Return scores in the shapes of the codec of y, by the mean probabilities."""
        if not has_probabilities(criterion):
            return self.targets.decision(criterion, output.mean(1))
        log_p = self.log_probabilities(criterion, output)
        if not isinstance(self.targets, Indicators):
            return _each(log_p, _scores)
        logits = self.targets.decision(criterion, output.flatten(0, 1))
        return log_p - _log_mean(nn.functional.logsigmoid(-logits), output)

    def predicted(self, criterion: nn.Module, output: Tensor) -> Tensor:
        """Return the codes of the likeliest classes, or of the labels likelier than not."""
        if not has_probabilities(criterion):
            return self.targets.predicted(criterion, output.mean(1))
        if isinstance(self.targets, Indicators):
            return (self.decision(criterion, output) > 0).long()
        codes = _each(self.log_probabilities(criterion, output), lambda part: part.argmax(-1))
        return torch.stack(codes, dim=1) if isinstance(self.targets, LabelColumns) else codes

    def decoding(self, criterion: nn.Module, dtype: torch.dtype) -> nn.Module:
        """Return a module that makes mean probabilities of outputs."""
        return Decoding(self.probabilities, criterion)


class MemberNumbers(MemberOutputs):
    """The codec of numbers: predictions are averaged."""

    @property
    def targets(self) -> Numbers:
        """The codec of y."""
        assert isinstance(self._targets, Numbers)
        return self._targets

    def predicted(self, criterion: nn.Module, output: Tensor) -> Tensor:
        """Return the members' mean predictions in the scale of y, (n_rows, n_columns)."""
        return _by_member(self.targets.predicted(criterion, output.flatten(0, 1)), output).mean(1)

    def standard_deviation(self, criterion: nn.Module, output: Tensor) -> Tensor | None:
        """Return that of the mixture of the members' distributions, or None without any."""
        rows = output.flatten(0, 1)
        deviation = self.targets.standard_deviation(criterion, rows)
        if deviation is None:
            return None
        means = _by_member(self.targets.predicted(criterion, rows), output)
        within = _by_member(deviation, output).square().mean(1)
        return (within + means.var(1, correction=0)).sqrt()

    def decoding(self, criterion: nn.Module, dtype: torch.dtype) -> nn.Module:
        """Return a module that makes mean predictions in the scale and shape of y of outputs."""
        return MeanOfMembers(self.targets.decoding(criterion, dtype))


class MeanOfMembers(nn.Module):
    """The mean of what another module makes of each member's outputs."""

    def __init__(self, decoding: nn.Module) -> None:
        super().__init__()
        self.decoding = decoding

    def forward(self, output: Tensor) -> Tensor:
        """Return the mean over the members."""
        return _by_member(self.decoding(output.flatten(0, 1)), output).mean(1)


def _each(parts: Any, function: Any) -> Any:
    """Return a function of a tensor, or of each of a list, one for each column of labels."""
    return [function(part) for part in parts] if isinstance(parts, list) else function(parts)


def _by_member(values: Tensor, output: Tensor) -> Tensor:
    """Return values of all members' rows in the shape (n_rows, n_members, ...)."""
    return values.reshape(output.shape[0], output.shape[1], *values.shape[1:])


def _log_mean(log_p: Tensor, output: Tensor) -> Tensor:
    """Return the logarithm of the members' mean of what has these logarithms."""
    return _by_member(log_p, output).logsumexp(1) - math.log(output.shape[1])


def _scores(log_p: Tensor) -> Tensor:
    """Return scores of the classes, and of two classes how much the second is above the first."""
    return log_p[..., 1] - log_p[..., 0] if log_p.shape[-1] == 2 else log_p
