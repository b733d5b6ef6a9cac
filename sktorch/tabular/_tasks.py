"""What members learn, how held-out rows judge them, and how their outputs become predictions."""

import math
from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Factors of logits to choose from, the inverse of the temperatures of Guo et al., "On Calibration
# of Modern Neural Networks", 2017, arXiv:1706.04599.
FACTORS = tuple(np.geomspace(0.1, 2, 18).round(4).tolist())


# Standard deviations of the logarithms of targets beyond which outputs are cut off.
MAX_LOG = 10.0


class Task(nn.Module, ABC):
    """The loss of each row, and how good outputs for held-out rows are."""

    n_outputs: int

    @abstractmethod
    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each row: outputs (n_rows, n_outputs), targets (n_rows,)."""

    @abstractmethod
    def factors(self, outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Return the factor of each member's outputs that makes them fit held-out rows best.

        Outputs are of shape (n_rows, n_members, n_outputs), targets (n_rows, n_members), weights
        as well, of sum 1 for each member.
        """

    @abstractmethod
    def risks(self, outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Return how far scaled outputs are off, a number for each member, lower is better."""


class Classification(Task):
    """Classes by logits; the best epoch is judged by the Brier score, or by the error.

    The log-loss of held-out rows rises while the Brier score, after scaling, still falls: members
    become too sure of themselves before they stop getting better.
    """

    def __init__(self, n_classes: int, loss: str) -> None:
        super().__init__()
        self.n_outputs, self.loss = n_classes, loss

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy of each row."""
        return F.cross_entropy(outputs, targets.long(), reduction="none")

    def factors(self, outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Return the factors of the lowest log-loss."""
        log_losses = []
        for factor in FACTORS:
            log_p = (factor * outputs).log_softmax(-1)
            chosen = log_p.gather(-1, targets.long().unsqueeze(-1)).squeeze(-1)
            log_losses.append(-(chosen * weights).sum(0))
        best = torch.stack(log_losses).argmin(0)
        return outputs.new_tensor(FACTORS)[best]

    def risks(self, outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Return the Brier score; by "error" the share of wrong rows, and the score among ties."""
        p, codes = outputs.softmax(-1), targets.long()
        squares = (p - F.one_hot(codes, self.n_outputs)).square().sum(-1)
        brier = (squares * weights).sum(0)
        if self.loss != "error":
            return brier
        return ((p.argmax(-1) != codes) * weights).sum(0) + 1e-3 * brier


class Regression(Task):
    """Numbers by a loss of their own: "squared_error", "absolute_error" or "quantile".

    Outputs are standardised targets, or, with ``log``, standardised logarithms of targets: then
    features multiply, as they do for prices, and the loss is still that of the targets. ``center``
    and ``scale`` are the mean and standard deviation of the targets, ``log`` of their logarithms.
    """

    n_outputs = 1

    def __init__(
        self,
        loss: str,
        quantile: float | None = None,
        center: float = 0.0,
        scale: float = 1.0,
        log: tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        self.loss, self.quantile = loss, 0.5 if quantile is None else quantile
        self.center, self.scale, self.log = center, scale, log

    def numbers(self, outputs: Tensor) -> Tensor:
        """Return standardised targets of outputs."""
        if self.log is None:
            return outputs
        mean, std = self.log
        # Beyond it lie no targets, and the exponential of a wild output would be infinite.
        logs = mean - math.log(self.scale) + std * outputs.clamp(-MAX_LOG, MAX_LOG)
        return logs.exp() - self.center / self.scale

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each row."""
        below = targets - self.numbers(outputs).squeeze(-1)
        if self.loss == "squared_error":
            return below.square()
        return torch.maximum(self.quantile * below, (self.quantile - 1) * below)

    def factors(self, outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Return ones: numbers are in the scale of the targets."""
        return outputs.new_ones(outputs.shape[1])

    def risks(self, outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Return the mean loss."""
        return (self(outputs, targets) * weights).sum(0)
