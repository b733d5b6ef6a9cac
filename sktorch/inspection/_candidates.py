"""The scores of a search's candidates by their parameters, as a drawing."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sktorch.inspection._pyplot import pyplot, shortened

WIDE = 10  # numbers that differ by this factor or more are drawn on a logarithmic scale
LONG, LONGEST = 8, 20  # characters of a value: above which it is written aslant, and cut
PANELS_IN_A_ROW = 3


class CandidatesDisplay:
    """The scores of a search's candidates by their parameters, as a drawing.

    Each parameter that was searched has Axes of its own, on which every candidate is a dot at its
    value, with the standard deviation over the folds as a bar. A ring marks the best candidate.
    Of a search that halves, each candidate has the score of the last rung that it reached, in that
    rung's colour.

    Use :meth:`from_search` to make one. All parameters are stored as attributes.

    Parameters
    ----------
    parameters : dict of list
        Each candidate's value by the name of the parameter.
    scores : ndarray of shape (n_candidates,)
        Mean score over the folds; NaN is not drawn.
    deviations : ndarray of shape (n_candidates,), default=None
        Standard deviation over the folds.
    best : int, default=None
        Position of the best candidate.
    rungs : list of str, default=None
        A name for each candidate's rung.
    score_name : str, default="score"
        What the scores are.

    Attributes
    ----------
    axes_ : dict of matplotlib Axes
        The Axes by the name of the parameter.
    figure_ : matplotlib Figure
        The figure.
    dots_ : dict of list of matplotlib ErrorbarContainer
        The dots by the name of the parameter, one entry for each rung.

    See Also
    --------
    CandidateCurvesDisplay : The learning curves of all candidates.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sktorch import TorchClassifier
    >>> from sktorch.inspection import CandidatesDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> grid = {"lr": [1e-3, 1e-2], "optimizer": ["adamw", "sgd"]}
    >>> net = TorchClassifier(max_epochs=10, random_state=0)
    >>> display = CandidatesDisplay.from_search(GridSearchCV(net, grid, cv=2).fit(X, y))
    >>> display.parameters["optimizer"]
    ['adamw', 'sgd', 'adamw', 'sgd']
    """

    def __init__(
        self,
        *,
        parameters: Mapping[str, Sequence[Any]],
        scores: np.ndarray,
        deviations: np.ndarray | None = None,
        best: int | None = None,
        rungs: Sequence[str] | None = None,
        score_name: str = "score",
    ) -> None:
        self.parameters = parameters
        self.scores = scores
        self.deviations = deviations
        self.best = best
        self.rungs = rungs
        self.score_name = score_name

    @classmethod
    def from_search(cls, search: Any, *, metric: str | None = None, ax: Any = None) -> Self:
        """Draw the candidates of a fitted search.

        Parameters
        ----------
        search : search of scikit-learn or of sktorch
            A fitted search: what has ``cv_results_``.
        metric : str, default=None
            The name of one of several metrics. None is the one that ``refit`` names.
        ax : matplotlib Axes, array of them, or dict of them by parameter, default=None
            As in :meth:`plot`.

        Returns
        -------
        display : CandidatesDisplay

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the search is not fitted.
        TypeError
            If it is no search.
        ValueError
            If the metric was not computed, or no parameter has several values.
        ImportError
            If matplotlib is missing.
        """
        check_is_fitted(search)
        if not hasattr(search, "cv_results_"):
            raise TypeError(
                f"{type(search).__name__} has no cv_results_. Pass a fitted search, such as "
                "GridSearchCV or HalvingSearchCV."
            )
        results = search.cv_results_
        name = metric or (search.refit if isinstance(search.refit, str) else "score")
        name = name if f"mean_test_{name}" in results or metric else "score"
        if f"mean_test_{name}" not in results:
            known = [key.removeprefix("mean_test_") for key in results if "mean_test_" in key]
            problem = (
                "No metric is named" if metric is None else f"metric={metric!r} was not computed"
            )
            raise ValueError(f"{problem}; pass metric= with one of {known}.")
        rows = _last_rows(results)
        params = [results["params"][row] for row in rows]
        best = getattr(search, "best_index_", None)
        rungs = None
        if "n_resources" in results:
            unit = getattr(search, "resource", "epochs").replace("_", " ")
            rungs = [f"{results['n_resources'][row]} {unit}" for row in rows]
        display = cls(
            parameters=_searched(params),
            scores=np.asarray(results[f"mean_test_{name}"])[rows],
            deviations=np.asarray(results[f"std_test_{name}"])[rows],
            best=rows.index(best) if best in rows else None,
            rungs=rungs,
            score_name=name.replace("_", " "),
        )
        return display.plot(ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the candidates.

        Parameters
        ----------
        ax : matplotlib Axes, array of them, or dict of them by parameter, default=None
            Where to draw, Axes for each parameter; a new figure by default.

        Returns
        -------
        display : CandidatesDisplay
            The display itself.

        Raises
        ------
        ValueError
            If there is no parameter to draw, or ``ax`` has no Axes for one.
        ImportError
            If matplotlib is missing.
        """
        names = [*self.parameters]
        if not names:
            raise ValueError("No parameter has several values, so there is nothing to compare.")
        self.axes_ = self._new_axes() if ax is None else ax
        if not isinstance(self.axes_, Mapping):
            self.axes_ = dict(zip(names, np.ravel(ax), strict=False))
        missing = [name for name in names if name not in self.axes_]
        if missing:
            raise ValueError(f"ax has no Axes for {missing}. Pass Axes for each of {names}.")
        self.figure_ = self.axes_[names[0]].figure
        self.dots_ = {name: self._draw(self.axes_[name], name) for name in names}
        if ax is None:  # All in a row share the axis of the scores.
            for number, name in enumerate(names):
                if number % PANELS_IN_A_ROW:
                    self.axes_[name].set_ylabel("")
        if self.best is not None or self.rungs:
            self.axes_[names[0]].legend()
        return self

    def _new_axes(self) -> dict[str, Any]:
        names = [*self.parameters]
        n_columns = min(len(names), PANELS_IN_A_ROW)
        n_rows = -(-len(names) // n_columns)
        size = 4.4 * n_columns, 3.6 * n_rows
        _, grid = pyplot().subplots(
            n_rows, n_columns, figsize=size, sharey=True, squeeze=False, layout="constrained"
        )
        for ax in grid.flat[len(names) :]:
            ax.remove()
        return dict(zip(names, grid.flat, strict=False))

    def _draw(self, ax: Any, name: str) -> list[Any]:
        """Draw the candidates over a parameter; return the dots of each rung."""
        places, labels = _places(self.parameters[name])
        scores = np.asarray(self.scores, float)
        deviations = np.zeros(len(scores)) if self.deviations is None else self.deviations
        rungs = np.array(self.rungs or ["_"] * len(scores))
        dots = []
        for rung in dict.fromkeys(rungs.tolist()):
            rows = (rungs == rung) & ~np.isnan(places) & ~np.isnan(scores)
            numbers = places[rows], scores[rows], np.asarray(deviations)[rows]
            style = {"fmt": "o", "markersize": 4, "elinewidth": 0.6, "alpha": 0.8}
            dots.append(ax.errorbar(*numbers, label=rung, **style))
        if self.best is not None:
            ring = {"marker": "o", "markersize": 11, "fillstyle": "none", "color": "black"}
            best = [places[self.best]], [scores[self.best]]
            ax.plot(*best, linestyle="none", label="best candidate", **ring)
        ax.set(xlabel=name, ylabel=f"mean test {self.score_name}")
        if labels is None:
            ax.set_xscale(**_scale(places))
        else:
            is_long = max(map(len, labels)) > LONG
            style = {"rotation": 30, "ha": "right"} if is_long else {}
            ax.set_xticks(range(len(labels)), labels, **style)
            ax.set_xlim(-0.5, len(labels) - 0.5)
        return dots


def _last_rows(results: dict[str, Any]) -> list[int]:
    """Return the last row of each candidate: a search that halves has one for each rung."""
    params = results["params"]
    # scikit-learn's searches that halve keep the very same dict in all rows of a candidate.
    candidates = results.get("candidate", [*map(id, params)])
    return sorted({candidate: row for row, candidate in enumerate(candidates)}.values())


def _searched(params: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the values of the parameters that have several; NaN for a candidate without one."""
    names = dict.fromkeys(name for candidate in params for name in candidate)
    values = {name: [candidate.get(name, np.nan) for candidate in params] for name in names}
    return {name: found for name, found in values.items() if len({*map(_key, found)}) > 1}


def _key(value: Any) -> Any:
    """Return what tells a value from others: two losses may have one repr and other settings."""
    try:
        hash(value)
    except TypeError:
        return repr(value)
    return type(value), value


def _places(values: Sequence[Any]) -> tuple[np.ndarray, list[str] | None]:
    """Return where values are on an axis: numbers there, others side by side, with labels."""
    if all(isinstance(value, Real) and not isinstance(value, bool) for value in values):
        return np.array(values, float), None
    known = {_key(value): value for value in values if not _is_missing(value)}
    place = {key: number for number, key in enumerate(known)}
    labels = [*map(_label, known.values())]
    for number, label in enumerate(labels):
        n_before = labels[:number].count(label)
        labels[number] = f"{label} ({n_before + 1})" if n_before else label
    return np.array([place.get(_key(value), np.nan) for value in values], float), labels


def _is_missing(value: Any) -> bool:
    return isinstance(value, float) and np.isnan(value)


def _label(value: Any) -> str:
    return shortened(getattr(value, "__name__", value), LONGEST)


def _scale(numbers: np.ndarray) -> dict[str, Any]:
    """Return arguments of ``set_xscale`` that keep numbers of several magnitudes apart."""
    numbers = numbers[np.isfinite(numbers)]
    positive = numbers[numbers > 0]
    if not len(positive) or positive.max() < WIDE * positive.min() or (numbers < 0).any():
        return {"value": "linear"}
    if len(positive) == len(numbers):
        return {"value": "log"}
    return {"value": "symlog", "linthresh": positive.min()}
