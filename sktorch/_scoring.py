"""Scores of an epoch: scikit-learn's scorers on outputs that the module has computed already."""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from sklearn.metrics import get_scorer, r2_score

from sktorch._errors import errors_name
from sktorch.data.structure import Outputs, floating_dtype, moved, n_rows_of
from sktorch.targets.arrays import as_numpy, as_target_array

# ``scorer(estimator, X, y, sample_weight)``; higher is better.
Scorer = Callable[[Any, Any, np.ndarray, np.ndarray | None], float]
PARTS = ("train", "valid")


@dataclass(frozen=True)
class Evaluation:
    """The part of the data to evaluate after an epoch, and the scorers to evaluate it with.

    ``scorers`` maps names in the history to scorers. They see a copy of ``estimator`` that
    predicts from the outputs given to `scores`. ``targets`` returns the targets as the user gave
    them, one row for each output.
    """

    part: str
    batches: Iterable
    scorers: dict[str, Scorer]
    estimator: Any
    net: Any
    targets: Callable[[], np.ndarray]
    weights: np.ndarray | None

    def scores(self, outputs: Outputs) -> dict[str, float]:
        """Return the scores of these outputs by name."""
        y = self.targets()
        n_rows = n_rows_of(outputs)
        if n_rows != len(y):
            raise ValueError(
                f"The {len(y)} rows to score came with {n_rows} outputs: the dataset does "
                "not give the same samples in every pass."
            )
        outputs = moved(outputs, "cpu", floating_dtype(self.net.example_output_))
        X = np.empty((len(y), 0))  # A placeholder: the outputs of these rows are known.

        def outputs_of(given: Any) -> tuple[np.ndarray, Outputs]:
            if given is not X:
                raise ValueError(
                    "A scorer asks for predictions of other rows than those it was given. In "
                    "scoring it may hand X, which is empty, to the estimator's methods as it is."
                )
            return X, outputs

        judged = copy.copy(self.estimator)
        judged.net_, judged._outputs = self.net, outputs_of
        with errors_name("scoring"):
            return {
                name: float(score(judged, X, y, self.weights))
                for name, score in self.scorers.items()
            }


def scorers_by_part(scoring: Any, has_valid: bool) -> dict[str, dict[str, Scorer]]:
    """Return ``{"train": {"train_f1": scorer}, "valid": {…}}`` for the parameter ``scoring``.

    A name that begins with ``train_`` or ``valid_`` chooses its part. Any other scorer is for the
    validation rows, or for the training rows if there are no validation rows.
    """
    by_part: dict[str, dict[str, Scorer]] = {part: {} for part in PARTS}
    for name, scorer in _named(scoring).items():
        part, rest = _part_and_rest(name)
        part = part or ("valid" if has_valid else "train")
        if part == "valid" and not has_valid:
            raise ValueError(
                f"scoring={name!r} needs rows to validate on, and none are held out. Set "
                "early_stopping=True or pass validation, or score the training rows with "
                f"'train_{rest}'."
            )
        if rest == "loss" or not callable(scorer):
            raise ValueError(
                f"scoring holds {name!r}: {scorer!r}; expected functions of (estimator, X, y), or "
                "names of scikit-learn's scorers, under other names than 'loss', which is there "
                "in any case. Change scoring."
            )
        by_part[part][f"{part}_{rest}"] = partial(weighted_score, scorer)
    return by_part


def _part_and_rest(name: str) -> tuple[str | None, str]:
    """Split "train_accuracy" into ("train", "accuracy"), and "accuracy" into (None, "accuracy")."""
    part, _, rest = name.partition("_")
    return (part, rest) if part in PARTS and rest else (None, name)


def _named(scoring: Any) -> dict[str, Any]:
    """Return scorers by name."""
    if isinstance(scoring, dict):
        return {name: get_scorer(s) if isinstance(s, str) else s for name, s in scoring.items()}
    if scoring is None:
        return {}
    scorers: dict[str, Any] = {}
    for scorer in scoring if isinstance(scoring, list | tuple) else [scoring]:
        name = scorer if isinstance(scorer, str) else getattr(scorer, "__name__", "score")
        if name in scorers:
            raise ValueError(
                f"scoring={scoring!r} holds {name!r} twice. Pass a dict of names to scorers."
            )
        is_name = isinstance(scorer, str)
        scorers[name] = get_scorer(_part_and_rest(name)[1]) if is_name else scorer
    return scorers


def weighted_score(
    scorer: Any, estimator: Any, X: Any, y: np.ndarray, weights: np.ndarray | None
) -> float:
    """Score with weights if the scorer accepts them, else without."""
    if weights is None:
        return scorer(estimator, X, y)
    try:
        return scorer(estimator, X, y, sample_weight=weights)
    except (TypeError, ValueError) as error:  # A metric without weights, such as roc_auc_ovo.
        if "sample_weight" not in str(error):
            raise
        return scorer(estimator, X, y)


def accuracy(estimator: Any, X: Any, y: np.ndarray, weights: np.ndarray | None) -> float:
    """Return the share of the rows, or of the entries of rows, that are right."""
    own = estimator._own_score(X, y, None)
    if own is not None:
        return own
    return estimator.codec_.accuracy(y, estimator.predict(X), weights)


def comparable(y: Any, predicted: Any) -> bool:
    """Say whether both are plain one-dimensional arrays of integers or bools of one length."""
    plain = all(type(a) is np.ndarray and a.dtype.kind in "biu" for a in (y, predicted))
    return plain and y.ndim == 1 and y.shape == predicted.shape


def r2(estimator: Any, X: Any, y: np.ndarray, weights: np.ndarray | None) -> float:
    """Return the coefficient of determination."""
    own = estimator._own_score(X, y, None)
    return r_squared(y, estimator.predict(X), weights) if own is None else own


def r_squared(y: Any, predicted: Any, weights: Any) -> float:
    """Return the mean R² of all columns, or of all entries of arrays of more dimensions."""
    if np.ndim(predicted) > 2:
        y, predicted = as_target_array(y), as_numpy(predicted)
        if y.shape != predicted.shape:
            raise ValueError(
                f"y has shape {y.shape}, but predict returns {predicted.shape}. Change y."
            )
        y, predicted = y.reshape(len(y), -1), predicted.reshape(len(y), -1)
    return r2_score(y, predicted, sample_weight=weights)
