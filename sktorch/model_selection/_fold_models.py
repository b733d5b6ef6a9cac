"""The fitted models of a search, which scikit-learn's searches do not keep, from its scorer."""

from collections.abc import Callable
from typing import Any

from sktorch._rungs import path_of_task


class FoldModels:
    """The models of a rung by the number of their task."""

    def __init__(self) -> None:
        self._models: dict[int, Any] = {}
        self.test_indices: list[Any] = []  # the rows that each fold holds out

    def add(self, model: Any) -> None:
        """Keep a model that this thread's task has fitted."""
        self._models[path_of_task()[0]] = model

    def clear(self) -> None:
        """Forget the models of an earlier rung."""
        self._models.clear()

    def by_candidate(self, n_candidates: int) -> list[list[Any]]:
        """Return the models of each candidate on each fold, None where a fit has failed."""
        n_splits = len(self.test_indices)
        return [
            [self._models.get(candidate * n_splits + split) for split in range(n_splits)]
            for candidate in range(n_candidates)
        ]


class WatchedScorer:
    """A scorer that tells a function of each model that it scores."""

    def __init__(self, scorer: Callable[..., Any], tell: Callable[[Any], object]) -> None:
        self.scorer, self._tell = scorer, tell

    def __call__(self, model: Any, *data: Any, **parameters: Any) -> Any:
        """Score a model."""
        self._tell(model)
        return self.scorer(model, *data, **parameters)

    def __getattr__(self, name: str) -> Any:
        """Return what scikit-learn asks a scorer for, such as the metadata that it takes."""
        return getattr(self.scorer, name)
