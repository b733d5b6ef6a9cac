"""Predict with many fitted models, of which several begin with the same transformers."""

import pickle
from collections.abc import Iterable, Iterator
from copy import copy
from typing import Any

from sklearn.pipeline import Pipeline


def sharing_transformers(models: Iterable[Any]) -> list[Any]:
    """Return the models, with one object for fitted transformers that are equal.

    Pipelines whose steps before the last are equal share these; the given ones stay as they are.
    """
    known: dict[bytes, list] = {}
    return [_sharing(model, known) for model in models]


def _sharing(model: Any, known: dict[bytes, list]) -> Any:
    if not isinstance(model, Pipeline):
        return model
    *before, last = model.steps
    try:
        key = pickle.dumps(before)
    except Exception:  # What can't be pickled is equal to nothing.
        return model
    model = copy(model)
    model.steps = [*known.setdefault(key, before), last]
    return model


def predictions_of(models: Iterable[Any], X: Any, method: str) -> Iterator[Any]:
    """Yield what a method of each model predicts; transformers that they share transform once."""
    transformed: dict[tuple[int, ...], Any] = {}
    for model in models:
        rows = X
        if isinstance(model, Pipeline):
            *before, (_, model) = model.steps
            key = tuple(id(step) for _, step in before)
            if key not in transformed:
                transformed[key] = Pipeline(before).transform(X) if before else X
            rows = transformed[key]
        yield getattr(model, method)(rows)
