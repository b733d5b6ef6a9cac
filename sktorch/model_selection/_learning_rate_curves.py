"""The losses of a learning-rate sweep, as numbers, text and a drawing."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class LearningRateSweep:
    """Losses after each of a few epochs, at many learning rates.

    Attributes
    ----------
    lrs : ndarray of shape (n_rates,)
        The learning rates, ascending.
    train_losses : ndarray of shape (n_rates, n_epochs)
        Mean loss of the batches of each epoch; NaN from the epoch on in which a training diverges.
    valid_losses : ndarray of shape (n_rates, n_epochs)
        Loss on the rows held out, after each epoch; NaN as in ``train_losses``.
    suggestion : float
        The learning rate to begin with.
    parameter : str
        Name of the learning rate among the estimator's parameters: "lr", or "clf__lr".

    Examples
    --------
    >>> import numpy as np
    >>> from sktorch.model_selection import LearningRateSweep
    >>> losses = np.array([[0.9], [0.4], [np.nan]])
    >>> print(LearningRateSweep(np.array([0.01, 0.1, 1.0]), losses, losses, 0.03, "lr"))
    3 learning rates from 0.01 to 1, each trained for 1 epoch; 1 of them diverged
    lowest validation loss 0.4 at lr=0.1
    suggestion: lr=0.03
    """

    lrs: np.ndarray
    train_losses: np.ndarray
    valid_losses: np.ndarray
    suggestion: float
    parameter: str

    def __str__(self) -> str:
        n_rates, n_epochs = self.valid_losses.shape
        final = self.valid_losses[:, -1]
        n_diverged, best = int(np.isnan(final).sum()), int(np.nanargmin(final))
        lines = [
            f"{n_rates} learning rates from {self.lrs[0]:.2g} to {self.lrs[-1]:.2g}, each trained "
            f"for {n_epochs} epoch{'s' if n_epochs > 1 else ''}"
            + (f"; {n_diverged} of them diverged" if n_diverged else ""),
            f"lowest validation loss {final[best]:.4g} at {self.parameter}={self.lrs[best]:.2g}",
            f"suggestion: {self.parameter}={self.suggestion:.2g}",
        ]
        return "\n".join(lines)

    def plot(self, ax: Any = None) -> Any:
        """Draw the losses over the learning rates, and the suggestion.

        The validation loss after the last epoch is in full colour, that of earlier epochs in pale.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.

        Returns
        -------
        ax : matplotlib Axes
            The axes with the drawing.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        ax = _pyplot().subplots()[1] if ax is None else ax
        *earlier, last = self.valid_losses.T
        for number, losses in enumerate(earlier, start=1):
            ax.plot(self.lrs, losses, color="C0", alpha=0.5 * number / len(earlier), linewidth=1)
        ax.plot(self.lrs, last, color="C0", marker=".", label="validation loss")
        ax.plot(self.lrs, self.train_losses[:, -1], color="C1", ls=":", label="training loss")
        label = f"suggestion: {self.suggestion:.2g}"
        ax.axvline(self.suggestion, color="black", linestyle="--", label=label)
        ax.set(xscale="log", xlabel=self.parameter, ylabel="loss", ylim=self._loss_limits())
        ax.legend()
        return ax

    def _loss_limits(self) -> tuple[float, float]:
        """Return limits that show losses from the lowest to those at the start, and cut others."""
        both = np.stack([self.train_losses, self.valid_losses])
        low, high, start = np.nanmin(both), np.nanmax(both), np.nanmedian(both[..., 0])
        high = min(high, low + 2 * (start - low))
        margin = 0.05 * (high - low) or 1.0
        return low - margin, high + margin


def _pyplot() -> Any:
    try:
        return import_module("matplotlib.pyplot")
    except ImportError as error:
        raise ImportError(
            f"Drawing needs matplotlib, which can't be imported: {error}. "
            "Install it: pip install 'sktorch[plot]'."
        ) from error
