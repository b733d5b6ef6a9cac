"""Predict with many fitted models, of which several begin with the same transformers."""

import pickle
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from typing import Any

from sklearn.pipeline import Pipeline

from sktorch._shared_inputs import predict_together


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


def predictions_of(models: Sequence[Any], X: Any, method: str) -> Iterator[tuple[int, Any]]:
    """Yield what a method of each model predicts, and the model's position; in any order.

    Transformers that models share transform once, and nets behind them check their rows once.
    """
    sharing: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for position, model in enumerate(models):
        sharing[tuple(id(step) for _, step in _steps_before(model))].append(position)
    for positions in sharing.values():
        before = _steps_before(models[positions[0]])
        rows = Pipeline(before).transform(X) if before else X
        last = [_last(models[position]) for position in positions]
        for number, predicted in predict_together(last, rows, method):
            yield positions[number], predicted


def _steps_before(model: Any) -> list[tuple[str, Any]]:
    return model.steps[:-1] if isinstance(model, Pipeline) else []


def _last(model: Any) -> Any:
    return model.steps[-1][1] if isinstance(model, Pipeline) else model
