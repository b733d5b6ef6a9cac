"""The private convention between scikit-learn's searches and joblib: what a task is of."""

from typing import Any, NamedTuple


class SearchTask(NamedTuple):
    """One fit of a search: a candidate's number and a fold's, how many there are, who is fitted."""

    candidate: int
    fold: int
    n_candidates: int
    n_folds: int
    estimator: Any


def search_task(task: Any) -> SearchTask | None:
    """Return what a task that joblib submits is of; None if it is none of a search.

    joblib hands over a batch with `items`, and a search makes batches of one call,
    `_fit_and_score(estimator, ..., candidate_progress=(number, of), split_progress=(number, of))`,
    as no other function does. Without these names nothing is pruned, and progress counts the tasks
    submitted so far.
    """
    items = getattr(task, "items", ())
    if not isinstance(items, list) or len(items) != 1:
        return None
    _, arguments, keywords = items[0]
    try:
        candidate, n_candidates = keywords["candidate_progress"]
        fold, n_folds = keywords["split_progress"]
        return SearchTask(candidate, fold, n_candidates, n_folds, arguments[0])
    except (KeyError, TypeError, ValueError, IndexError):
        return None
