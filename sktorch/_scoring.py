"""Scores of an epoch: scikit-learn's scorers on outputs that are already there."""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
from sklearn.metrics import get_scorer, r2_score

PARTS = ("train", "valid")


@dataclass(frozen=True)
class Evaluation:
    """What is evaluated after an epoch.

    Attributes
    ----------
    part : {"train", "valid"}
        Which rows.
    batches : iterable of batches
        In the order of the rows.
    scorers : dict
        Names in the history mapped to ``scorer(estimator, X, y, weights)``; higher is better.
    estimator : estimator
        In its ``fit``; scorers see a copy of it whose outputs are those given.
    net : Net
    targets : callable
        Returns the rows' targets as the user gave them, ndarray of shape (n_rows, ...).
    weights : ndarray of shape (n_rows,), or None
    """

    part: str
    batches: Iterable
    scorers: dict
    estimator: object
    net: object
    targets: Callable
    weights: np.ndarray | None

    def scores(self, outputs):
        """The scores of these outputs by name.

        Raises
        ------
        ValueError
            If there are more or fewer outputs than rows.
        """
        y = self.targets()
        if len(outputs) != len(y):
            raise ValueError(
                f"The {len(y)} rows to score came with {len(outputs)} outputs: the dataset does "
                "not give the same samples in every pass."
            )
        outputs = outputs.to("cpu", self.net.example_output_.dtype)
        X = np.empty((len(y), 0))  # Stands for the rows, whose outputs are there.

        def outputs_of(given):
            if given is not X:
                raise ValueError(
                    "A scorer asks for predictions of other rows than those it was given. In "
                    "scoring it may hand X, which is empty, to the estimator's methods as it is."
                )
            return X, outputs

        judged = copy.copy(self.estimator)
        judged.net_, judged._outputs = self.net, outputs_of
        return {
            name: float(scorer(judged, X, y, self.weights)) for name, scorer in self.scorers.items()
        }


def scorers_by_part(scoring, has_valid):
    """scikit-learn's scorers by the rows they judge and their names.

    Parameters
    ----------
    scoring : str, callable, list of either, dict of str to either, or None
        A name may begin with ``train_`` or ``valid_``, which says on which rows it is evaluated;
        otherwise it is on those held out, or on the training rows where none are.
    has_valid : bool
        Whether rows are held out.

    Returns
    -------
    scorers : dict of dict
        ``{"train": {name: scorer}, "valid": {name: scorer}}``, names with their part before them;
        functions of ``(estimator, X, y, weights)``.

    Raises
    ------
    ValueError
        For a name that scikit-learn does not know or that is given twice, for what is no scorer,
        and for validation scores without validation rows.
    """
    by_part = {part: {} for part in PARTS}
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
        by_part[part][f"{part}_{rest}"] = partial(_with_weights_if_taken, scorer)
    return by_part


def _part_and_rest(name):
    """``train_accuracy`` is ("train", "accuracy"), ``accuracy`` is (None, "accuracy")."""
    part, _, rest = name.partition("_")
    return (part, rest) if part in PARTS and rest else (None, name)


def _named(scoring):
    """Names mapped to scorers."""
    if isinstance(scoring, dict):
        return {name: get_scorer(s) if isinstance(s, str) else s for name, s in scoring.items()}
    if scoring is None:
        return {}
    scorers = {}
    for scorer in scoring if isinstance(scoring, list | tuple) else [scoring]:
        name = scorer if isinstance(scorer, str) else getattr(scorer, "__name__", "score")
        if name in scorers:
            raise ValueError(
                f"scoring={scoring!r} holds {name!r} twice. Pass a dict of names to scorers."
            )
        is_name = isinstance(scorer, str)
        scorers[name] = get_scorer(_part_and_rest(name)[1]) if is_name else scorer
    return scorers


def _with_weights_if_taken(scorer, estimator, X, y, weights):
    if weights is None:
        return scorer(estimator, X, y)
    try:
        return scorer(estimator, X, y, sample_weight=weights)
    except (TypeError, ValueError) as error:  # A metric without weights, or none here: roc_auc_ovo.
        if "sample_weight" not in str(error):
            raise
        return scorer(estimator, X, y)


def accuracy(estimator, X, y, weights):
    """Share of the rows whose labels are all right."""
    return rows_right(y, estimator.predict(X), weights)


def rows_right(y, predicted, weights=None):
    """Share of the rows in which the label is right, or all of several are."""
    right = predicted == y
    return float(np.average(right if right.ndim == 1 else right.all(axis=1), weights=weights))


def comparable(y, predicted):
    """Whether both are plain arrays of as many integers or bools, of one dimension."""
    plain = all(type(a) is np.ndarray and a.dtype.kind in "biu" for a in (y, predicted))
    return plain and y.ndim == 1 and y.shape == predicted.shape


def r2(estimator, X, y, weights):
    """The coefficient of determination."""
    return r2_score(y, estimator.predict(X), sample_weight=weights)
