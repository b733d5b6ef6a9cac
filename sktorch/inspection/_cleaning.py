"""What a cleaner made of each column, as a drawing."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sktorch.inspection._pyplot import axes_or_new, shortened

COLORS = {"number": "tab:blue", "category": "tab:orange", "date": "tab:green"}
MISSING, DROPPED = "lightgrey", "dropped"
LONGEST = 40  # characters of a name that are shown


class CleaningDisplay:
    """What a cleaner made of each column of a raw table, as a drawing.

    Each bar is a column, in the colour of its kind; grey is the share of missing values. Beside it
    stands what became of it; dropped columns are pale.

    Use :meth:`from_estimator` to make one. All parameters are stored as attributes.

    Parameters
    ----------
    report : list of dict
        What ``TableCleaner.report()`` returns: of each dict "column", "kind", "missing" and
        "becomes" are drawn.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The Axes.
    figure_ : matplotlib Figure
        The figure.
    bars_ : matplotlib BarContainer
        The shares of known values.
    missing_bars_ : matplotlib BarContainer
        The shares of missing values.
    texts_ : list of matplotlib Text
        What became of the columns.

    See Also
    --------
    sktorch.preprocessing.TableCleaner : Cleans a raw table.

    Examples
    --------
    >>> import pandas as pd
    >>> from sktorch.inspection import CleaningDisplay
    >>> from sktorch.preprocessing import TableCleaner
    >>> X = pd.DataFrame({"age": ["31", "?", "54"], "city": ["Kyiv", "Oslo", "Oslo"]})
    >>> display = CleaningDisplay.from_estimator(TableCleaner().fit(X))
    >>> [text.get_text() for text in display.texts_]
    ['scaled to [0, 1], indicator of missing', '2 columns of 0 and 1']
    """

    def __init__(self, *, report: Sequence[Mapping[str, Any]]) -> None:
        self.report = report

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> Self:
        """Draw what a fitted cleaner found and did.

        Parameters
        ----------
        estimator : TableCleaner, TabularClassifier, TabularRegressor or Pipeline
            A fitted cleaner, or what has one inside.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.

        Returns
        -------
        display : CleaningDisplay

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError
            If there is no cleaner inside.
        ImportError
            If matplotlib is missing.
        """
        check_is_fitted(estimator)
        steps = [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else []
        for step in [estimator, *steps]:
            cleaner = getattr(step, "cleaner_", step)
            if hasattr(cleaner, "report"):
                return cls(report=cleaner.report()).plot(ax=ax)
        raise TypeError(
            f"{type(estimator).__name__} has no TableCleaner inside. Pass a fitted TableCleaner, "
            "TabularClassifier or TabularRegressor, or a pipeline with one."
        )

    def plot(self, ax: Any = None) -> Self:
        """Draw the columns.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.

        Returns
        -------
        display : CleaningDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        rows = [*self.report]
        places, missing = [*range(len(rows))], [row["missing"] for row in rows]
        known = [1 - share for share in missing]
        self.ax_ = ax = axes_or_new(ax, figsize=(9, 0.28 * len(rows) + 1.2))
        self.figure_ = ax.figure
        colors = [COLORS.get(row["kind"], "tab:grey") for row in rows]
        self.bars_ = ax.barh(places, known, color=colors)
        self.missing_bars_ = ax.barh(places, missing, left=known, color=MISSING)
        self.texts_ = [
            ax.text(1.02, place, row["becomes"], va="center", fontsize="small")
            for place, row in zip(places, rows, strict=True)
        ]
        for bar, row in zip(self.bars_, rows, strict=True):
            bar.set_alpha(0.3 if row["becomes"] == DROPPED else 1.0)
        ax.set_yticks(places, [shortened(row["column"], LONGEST) for row in rows])
        ax.set(xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5), xlabel="share of the rows")
        ax.spines[["top", "right"]].set_visible(False)
        self._add_legend(rows)
        return self

    def _add_legend(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Name the colours above the bars."""
        handles: dict[str, Any] = {}
        for bar, row in zip(self.bars_, rows, strict=True):
            if row["becomes"] != DROPPED:
                handles.setdefault(row["kind"], bar)
        for bar, row in zip(self.missing_bars_, rows, strict=True):
            if row["missing"]:
                handles.setdefault("missing", bar)
        style = {"loc": "lower left", "bbox_to_anchor": (0, 1), "frameon": False}
        self.ax_.legend(handles.values(), handles.keys(), ncols=4, **style)
