"""Which candidates make an ensemble, by what their models predict of unseen rows."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from sktorch._private.scikit_learn import rows_of
from sktorch.model_selection._greedy import greedy_weights
from sktorch.model_selection._member_predictions import sharing_transformers
from sktorch.model_selection._tasks import Task, scorer_loss


class Selection(NamedTuple):
    """The candidates of an ensemble, their weights and models, and scores of held-out rows."""

    candidates: np.ndarray
    weights: np.ndarray
    models: list[list[Any]]
    score: float
    best_candidate: int
    best_score: float


def complete_candidates(models: Sequence[Sequence[Any]]) -> list[int]:
    """Return the candidates with a model of each fold; raise if there are none."""
    complete = [c for c, own in enumerate(models) if all(model is not None for model in own)]
    if not complete:
        raise ValueError(
            f"Each of {len(models)} candidates has failed on a fold, so there is nothing to make "
            "an ensemble of. error_score='raise' of a search shows why."
        )
    return complete


def select(
    task: Task,
    models: Sequence[Sequence[Any]],
    test_indices: Sequence[np.ndarray],
    X: Any,
    y: np.ndarray,
    *,
    weights: np.ndarray | None = None,
    scorer: Callable[..., float] | None = None,
    sample_weight: Any = None,
    max_members: int = 50,
) -> Selection:
    """Weigh candidates, greedily where there are no weights, and return those that count.

    ``models[c][k]`` is the fitted model of candidate c on fold k, None if it failed; a candidate
    that failed on a fold is left out.
    """
    complete = complete_candidates(models)
    # Candidates of a fold have seen the same rows, so that most begin with equal transformers.
    by_fold = zip(*(models[c] for c in complete), strict=True)
    folds = [sharing_transformers(of_fold) for of_fold in by_fold]
    predictions = [
        in_order(task.predictions(of_fold, rows_of(X, rows)))
        for of_fold, rows in zip(folds, test_indices, strict=True)
    ]
    averages, rows = mean_of_folds(predictions, test_indices, len(y))
    X, y = rows_of(X, rows), y[rows]
    if sample_weight is not None:
        sample_weight = np.asarray(sample_weight)[rows]
    if scorer is None:
        values, loss = task.values_and_loss(averages, y, sample_weight)
    else:
        values, loss = averages, scorer_loss(task, scorer, X, y, sample_weight)
    if weights is None:
        weights = greedy_weights(values, loss, max_members)
    else:
        weights = weights[complete] / weights[complete].sum()
    chosen, losses = np.flatnonzero(weights), loss(values)
    best = int(np.nanargmin(losses))
    ensemble = np.tensordot(weights[chosen], values[chosen], axes=1)
    return Selection(
        candidates=np.array(complete)[chosen],
        weights=weights[chosen],
        models=[[of_fold[c] for of_fold in folds] for c in chosen],
        score=-float(loss(ensemble[np.newaxis])[0]),
        best_candidate=complete[best],
        best_score=-float(losses[best]),
    )


def in_order(predictions: Iterable[tuple[int, np.ndarray]]) -> np.ndarray:
    """Return predictions that come with their positions as one array."""
    by_position = dict(predictions)
    return np.stack([by_position[position] for position in range(len(by_position))])


def mean_of_folds(
    predictions: Sequence[np.ndarray], test_indices: Sequence[np.ndarray], n_rows: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return predictions (n_candidates, n_predicted_rows, ...), and the rows that have some.

    Of each fold there are predictions (n_candidates, n_rows_of_fold, ...). A row that several folds
    hold out is predicted by their mean.
    """
    sums = np.zeros((len(predictions[0]), n_rows, *predictions[0].shape[2:]))
    counts = np.zeros(n_rows)
    for predicted, rows in zip(predictions, test_indices, strict=True):
        sums[:, rows] += predicted
        counts[rows] += 1
    rows = np.flatnonzero(counts)
    return sums[:, rows] / counts[rows].reshape(-1, *[1] * (sums.ndim - 2)), rows
