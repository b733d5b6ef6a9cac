"""Sample and class weights, as one weight a row."""

from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.class_weight import compute_class_weight

from sktorch._errors import errors_name
from sktorch.targets.arrays import as_numpy


def row_weights(
    encoded: np.ndarray,
    classes: Any,
    sample_weight: Any,
    class_weight: Any = None,
    counted: np.ndarray | None = None,
) -> np.ndarray | None:
    """Return new float64 weights, the product of sample and class weights; None without either.

    Of several columns of labels, each with its classes in a list, the weights of a row's labels
    multiply. "balanced" weighs by the ``counted`` rows, a mask; None counts all.
    """
    if sample_weight is None and class_weight is None:
        return None
    weights = check_sample_weight(sample_weight, len(encoded))
    if class_weight is not None and weights.any():
        seen = weights if counted is None else weights * counted
        factor = _weights_of_columns if isinstance(classes, list) else _weights_of_classes
        with errors_name("class_weight"):
            weights = weights * factor(encoded, classes, seen, class_weight)
    if not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        included, change = "", "sample_weight"
        if class_weight is not None:
            included, change = ", class weights included", "sample_weight or class_weight"
        raise ValueError(
            "Sample weights must contain at least one non-zero number, no negative one, no NaN and "
            f"no infinity; they range from {weights.min()} to {weights.max()}{included}. Change "
            f"{change}."
        )
    return weights


def check_sample_weight(sample_weight: Any, n_samples: int) -> np.ndarray:
    """Return new float64 weights, ones for None; raise ValueError for other shapes or negatives."""
    if sample_weight is None:
        return np.ones(n_samples)
    if isinstance(sample_weight, Real):
        sample_weight = np.full(n_samples, float(sample_weight))
    with errors_name("sample_weight"):
        weights = check_array(
            as_numpy(sample_weight),
            ensure_2d=False,
            dtype=np.float64,
            copy=True,
            input_name="sample_weight",
        )
    if weights.shape != (n_samples,):
        raise ValueError(
            f"sample_weight has shape {weights.shape}, expected ({n_samples},): one number per "
            "row of X."
        )
    if (weights < 0).any():
        raise ValueError(
            f"sample_weight holds negative weights (the least is {weights.min()}); "
            "weights must be zero or more. Change sample_weight."
        )
    return weights


def _weights_of_columns(
    codes: np.ndarray, classes: list[np.ndarray], weights: np.ndarray, class_weight: Any
) -> np.ndarray:
    """Return the product of the weights of each row's labels."""
    by_column = [class_weight] * len(classes) if class_weight == "balanced" else class_weight
    if not isinstance(by_column, list | tuple) or len(by_column) != len(classes):
        raise ValueError(
            f"class_weight={class_weight!r} was given for {len(classes)} columns of labels; "
            "expected 'balanced' or a list of as many dicts. Change class_weight."
        )
    columns = zip(codes.T, classes, by_column, strict=True)
    factors = [_weights_of_classes(c, known, weights, given) for c, known, given in columns]
    return np.prod(factors, axis=0)


def _weights_of_classes(
    codes: np.ndarray, classes: np.ndarray, weights: np.ndarray, class_weight: Any
) -> np.ndarray:
    """Return the weight of each row's class; "balanced" does not count rows without weight."""
    is_counted = weights > 0
    present = np.unique(codes[is_counted])
    if isinstance(class_weight, dict):
        class_weight = _weights_by_code(class_weight, classes)
    by_code = np.ones(len(classes))
    by_code[present] = compute_class_weight(
        class_weight, classes=present, y=codes[is_counted], sample_weight=weights[is_counted]
    )
    return by_code[codes]


def _weights_by_code(class_weight: dict, classes: np.ndarray) -> dict[int, float]:
    """Return the weights with codes for labels; raise ValueError for a label misspelt."""
    labels = classes.tolist()
    unknown = [label for label in class_weight if label not in labels]
    # A class that a fold lacks may have a weight. An unknown label is misspelt if a known one
    # has no weight.
    if unknown and any(label not in class_weight for label in labels):
        raise ValueError(
            f"class_weight names {unknown}, which are not among the classes {labels}. "
            "Change the keys of class_weight."
        )
    return {code: class_weight.get(label, 1) for code, label in enumerate(labels)}
