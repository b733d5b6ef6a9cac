"""Labels to class codes, and sample and class weights to one weight a row."""

from math import ceil
from numbers import Real

import numpy as np
import torch
from sklearn import get_config
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import assert_all_finite, check_array, check_consistent_length, column_or_1d
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets


def check_labels(y, X):
    """Check labels as scikit-learn does.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
    X : array with rows
        y must have as many.

    Returns
    -------
    y : ndarray of shape (n_samples,)

    Raises
    ------
    ValueError
        For y of another length or shape, with missing values, or continuous.
    """
    if isinstance(y, torch.Tensor):
        y = y.detach().cpu().numpy()
    y = column_or_1d(y, warn=True)
    assert_all_finite(y, input_name="y")
    check_consistent_length(X, y)
    check_classification_targets(y)
    return y


def dispatches():
    """Whether scikit-learn hands arrays of other libraries through."""
    return get_config()["array_api_dispatch"]


def encode_labels(y, classes):
    """Codes of labels, their positions in ``classes``.

    Returns
    -------
    codes : ndarray of shape (n_samples,), int64

    Raises
    ------
    ValueError
        If a label is not among the classes; it is named.
    """
    encoder = LabelEncoder()
    encoder.classes_ = classes
    return encoder.transform(y).astype(np.int64, copy=False)


def classes_of(y):
    """The sorted distinct labels."""
    return LabelEncoder().fit(y).classes_


def row_weights(codes, classes, sample_weight, class_weight):
    """The product of sample and class weights.

    Parameters
    ----------
    codes : ndarray of shape (n_samples,), int64
    classes : ndarray of shape (n_classes,)
    sample_weight : array-like of shape (n_samples,), number or None
    class_weight : dict, "balanced" or None

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
    weights = _check_sample_weight(sample_weight, len(codes))
    if class_weight is not None:
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
        weights = weights * by_code[codes]
    if not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise ValueError(
            "Sample weights must contain at least one non-zero number, no negative one, no NaN and "
            "no infinity; sample_weight times class_weight ranges from "
            f"{weights.min()} to {weights.max()}."
        )
    return weights


def _check_sample_weight(sample_weight, n_samples):
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


def hold_out(index, codes, fraction, seed):
    """Split rows into training and validation, the classes in the same proportions.

    Parameters
    ----------
    index : ndarray of int
        The rows to split.
    codes : ndarray of shape (n_samples,), int64
        Class codes of all rows. A class of few rows may be in training only, never in the
        hold-out only.
    fraction : float
        Share of the rows to hold out.
    seed : int

    Returns
    -------
    train, valid : ndarray of int

    Raises
    ------
    ValueError
        If there are too few rows.
    """
    alone = np.bincount(codes[index])[codes[index]] == 1
    candidates = index[~alone]
    n_classes = len(np.unique(codes[candidates]))
    n_valid = max(ceil(fraction * len(index)), n_classes)
    if n_classes == 0 or len(candidates) - n_valid < n_classes:
        raise ValueError(
            f"early_stopping=True needs a hold-out of {max(n_valid, 1)} rows, but n_samples="
            f"{len(index)} rows, {len(candidates)} of them in classes of two or more, are too "
            "few for it. Set early_stopping=False, or change validation_fraction."
        )
    train, valid = train_test_split(
        candidates, test_size=n_valid, stratify=codes[candidates], random_state=seed
    )
    return np.concatenate([train, index[alone]]), valid
