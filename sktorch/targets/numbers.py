"""Numbers: one or several a row, scaled for training."""

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array, check_consistent_length
from torch import nn

from sktorch.losses.adapters import innermost
from sktorch.losses.links import NUMBER_LINKS, check_criterion, number_link_of
from sktorch.targets.weights import check_sample_weight, usable


class Numbers:
    """The codec of numbers; encoded they are float64 of shape (n_samples, n_targets).

    The loss compares them scaled to mean zero and variance one, by what `fit_scale` has seen.

    Parameters
    ----------
    n_targets : int
    one_dimensional : bool
        Whether y has a single dimension.
    are_counts : bool, default=False
        Whether they are zero or more, and not to be scaled.
    """

    default_criterion = nn.MSELoss

    def __init__(self, n_targets, one_dimensional, are_counts=False):
        self.n_targets, self.one_dimensional = n_targets, one_dimensional
        self.are_counts = are_counts
        self.mean, self.scale = np.zeros(n_targets), np.ones(n_targets)

    @classmethod
    def of(cls, y, criterion):
        """The codec of these numbers, for a criterion or its class."""
        n_targets = 1 if y.ndim == 1 else y.shape[1]
        return cls(n_targets, y.ndim == 1, number_link_of(criterion).counts)

    def fit_scale(self, y, weights):
        """Take mean and standard deviation of encoded targets for the scale."""
        scaler = StandardScaler().fit(y, sample_weight=weights)
        self.mean, self.scale = scaler.mean_, scaler.scale_

    def encode(self, y):
        """Numbers as float64, (n_samples, n_targets); ValueError for those that don't fit."""
        n_targets = 1 if y.ndim == 1 else y.shape[1]
        if n_targets != self.n_targets:
            raise ValueError(
                f"y has {n_targets} targets, but {self.n_targets} in the first fit. Change y, or "
                "fit anew with warm_start=False."
            )
        if self.are_counts and (y < 0).any():
            raise ValueError(
                f"y holds {y.min()}, but the criterion is a loss of counts, zero or more. Change "
                "y, or the criterion."
            )
        return y.reshape(len(y), self.n_targets)

    def decode(self, y):
        """Numbers in the shape of the y of ``fit``."""
        return y[:, 0] if self.one_dimensional else y

    def row_weights(self, y, sample_weight, class_weight=None, counted=None):
        """One weight a row, or None."""
        return None if sample_weight is None else usable(check_sample_weight(sample_weight, len(y)))

    def strata(self, y):
        """None: numbers are held out at random."""
        return None

    def n_outputs(self, criterion):
        """Number of outputs that a module should have."""
        return number_link_of(criterion).width(innermost(criterion), self.n_targets)

    def criterion_adapter(self, criterion):
        """What wraps a loss of more than output and target; None for the others."""
        return number_link_of(criterion).adapt

    def check_criterion(self, criterion):
        """Raise ValueError if the criterion can't learn these targets."""
        check_criterion(criterion, NUMBER_LINKS, "numbers")
        if self.n_targets > 1 and self.has_several_quantiles(criterion):
            raise ValueError(
                f"{innermost(criterion)} takes one target, y has {self.n_targets}. Ask for one "
                "quantile, or fit one estimator a target (MultiOutputRegressor)."
            )

    def score_name(self, criterion):
        """Name of the score of every epoch: R², which several quantiles don't have."""
        return None if self.has_several_quantiles(criterion) else "r2"

    def has_several_quantiles(self, criterion):
        """Whether the predictions are several quantiles of one target."""
        levels = getattr(innermost(criterion), "levels", None)
        return levels is not None and levels.numel() > 1

    def check_output(self, criterion, output, n_rows):
        """Raise ValueError if a module's output for ``n_rows`` rows doesn't fit."""
        width = self.n_outputs(criterion)
        shapes = [(n_rows, width), *([(n_rows,)] if width == 1 else [])]
        if tuple(output.shape) not in shapes:
            raise ValueError(
                f"module returned an output of shape {tuple(output.shape)} for a batch of {n_rows} "
                f"rows; {innermost(criterion)} on {self.n_targets} target(s) expects "
                f"{' or '.join(map(str, shapes))}. Change the module, or let its constructor take "
                "n_outputs, which is filled in."
            )

    def target(self, criterion, y, output):
        """The criterion's target, a tensor, from encoded targets: scaled."""
        scaled = torch.from_numpy((y - self.mean) / self.scale).to(output.dtype)
        return scaled.reshape(-1) if output.ndim == 1 else scaled

    def predicted(self, criterion, output):
        """Numbers in the scale of y, of shape (n_rows, n_columns)."""
        predictions = number_link_of(criterion).predict(innermost(criterion), output)
        return self._unscaled(predictions.reshape(len(output), -1))

    def standard_deviation(self, criterion, output):
        """Standard deviations in the scale of y, (n_rows, n_targets); None where none is learnt."""
        deviation = number_link_of(criterion).standard_deviation
        return None if deviation is None else deviation(output) * _like(self.scale, output)

    def _unscaled(self, predictions):
        return predictions * _like(self.scale, predictions) + _like(self.mean, predictions)


def _like(values, tensor):
    return torch.from_numpy(values).to(tensor.device, tensor.dtype)


def check_numbers(y, X):
    """Check targets of a regression as scikit-learn does.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or (n_samples, n_targets)
    X : array with rows
        y must have as many.

    Returns
    -------
    y : ndarray of the same shape, float64

    Raises
    ------
    ValueError
        For y of another length or of more dimensions, with NaN or infinity, or not of numbers.
    """
    if y is None:
        raise ValueError("TorchRegressor requires y to be passed, but the target y is None.")
    if isinstance(y, torch.Tensor):
        y = y.detach().cpu().numpy()
    y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
    check_consistent_length(X, y)
    return y
