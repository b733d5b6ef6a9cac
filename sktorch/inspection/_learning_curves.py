"""Losses and scores by epoch, as a drawing."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any, Self

import numpy as np

from sktorch.inspection._histories import (
    LOSSES,
    History,
    best_epoch_of,
    history_of,
    label_of,
    trained,
)
from sktorch.inspection._pyplot import pyplot

PANELS = ("loss", "score", "lr")
FEW_EPOCHS = 20  # so many are drawn with a dot each: a line alone does not show a single one
STYLES = ("-", "-.", ":")  # of several lines of one colour


class LearningCurveDisplay:
    """Training and validation losses and scores by epoch, as a drawing.

    Losses, scores and, with a schedule, learning rates have Axes of their own. With early stopping
    a dotted line marks the epoch whose weights were kept. Several fits are drawn over each other,
    each in a colour of its own, training dashed.

    Use :meth:`from_estimator` to make one. All parameters are stored as attributes.

    Parameters
    ----------
    histories : list of dict
        For each fit an ndarray of shape (n_epochs,) by name: "train_loss", "valid_loss",
        "valid_acc", or whatever else ``history_`` holds, "lr" for the learning rate. NaN is not
        drawn.
    best_epochs : list of int or None, default=None
        For each fit the epoch to mark, counted from 1; None for none.
    names : list of str, default=None
        For each fit a name for the legend. None names the curves of a single fit.

    Attributes
    ----------
    axes_ : dict of matplotlib Axes
        The Axes by what they show: "loss", "score", "lr".
    figure_ : matplotlib Figure
        The figure.
    lines_ : list of dict of matplotlib Line2D
        For each fit its lines, by their names in the history.
    best_lines_ : list of matplotlib Line2D
        The lines that mark best epochs.

    See Also
    --------
    CandidateCurvesDisplay : The learning curves of all candidates of a search.
    sklearn.model_selection.LearningCurveDisplay : Scores by the number of training rows.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sktorch import TorchClassifier
    >>> from sktorch.inspection import LearningCurveDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> adamw = TorchClassifier(early_stopping=True, random_state=0).fit(X, y)
    >>> sgd = TorchClassifier(optimizer="sgd", early_stopping=True, random_state=0).fit(X, y)
    >>> display = LearningCurveDisplay.from_estimator(adamw)
    >>> sorted(display.lines_[0])
    ['train_loss', 'valid_acc', 'valid_loss']
    >>> LearningCurveDisplay.from_estimator({"AdamW": adamw, "SGD": sgd})
    <...>
    """

    def __init__(
        self,
        *,
        histories: Sequence[History],
        best_epochs: Sequence[int | None] | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        self.histories = histories
        self.best_epochs = best_epochs
        self.names = names

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, name: str | None = None, ax: Any = None, line_kw: Any = None
    ) -> Self:
        """Draw what a fitted estimator, or several, recorded of each epoch.

        Parameters
        ----------
        estimator : estimator, list of estimators, or dict of them by name
            Fitted ones: estimators of sktorch, pipelines that end in one, searches over one with
            ``refit=True``.
        name : str, default=None
            A name for the legend, for drawing a further fit into the same Axes. Keys of a dict
            are names; those of a list are "fit 1", "fit 2", ...
        ax : matplotlib Axes, array of them, or dict of them, default=None
            As in :meth:`plot`.
        line_kw : dict, default=None
            As in :meth:`plot`.

        Returns
        -------
        display : LearningCurveDisplay

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If an estimator is not fitted.
        TypeError
            If an estimator trains no epochs.
        ValueError
            If an estimator was fitted with ``max_epochs=0``.
        ImportError
            If matplotlib is missing.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sktorch import TorchClassifier
        >>> from sktorch.inspection import LearningCurveDisplay
        >>> X, y = load_iris(return_X_y=True)
        >>> fast = TorchClassifier(lr=0.01, max_epochs=30, random_state=0).fit(X, y)
        >>> slow = TorchClassifier(lr=0.001, max_epochs=30, random_state=0).fit(X, y)
        >>> display = LearningCurveDisplay.from_estimator(fast, name="lr=0.01")
        >>> LearningCurveDisplay.from_estimator(slow, name="lr=0.001", ax=display.axes_)
        <...>
        """
        if isinstance(estimator, list | tuple):
            estimator = {f"fit {k}": fitted for k, fitted in enumerate(estimator, start=1)}
        names = None if name is None else [name]
        fits = [estimator]
        if isinstance(estimator, Mapping):
            names, fits = [*map(str, estimator)], [*estimator.values()]
        fits = [*map(trained, fits)]
        for fitted in fits:
            if not len(fitted.history_):
                raise ValueError(
                    f"{type(fitted).__name__} was fitted with max_epochs=0, so there is no epoch "
                    "to draw. Raise max_epochs."
                )
        display = cls(
            histories=[history_of(fitted.history_) for fitted in fits],
            best_epochs=[*map(best_epoch_of, fits)],
            names=names,
        )
        return display.plot(ax=ax, line_kw=line_kw)

    def plot(self, ax: Any = None, *, line_kw: Any = None) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, array of them, or dict of them, default=None
            Where to draw: the losses, or losses, scores and learning rates as far as there are
            any, in this order; or what a dict names, which is the ``axes_`` of another display or
            ``plt.subplot_mosaic([["loss", "score", "lr"]])[1]``. What has no Axes is left out.
            None makes a new figure.
        line_kw : dict, default=None
            Arguments of matplotlib's ``plot`` for all curves.

        Returns
        -------
        display : LearningCurveDisplay
            The display itself.

        Raises
        ------
        ValueError
            If ``ax`` has other keys, or there is nothing to draw.
        ImportError
            If matplotlib is missing.
        """
        plt, panels = pyplot(), self._panels()
        if not panels:
            raise ValueError("histories hold no losses, scores or learning rates to draw.")
        if ax is None:
            size = 4.8 * len(panels), 3.6
            _, ax = plt.subplot_mosaic([panels], figsize=size, layout="constrained")
        is_named = isinstance(ax, Mapping)
        self.axes_ = ax if is_named else dict(zip(panels, np.ravel(ax), strict=False))
        if not self.axes_ or self.axes_.keys() - PANELS:
            raise ValueError(f"ax has the keys {[*self.axes_]}; expected some of {[*PANELS]}.")
        self.figure_ = next(iter(self.axes_.values())).figure
        self.lines_: list[dict[str, Any]] = []
        self.best_lines_: list[Any] = []
        for number in range(len(self.histories)):
            self._draw_fit(number, line_kw or {})
        self._describe()
        return self

    def _panels(self) -> list[str]:
        """Return the panels that there is something for."""
        found = {panel_of(name) for history in self.histories for name in history}
        return [panel for panel in PANELS if panel in found]

    def _draw_fit(self, number: int, line_kw: dict[str, Any]) -> None:
        """Draw the curves of a fit; in one colour, the next of the Axes, if the fit has a name."""
        history = self.histories[number]
        name = self.names[number] if self.names else None
        lines: dict[str, Any] = {}
        color: dict[str, Any] = {}
        for key, style in _styles(history, name).items():
            if panel_of(key) not in self.axes_:
                continue
            values = history[key]
            marker = "." if len(values) <= FEW_EPOCHS else None
            style = {"marker": marker, **color, **style, **line_kw}
            ax = self.axes_[panel_of(key)]
            (lines[key],) = ax.plot(np.arange(1, len(values) + 1), values, **style)
            if name is not None:
                color["color"] = lines[key].get_color()
        self.lines_.append(lines)
        panels = {panel_of(key) for key in lines} - {"lr"}
        self._mark_best(number, color.get("color", "grey"), panels)

    def _mark_best(self, number: int, color: Any, panels: set[str]) -> None:
        best = self.best_epochs[number] if self.best_epochs else None
        if best is None:
            return
        label = "_" if self.names else f"best epoch: {best}"
        for panel in sorted(panels):
            style = {"color": color, "linestyle": ":", "linewidth": 1.2, "label": label}
            self.best_lines_.append(self.axes_[panel].axvline(best, **style))

    def _describe(self) -> None:
        """Write what the Axes show, and the legends."""
        names = {name for lines in self.lines_ for name in lines}
        for panel, ax in self.axes_.items():
            own = sorted(name for name in names if panel_of(name) == panel)
            if not own:
                continue
            label = label_of(own[0]) if len(own) == 1 else panel
            if self.names and any(map(_is_train, own)) and len(own) > 1:
                label += " (training dashed)"
            ax.set(xlabel="epoch", ylabel=ax.get_ylabel() or label)
            ax.xaxis.get_major_locator().set_params(integer=True)
            if panel != "lr" and (len(ax.get_legend_handles_labels()[0]) > 1 or self.names):
                ax.legend()


def panel_of(name: str) -> str:
    """Return the panel that a column of a history is drawn in."""
    return "loss" if name in LOSSES else "lr" if name == "lr" else "score"


def _styles(history: History, name: str | None) -> dict[str, dict[str, Any]]:
    """Return how to draw each curve of a fit; the first of a panel bears the name of the fit."""
    if name is None:
        return {key: {"label": label_of(key)} for key in history}
    styles = {}
    for panel in PANELS:
        keys = [key for key in history if panel_of(key) == panel]
        solid = [key for key in keys if not _is_train(key)] or keys
        kinds = dict(zip(solid, cycle(STYLES), strict=False))
        kinds |= {key: "--" for key in keys if key not in solid}
        for key, linestyle in kinds.items():
            styles[key] = {"linestyle": linestyle, "label": name if key == solid[0] else "_"}
    return styles


def _is_train(name: str) -> bool:
    return name.startswith("train_")
