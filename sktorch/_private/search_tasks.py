"""The private convention between scikit-learn's searches and joblib: what a task is of."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple


class SearchTask(NamedTuple):
    """One fit of a search: a candidate's number and a fold's, how many there are, who is fitted.

    `parameters` are those of the candidate, which the estimator does not have yet.
    """

    candidate: int
    fold: int
    n_candidates: int
    n_folds: int
    estimator: Any
    parameters: Mapping[str, Any] = MappingProxyType({})


def search_task(task: Any) -> SearchTask | None:
    """Return what a task that joblib submits is of; None if it is none of a search.

    joblib hands over a batch with `items`, and a search makes batches of one call,
    `_fit_and_score(estimator, ..., parameters={...}, candidate_progress=(number, of),
    split_progress=(number, of))`, as no other function does. Without these names nothing is pruned,
    chunks of fits for other processes are cut without regard to what can be stacked, and progress
    counts the tasks submitted so far.
    """
    items = getattr(task, "items", ())
    if not isinstance(items, list) or len(items) != 1:
        return None
    _, arguments, keywords = items[0]
    try:
        candidate, n_candidates = keywords["candidate_progress"]
        fold, n_folds = keywords["split_progress"]
        parameters = keywords.get("parameters") or {}
        return SearchTask(candidate, fold, n_candidates, n_folds, arguments[0], parameters)
    except (KeyError, TypeError, ValueError, IndexError):
        return None
