"""The losses of a learning-rate sweep, as numbers and text."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sktorch.inspection import LearningRateDisplay


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

        :class:`sktorch.inspection.LearningRateDisplay` draws them.

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
        return LearningRateDisplay.from_sweep(self, ax=ax).ax_
