"""Numbers: one, several or an array of them a row, scaled for training."""

from collections.abc import Callable
from math import prod
from typing import Any, Self

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array, check_consistent_length
from torch import Tensor, nn

from sktorch.losses.adapters import Criterion, innermost
from sktorch.losses.registry import number_link_of
from sktorch.targets.arrays import as_target_array
from sktorch.targets.codec import Codec
from sktorch.targets.decoding import ScaledDecoding, in_rows, in_scale

# Squares of larger numbers overflow float64, those of numbers below its inverse vanish.
LARGEST_SQUARED = 1e150
# Predictions are seldom farther from the mean than so many standard deviations.
FARTHEST = 1000


class Numbers(Codec):
    """The codec of numbers; encoded they are float64 of shape (n_samples, n_targets).

    ``shape`` is that of a row of y. The loss compares them scaled to mean zero and variance one, by
    what `fit_scale` has seen; counts are never scaled.
    """

    default_criterion = nn.MSELoss
    kind = "numbers"
    description = "numbers"

    def __init__(self, shape: tuple[int, ...], are_counts: bool = False) -> None:
        self.shape, self.n_targets = shape, prod(shape)
        self.are_counts = are_counts
        self.mean, self.scale = np.zeros(self.n_targets), np.ones(self.n_targets)

    @staticmethod
    def check(y: Any, X: Any) -> np.ndarray:
        """Return float64 of the same shape; raise for NaN, infinity or other rows than X's."""
        if y is None:
            raise ValueError("TorchRegressor requires y to be passed, but the target y is None.")
        y = as_target_array(y)
        if y.dtype.kind == "c":
            raise ValueError(f"Complex data not supported: y has dtype {y.dtype}. Change y.")
        if y.dtype.kind in "USV":
            raise ValueError(f"y has dtype {y.dtype}; expected numbers. Change y.")
        if 0 in y.shape[2:]:
            raise ValueError(f"y has shape {y.shape}, and no entries. Change y.")
        y = check_array(y, ensure_2d=False, allow_nd=True, dtype=np.float64, input_name="y")
        check_consistent_length(X, y)
        return y

    @classmethod
    def of(cls, y: np.ndarray, criterion: Criterion) -> Self:
        """Return the codec of checked numbers for a criterion, which may be a loss of counts."""
        return cls(y.shape[1:], number_link_of(criterion).counts)

    def fit_scale(self, y: np.ndarray, weights: np.ndarray | None) -> None:
        """Take the scale from encoded targets, unless they are counts."""
        if self.are_counts:
            return
        rows, channels = self._by_channel(y)
        if weights is not None:
            weights = np.repeat(weights, len(rows) // len(y))
        largest = np.abs(rows).max(axis=0)
        unit = np.where(
            (largest > LARGEST_SQUARED) | ((largest > 0) & (largest < 1 / LARGEST_SQUARED)),
            largest,
            1.0,
        )
        scaler = StandardScaler().fit(rows / unit, sample_weight=weights)
        self.mean, self.scale = ((part * unit)[channels] for part in (scaler.mean_, scaler.scale_))

    @property
    def _channel_axis(self) -> int:
        """The dimension of a row whose entries are numbers of a kind each, by torch's habit."""
        return 1 if len(self.shape) == 2 else 0

    def _by_channel(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return y with a column for each mean and scale, and the column of each target.

        A target of its own has its own scale; the steps of a sequence share those of their features
        (n_steps, n_features), the pixels of a picture those of their channel (n_channels, ...).
        """
        if len(self.shape) < 2:
            return y, np.arange(self.n_targets)
        axis = self._channel_axis
        channels = np.indices(self.shape)[axis].reshape(-1)
        by_channel = np.moveaxis(y.reshape(-1, *self.shape), axis + 1, -1)
        return by_channel.reshape(-1, self.shape[axis]), channels

    def encode(self, y: np.ndarray) -> np.ndarray:
        """Return (n_samples, n_targets); raise ValueError for another shape or negative counts."""
        if _columns(y.shape[1:]) != _columns(self.shape):
            first = self._in_words(self.shape).removesuffix(" targets")
            raise ValueError(
                f"y has {self._in_words(y.shape[1:])}, but {first} in the first fit. Change y, or "
                "fit anew with warm_start=False."
            )
        if self.are_counts and (y < 0).any():
            raise ValueError(
                f"y holds {y.min()}, but the criterion is a loss of counts, zero or more. Change "
                "y, or the criterion."
            )
        return y.reshape(len(y), self.n_targets)

    @staticmethod
    def _in_words(shape: tuple[int, ...]) -> str:
        return f"{prod(shape)} targets" if len(shape) < 2 else f"targets of shape {shape}"

    def decode(self, encoded: Any) -> Any:
        """Return numbers in the shape of the y of ``fit``; several quantiles stay columns."""
        return in_rows(encoded, self.shape)

    def check_criterion(self, criterion: Criterion) -> None:
        """Raise ValueError if the criterion can't learn numbers, or as many."""
        super().check_criterion(criterion)
        if self.n_targets > 1 and self.has_several_quantiles(criterion):
            raise ValueError(
                f"{innermost(criterion)} takes one target, y has {self.n_targets}. Ask for one "
                "quantile, or fit one estimator a target (MultiOutputRegressor)."
            )

        if len(self.shape) > 2 and number_link_of(criterion).standard_deviation is not None:
            raise ValueError(
                f"{innermost(criterion)} takes y of three dimensions at most, y has "
                f"{len(self.shape) + 1}. Write a loss that reads its outputs, by a method predict."
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
        """Return as many outputs as the criterion's link says, for each target or channel."""
        n_channels = self.n_targets if len(self.shape) < 2 else self.shape[self._channel_axis]
        return (n_channels * self._n_outputs_each(criterion),)

    @staticmethod
    def _n_outputs_each(criterion: Criterion) -> int:
        return number_link_of(criterion).n_outputs(innermost(criterion))

    def _shapes(self, criterion: nn.Module, n_rows: int) -> list[tuple[int, ...]]:
        """Return the shapes of an output that fit: of arrays those of y, the last entry wider."""
        if len(self.shape) < 2:
            return super()._shapes(criterion, n_rows)
        *others, last = self.shape
        return [(n_rows, *others, last * self._n_outputs_each(criterion))]

    def _expected(self, criterion: nn.Module, shapes: list[tuple[int, ...]]) -> str:
        expected = " or ".join(map(str, shapes))
        targets = f"{self.n_targets} target(s)"
        if len(self.shape) > 1:
            targets = f"y with {self._in_words(self.shape)}"
        return f"{innermost(criterion)} on {targets} expects {expected}"

    def target(self, criterion: nn.Module, encoded: np.ndarray, output: Tensor) -> Tensor:
        """Return scaled numbers in the output's dtype and number of dimensions."""
        target = self.plain_target(encoded, output.dtype)
        if len(self.shape) > 1:
            return target
        return target.reshape(-1) if output.ndim == 1 else target.reshape(-1, self.n_targets)

    def plain_target(self, encoded: np.ndarray, dtype: torch.dtype) -> Tensor:
        """Return scaled numbers in the shape of y."""
        with np.errstate(over="ignore"):
            scaled = torch.from_numpy((encoded - self.mean) / self.scale).to(dtype)
        if not torch.isfinite(scaled).all():
            raise ValueError(
                f"y holds numbers from {encoded.min()} to {encoded.max()}, which the module's "
                f"{dtype} can't hold. Set scale_target=True, or divide y by a constant."
            )
        return scaled.reshape(len(scaled), *self.shape)

    def predicted(self, criterion: nn.Module, output: Tensor) -> Tensor:
        """Return numbers in the scale of y, of shape (n_rows, n_columns)."""
        values = self._columns_of(criterion, output)
        return in_scale(values, *self._scale_and_mean(values.dtype, values.device))

    def standard_deviation(self, criterion: nn.Module, output: Tensor) -> Tensor | None:
        """Return standard deviations in the scale of y, or None if the criterion learns none."""
        deviation = number_link_of(criterion).standard_deviation
        if deviation is None:
            return None
        values = deviation(output).reshape(output.shape[0], -1)
        scale, mean, limit = self._scale_and_mean(values.dtype, values.device)
        return in_scale(values, scale, torch.zeros_like(mean), limit)

    def decoding(self, criterion: nn.Module, dtype: torch.dtype) -> nn.Module:
        """Return a module that makes numbers in the scale and shape of y of outputs."""
        scaling = self._scale_and_mean(dtype, torch.device("cpu"))
        return ScaledDecoding(self._columns_of, criterion, *scaling, self.shape)

    @staticmethod
    def _columns_of(criterion: nn.Module, output: Tensor) -> Tensor:
        """Return scaled predictions of shape (n_rows, n_columns)."""
        predictions = number_link_of(criterion).predict(innermost(criterion), output)
        return predictions.reshape(output.shape[0], -1)

    def _scale_and_mean(
        self, dtype: torch.dtype, device: torch.device
    ) -> tuple[Tensor, Tensor, float | None]:
        """Return scale and mean in a dtype, and None.

        If the dtype is too small for numbers like y, return them in float64, and its limit.
        """
        limits, limit = torch.finfo(dtype), None
        with np.errstate(over="ignore"):
            farthest = np.abs(self.mean) + FARTHEST * self.scale
        if farthest.max() > limits.max or self.scale.min() < limits.tiny:
            dtype, device = torch.float64, torch.device("cpu")  # MPS has no float64.
            limit = torch.finfo(dtype).max
        scale, mean = (torch.from_numpy(part).to(device, dtype) for part in (self.scale, self.mean))
        return scale, mean, limit


def _columns(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of a row in which one number and one column are the same."""
    return shape or (1,)
