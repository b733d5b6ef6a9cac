"""Numbers: one or several a row, scaled for training."""

from collections.abc import Callable
from typing import Any, Self

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array, check_consistent_length
from torch import Tensor, nn

from sktorch.losses.adapters import Criterion, innermost
from sktorch.losses.registry import number_link_of
from sktorch.targets.arrays import as_numpy
from sktorch.targets.codec import Codec


class Numbers(Codec):
    """The codec of numbers; encoded they are float64 of shape (n_samples, n_targets).

    The loss compares them scaled to mean zero and variance one, by what `fit_scale` has seen;
    counts are never scaled.
    """

    default_criterion = nn.MSELoss
    kind = "numbers"
    description = "numbers"

    def __init__(self, n_targets: int, one_dimensional: bool, are_counts: bool = False) -> None:
        self.n_targets, self.one_dimensional = n_targets, one_dimensional
        self.are_counts = are_counts
        self.mean, self.scale = np.zeros(n_targets), np.ones(n_targets)

    @staticmethod
    def check(y: Any, X: Any) -> np.ndarray:
        """Return float64 of the same shape; raise for NaN, infinity or other rows than X's."""
        if y is None:
            raise ValueError("TorchRegressor requires y to be passed, but the target y is None.")
        y = check_array(as_numpy(y), ensure_2d=False, dtype=np.float64, input_name="y")
        check_consistent_length(X, y)
        return y

    @classmethod
    def of(cls, y: np.ndarray, criterion: Criterion) -> Self:
        """Return the codec of checked numbers for a criterion, which may be a loss of counts."""
        return cls(_n_columns(y), y.ndim == 1, number_link_of(criterion).counts)

    def fit_scale(self, y: np.ndarray, weights: np.ndarray | None) -> None:
        """Take the scale from encoded targets, unless they are counts."""
        if self.are_counts:
            return
        scaler = StandardScaler().fit(y, sample_weight=weights)
        self.mean, self.scale = scaler.mean_, scaler.scale_

    def encode(self, y: np.ndarray) -> np.ndarray:
        """Return (n_samples, n_targets); raise ValueError for other columns or negative counts."""
        if _n_columns(y) != self.n_targets:
            raise ValueError(
                f"y has {_n_columns(y)} targets, but {self.n_targets} in the first fit. Change y, "
                "or fit anew with warm_start=False."
            )
        if self.are_counts and (y < 0).any():
            raise ValueError(
                f"y holds {y.min()}, but the criterion is a loss of counts, zero or more. Change "
                "y, or the criterion."
            )
        return y.reshape(len(y), self.n_targets)

    def decode(self, encoded: np.ndarray) -> np.ndarray:
        """Return numbers in the shape of the y of ``fit``."""
        return encoded[:, 0] if self.one_dimensional else encoded

    def check_criterion(self, criterion: Criterion) -> None:
        """Raise ValueError if the criterion can't learn numbers, or as many."""
        super().check_criterion(criterion)
        if self.n_targets > 1 and self.has_several_quantiles(criterion):
            raise ValueError(
                f"{innermost(criterion)} takes one target, y has {self.n_targets}. Ask for one "
                "quantile, or fit one estimator a target (MultiOutputRegressor)."
            )

    def criterion_adapter(self, criterion: Criterion) -> Callable[..., nn.Module] | None:
        """Return the adapter that the criterion's link has."""
        return number_link_of(criterion).adapt

    def score_name(self, criterion: nn.Module) -> str | None:
        """Return the name of R², which several quantiles don't have."""
        return None if self.has_several_quantiles(criterion) else "r2"

    def has_several_quantiles(self, criterion: Criterion) -> bool:
        """Return whether the criterion is an instance that predicts several quantiles."""
        loss = innermost(criterion)
        return isinstance(loss, nn.Module) and number_link_of(loss).n_predictions(loss) > 1

    def widths(self, criterion: Criterion) -> tuple[int, ...]:
        """Return as many outputs as the criterion's link says, for each target."""
        return (self.n_targets * number_link_of(criterion).n_outputs(innermost(criterion)),)

    def _expected(self, criterion: nn.Module, shapes: list[tuple[int, ...]]) -> str:
        expected = " or ".join(map(str, shapes))
        return f"{innermost(criterion)} on {self.n_targets} target(s) expects {expected}"

    def target(self, criterion: nn.Module, encoded: np.ndarray, output: Tensor) -> Tensor:
        """Return scaled numbers in the output's dtype and number of dimensions."""
        scaled = torch.from_numpy((encoded - self.mean) / self.scale).to(output.dtype)
        return scaled.reshape(-1) if output.ndim == 1 else scaled

    def predicted(self, criterion: nn.Module, output: Tensor) -> Tensor:
        """Return numbers in the scale of y, of shape (n_rows, n_columns)."""
        predictions = number_link_of(criterion).predict(innermost(criterion), output)
        predictions = predictions.reshape(len(output), -1)
        return predictions * _like(self.scale, output) + _like(self.mean, output)

    def standard_deviation(self, criterion: nn.Module, output: Tensor) -> Tensor | None:
        """Return standard deviations in the scale of y, or None if the criterion learns none."""
        deviation = number_link_of(criterion).standard_deviation
        return None if deviation is None else deviation(output) * _like(self.scale, output)


def _n_columns(y: np.ndarray) -> int:
    return 1 if y.ndim == 1 else y.shape[1]


def _like(values: np.ndarray, tensor: Tensor) -> Tensor:
    return torch.from_numpy(values).to(tensor.device, tensor.dtype)
