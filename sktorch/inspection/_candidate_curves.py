"""The learning curves of all candidates of a search, as a drawing."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sktorch.inspection._histories import label_of
from sktorch.inspection._pyplot import axes_or_new

# Values whose largest is so many times their smallest are drawn on a logarithmic scale.
WIDE = 10
BEST = {"color": "black", "linewidth": 2.0, "zorder": 3}
OTHER = {"color": "tab:blue", "linewidth": 0.6}


class CandidateCurvesDisplay:
    """The learning curves of all candidates of a search that halves, as a drawing.

    Each line is a candidate, the mean of its folds. A dot is where it left, dotted lines are the
    rungs, and the best candidate is black.

    Use :meth:`from_search` to make one. All parameters are stored as attributes.

    Parameters
    ----------
    curves : dict of ndarray of shape (n_epochs,)
        Values after each epoch by the number of the candidate; NaN where there is none.
    best : int, default=None
        Number of the best candidate.
    rungs : list of int, default=()
        Epochs after which candidates leave.
    metric : str, default="train_loss"
        What the values are, by its name in a history.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The Axes.
    figure_ : matplotlib Figure
        The figure.
    lines_ : dict of matplotlib Line2D
        The lines by the number of the candidate.
    rung_lines_ : list of matplotlib Line2D
        The lines of the rungs.

    See Also
    --------
    CandidatesDisplay : The scores of all candidates by their parameters.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sktorch import TorchClassifier
    >>> from sktorch.inspection import CandidateCurvesDisplay
    >>> from sktorch.model_selection import HalvingSearchCV
    >>> X, y = load_iris(return_X_y=True)
    >>> net = TorchClassifier(max_epochs=9, random_state=0)
    >>> search = HalvingSearchCV(net, {"lr": [1e-4, 1e-3, 1e-2]}, min_resources=3).fit(X, y)
    >>> display = CandidateCurvesDisplay.from_search(search)
    >>> {number: len(values) for number, values in display.curves.items()}
    {0: 3, 1: 3, 2: 9}
    """

    def __init__(
        self,
        *,
        curves: Mapping[int, np.ndarray],
        best: int | None = None,
        rungs: Sequence[int] = (),
        metric: str = "train_loss",
    ) -> None:
        self.curves = curves
        self.best = best
        self.rungs = rungs
        self.metric = metric

    @classmethod
    def from_search(cls, search: Any, *, metric: str = "train_loss", ax: Any = None) -> Self:
        """Draw the learning curves that a fitted search has kept.

        Parameters
        ----------
        search : HalvingSearchCV
            A fitted search.
        metric : str, default="train_loss"
            A column of ``search.learning_curves_``: a loss, a score, or the learning rate "lr".
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.

        Returns
        -------
        display : CandidateCurvesDisplay

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the search is not fitted.
        TypeError
            If the search keeps no learning curves.
        ValueError
            If the metric was not recorded.
        ImportError
            If matplotlib is missing.
        """
        check_is_fitted(search)
        if not hasattr(search, "learning_curves_"):
            raise TypeError(
                f"{type(search).__name__} keeps no learning curves of its candidates. Pass a "
                "fitted HalvingSearchCV, or draw its scores by CandidatesDisplay.from_search."
            )
        table = search.learning_curves_
        names = [name for name in table if name not in ("candidate", "split", "fit", "epoch")]
        if metric not in names:
            raise ValueError(f"metric={metric!r} was not recorded; expected one of {names}.")
        curves = {
            int(number): _mean_by_epoch(table, table["candidate"] == number, metric)
            for number in np.unique(table["candidate"])
        }
        best = getattr(search, "best_index_", None)
        display = cls(
            curves=curves,
            best=None if best is None else int(search.cv_results_["candidate"][best]),
            rungs=[*search.n_resources_],
            metric=metric,
        )
        return display.plot(ax=ax)

    def plot(self, ax: Any = None, *, line_kw: Mapping[str, Any] | None = None) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        line_kw : dict, default=None
            Arguments of matplotlib's ``plot`` for all curves but the best.

        Returns
        -------
        display : CandidateCurvesDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        self.ax_ = ax = axes_or_new(ax, figsize=(6.4, 4))
        self.figure_ = ax.figure
        self.rung_lines_ = [
            ax.axvline(n_epochs, color="grey", linestyle=":", linewidth=1)
            for n_epochs in self.rungs
        ]
        self.lines_ = {}
        for number, values in self.curves.items():
            is_best = number == self.best
            style = {**BEST, "label": "best candidate"} if is_best else {**OTHER, **(line_kw or {})}
            last = len(values) - 1
            epochs = np.arange(1, len(values) + 1)
            (self.lines_[number],) = ax.plot(epochs, values, marker=".", markevery=[last], **style)
        spread = np.concatenate([*self.curves.values()])
        if np.nanmin(spread) > 0 and np.nanmax(spread) > WIDE * np.nanmin(spread):
            ax.set_yscale("log")
        ax.set(xlabel="epoch", ylabel=f"{label_of(self.metric)}, mean of the folds")
        ax.xaxis.get_major_locator().set_params(integer=True)
        if self.best in self.lines_:
            ax.legend()
        return self


def _mean_by_epoch(table: Mapping[str, np.ndarray], rows: np.ndarray, metric: str) -> np.ndarray:
    """Return the mean over the fits that trained so long, for each epoch; NaN without any."""
    epochs, values = table["epoch"][rows].astype(int), table[metric][rows]
    is_known = ~np.isnan(values)
    n = int(epochs.max()) + 1
    counts = np.bincount(epochs[is_known], minlength=n)[1:]
    sums = np.bincount(epochs[is_known], weights=values[is_known], minlength=n)[1:]
    return np.divide(sums, counts, out=np.full(n - 1, np.nan), where=counts > 0)
