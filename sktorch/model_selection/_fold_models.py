"""The fitted models of a search, which scikit-learn's searches do not keep, from its scorer."""

from collections.abc import Callable, Mapping
from typing import Any

from sktorch._rungs import leave


def by_candidate(models: Mapping[int, Any], n_candidates: int, n_splits: int) -> list[list[Any]]:
    """Return the models of each candidate on each fold, from those of tasks; None if one failed."""
    return [
        [models.get(candidate * n_splits + split) for split in range(n_splits)]
        for candidate in range(n_candidates)
    ]


class ModelLeavingScorer:
    """A scorer that leaves each model that it scores to the search."""

    def __init__(self, scorer: Callable[..., Any]) -> None:
        self.scorer = scorer

    def __call__(self, model: Any, *data: Any, **parameters: Any) -> Any:
        """Score a model."""
        leave(model)
        return self.scorer(model, *data, **parameters)

    def __getattr__(self, name: str) -> Any:
        """Return what scikit-learn asks a scorer for, such as the metadata that it takes."""
        if name == "scorer":  # not yet there, as it is unpickled
            raise AttributeError(name)
        return getattr(self.scorer, name)
