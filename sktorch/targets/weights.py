"""Sample and class weights to one weight a row."""

from numbers import Real

import numpy as np
import torch
from sklearn.utils import check_array
from sklearn.utils.class_weight import compute_class_weight


def row_weights(codes, classes, sample_weight, class_weight, counted=None):
    """The product of sample and class weights.

    Parameters
    ----------
    codes : ndarray of shape (n_samples,), int64
    classes : ndarray of shape (n_classes,)
    sample_weight : array-like of shape (n_samples,), number or None
    class_weight : dict, "balanced" or None
    counted : ndarray of shape (n_samples,), bool, default=None
        The rows whose classes "balanced" counts; None counts all of them.

    Returns
    -------
    weights : new ndarray of shape (n_samples,), float64, or None where every row weighs the same

    Raises
    ------
    ValueError
        For weights that are negative, not finite, all zero or of another length; for class
        weights of classes that do not exist.
    """
    if sample_weight is None and class_weight is None:
        return None
    weights = check_sample_weight(sample_weight, len(codes))
    if class_weight is not None:
        seen = weights if counted is None else weights * counted
        weights = weights * _weights_of_classes(codes, classes, seen, class_weight)
    return usable(weights)


def row_weights_of_columns(codes, classes, sample_weight, class_weight, counted=None):
    """As `row_weights`, for several columns of labels: the weights of a row's labels multiply.

    Parameters
    ----------
    codes : ndarray of shape (n_samples, n_columns), int64
    classes : list of ndarray
        Of each column.
    sample_weight : array-like of shape (n_samples,), number or None
    class_weight : "balanced", list of one dict a column, or None
    counted : ndarray of shape (n_samples,), bool, default=None

    Returns
    -------
    weights : ndarray of shape (n_samples,), float64, or None
    """
    if sample_weight is None and class_weight is None:
        return None
    weights = check_sample_weight(sample_weight, len(codes))
    if class_weight is not None:
        wishes = [class_weight] * len(classes) if class_weight == "balanced" else class_weight
        if not isinstance(wishes, list | tuple) or len(wishes) != len(classes):
            raise ValueError(
                f"class_weight={class_weight!r} was given for {len(classes)} columns of labels; "
                "expected 'balanced' or a list of as many dicts. Change class_weight."
            )
        seen = weights if counted is None else weights * counted
        columns = zip(codes.T, classes, wishes, strict=True)
        factors = [_weights_of_classes(c, known, seen, wish) for c, known, wish in columns]
        weights = weights * np.prod(factors, axis=0)
    return usable(weights)


def _weights_of_classes(codes, classes, weights, class_weight):
    """The weight of each row's class; rows without weight are not counted."""
    present = np.unique(codes[weights > 0])
    if isinstance(class_weight, dict):
        class_weight = _weights_by_code(class_weight, classes)
    by_code = np.ones(len(classes))
    by_code[present] = compute_class_weight(
        class_weight,
        classes=present,
        y=codes[weights > 0],
        sample_weight=weights[weights > 0],
    )
    return by_code[codes]


def usable(weights):
    """The weights, if they can be trained with: finite, none negative, not all zero."""
    if not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise ValueError(
            "Sample weights must contain at least one non-zero number, no negative one, no NaN and "
            "no infinity; sample_weight times class_weight ranges from "
            f"{weights.min()} to {weights.max()}."
        )
    return weights


def check_sample_weight(sample_weight, n_samples):
    """Sample weights as one float64 a row, all zero or more; ones for None.

    Raises
    ------
    ValueError
        For another length or shape, NaN, infinity or a negative number.
    """
    if sample_weight is None:
        return np.ones(n_samples)
    if isinstance(sample_weight, torch.Tensor):
        sample_weight = sample_weight.detach().cpu().numpy()
    if isinstance(sample_weight, Real):
        sample_weight = np.full(n_samples, float(sample_weight))
    weights = check_array(
        sample_weight, ensure_2d=False, dtype=np.float64, copy=True, input_name="sample_weight"
    )
    if weights.shape != (n_samples,):
        raise ValueError(
            f"sample_weight has shape {weights.shape}, expected ({n_samples},): one number per "
            "row of X."
        )
    if (weights < 0).any():
        raise ValueError(
            f"sample_weight holds negative weights (the least is {weights.min()}); "
            "weights must be zero or more."
        )
    return weights


def _weights_by_code(class_weight, classes):
    labels = classes.tolist()
    unknown = [label for label in class_weight if label not in labels]
    # A class that is missing from a fold leaves its weight over; a label left without one beside
    # it is a label misspelt.
    if unknown and any(label not in class_weight for label in labels):
        raise ValueError(
            f"class_weight names {unknown}, which are not among the classes {labels}. "
            "Change the keys of class_weight."
        )
    return {code: class_weight.get(label, 1) for code, label in enumerate(labels)}
