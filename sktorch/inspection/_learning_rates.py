"""The losses of a learning-rate sweep, as a drawing."""

from typing import Any, Self

import numpy as np

from sktorch.inspection._pyplot import axes_or_new


class LearningRateDisplay:
    """The losses of a learning-rate sweep, as a drawing.

    The validation loss after the last epoch is in full colour, that of earlier epochs in pale.

    Use :meth:`from_sweep` to make one. All parameters are stored as attributes.

    Parameters
    ----------
    lrs : ndarray of shape (n_rates,)
        The learning rates, ascending.
    train_losses : ndarray of shape (n_rates, n_epochs)
        Training losses; NaN is not drawn.
    valid_losses : ndarray of shape (n_rates, n_epochs)
        Losses on rows held out; NaN is not drawn.
    suggestion : float, default=None
        The learning rate to mark.
    parameter : str, default="lr"
        Name of the learning rate.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The Axes.
    figure_ : matplotlib Figure
        The figure.
    line_ : matplotlib Line2D
        The validation loss after the last epoch.
    train_line_ : matplotlib Line2D
        The training loss of the last epoch.
    earlier_lines_ : list of matplotlib Line2D
        The validation losses after the epochs before the last.
    suggestion_line_ : matplotlib Line2D or None
        The line that marks the suggestion.

    See Also
    --------
    sktorch.model_selection.learning_rate_sweep : Trains at many learning rates.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sktorch import TorchClassifier
    >>> from sktorch.inspection import LearningRateDisplay
    >>> from sktorch.model_selection import learning_rate_sweep
    >>> X, y = load_iris(return_X_y=True)
    >>> sweep = learning_rate_sweep(TorchClassifier(random_state=0), X, y, random_state=0)
    >>> LearningRateDisplay.from_sweep(sweep).ax_.get_xlabel()
    'lr'
    """

    def __init__(
        self,
        *,
        lrs: np.ndarray,
        train_losses: np.ndarray,
        valid_losses: np.ndarray,
        suggestion: float | None = None,
        parameter: str = "lr",
    ) -> None:
        self.lrs = lrs
        self.train_losses = train_losses
        self.valid_losses = valid_losses
        self.suggestion = suggestion
        self.parameter = parameter

    @classmethod
    def from_sweep(cls, sweep: Any, *, ax: Any = None) -> Self:
        """Draw a sweep.

        Parameters
        ----------
        sweep : LearningRateSweep
            What :func:`sktorch.model_selection.learning_rate_sweep` returned.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.

        Returns
        -------
        display : LearningRateDisplay

        Raises
        ------
        TypeError
            If ``sweep`` is something else.
        ImportError
            If matplotlib is missing.
        """
        names = ("lrs", "train_losses", "valid_losses", "suggestion", "parameter")
        if not all(hasattr(sweep, name) for name in names):
            raise TypeError(
                f"sweep is a {type(sweep).__name__}; expected the LearningRateSweep that "
                "learning_rate_sweep returns."
            )
        return cls(**{name: getattr(sweep, name) for name in names}).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the losses over the learning rates, and the suggestion.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.

        Returns
        -------
        display : LearningRateDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        self.ax_ = ax = axes_or_new(ax, figsize=(6.4, 4))
        self.figure_ = ax.figure
        *earlier, last = self.valid_losses.T
        self.earlier_lines_ = [
            ax.plot(self.lrs, losses, color="C0", alpha=0.5 * number / len(earlier), linewidth=1)[0]
            for number, losses in enumerate(earlier, start=1)
        ]
        (self.line_,) = ax.plot(self.lrs, last, color="C0", marker=".", label="validation loss")
        train = self.train_losses[:, -1]
        (self.train_line_,) = ax.plot(self.lrs, train, color="C1", ls=":", label="training loss")
        self.suggestion_line_ = None
        if self.suggestion is not None:
            style = {"color": "black", "linestyle": "--"}
            label = f"suggestion: {self.suggestion:.2g}"
            self.suggestion_line_ = ax.axvline(self.suggestion, label=label, **style)
        ax.set(xscale="log", xlabel=self.parameter, ylabel="loss", ylim=self._loss_limits())
        ax.legend()
        return self

    def _loss_limits(self) -> tuple[float, float]:
        """Return limits that show losses from the lowest to those at the start, and cut others."""
        both = np.stack([self.train_losses, self.valid_losses])
        low, high, start = np.nanmin(both), np.nanmax(both), np.nanmedian(both[..., 0])
        high = min(high, low + 2 * (start - low))
        margin = 0.05 * (high - low) or 1.0
        return low - margin, high + margin
