"""One label a row."""

import numpy as np
import torch
from sklearn import get_config
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import assert_all_finite, check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from torch import nn

from sktorch.losses.adapters import innermost
from sktorch.losses.links import LINKS, check_criterion, link_of
from sktorch.targets.weights import row_weights


class Labels:
    """The codec of one label a row; labels are encoded as their position in ``classes``.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
        The labels, sorted.
    """

    default_criterion = nn.CrossEntropyLoss
    criterion_adapter = None

    def __init__(self, classes):
        self.classes = classes

    @classmethod
    def of(cls, y):
        """The codec of these labels."""
        return cls(classes_of(y))

    @classmethod
    def declared(cls, classes):
        """The codec of labels that are told before any are seen."""
        return cls(classes_of(check_labels(classes, classes)))

    def is_of(self, classes):
        """Whether these are the classes."""
        return np.array_equal(classes_of(check_labels(classes, classes)), self.classes)

    def encode(self, y):
        """Codes of labels, int64; a label that is not among the classes raises ValueError."""
        return encode_labels(y, self.classes)

    def decode(self, codes):
        """Labels of codes."""
        return self.classes[codes]

    def strata(self, codes):
        """The codes by which a hold-out is stratified."""
        return codes

    def row_weights(self, codes, sample_weight, class_weight, counted=None):
        """One weight a row, or None."""
        return row_weights(codes, self.classes, sample_weight, class_weight, counted)

    def check_criterion(self, criterion):
        """Raise ValueError if the criterion can't learn labels."""
        check_criterion(criterion, LINKS, "one label a row")

    def n_outputs(self, criterion):
        """Number of outputs that a module usually has."""
        return link_of(criterion).widths(len(self.classes))[0]

    def score_name(self, criterion):
        """Name of the score of every epoch."""
        return "acc"

    def check_output(self, criterion, output, n_rows):
        """Raise ValueError if a module's output for ``n_rows`` rows doesn't fit."""
        widths = link_of(criterion).widths(len(self.classes))
        width = 1 if output.ndim == 1 else output.shape[-1]
        if output.ndim > 2 or len(output) != n_rows or width not in widths:
            raise ValueError(
                f"module returned an output of shape {tuple(output.shape)} for a batch of "
                f"{n_rows} rows; {criterion} on {len(self.classes)} classes "
                f"expects {' or '.join(map(str, widths))} column(s). Change the module, or let its "
                "constructor take n_outputs, which is filled in."
            )
        check_log_probabilities(criterion, output)

    def target(self, criterion, codes, output):
        """The criterion's target, a tensor, from codes."""
        codes = torch.as_tensor(codes, device="cpu")
        return link_of(criterion).encode(codes, len(self.classes), output)

    def predicted(self, criterion, output):
        """Codes of the likeliest classes, int64 of shape (n_rows,)."""
        return likeliest(link_of(criterion), output, len(self.classes))

    def decision(self, criterion, output):
        """Scores, (n_rows, n_classes), or (n_rows,) for two classes."""
        return decision(link_of(criterion), output, len(self.classes))

    def log_probabilities(self, criterion, output):
        """Logarithms of probabilities, (n_rows, n_classes)."""
        return log_probabilities(link_of(criterion), output, len(self.classes))


def likeliest(link, output, n_classes):
    """Codes of the likeliest of some classes, int64 of shape (n_rows,)."""
    scores = link.scores(output)
    codes = (scores > 0).long() if scores.ndim == 1 else scores.argmax(dim=1)
    return codes.clamp(max=n_classes - 1)


def decision(link, output, n_classes):
    """Scores of some classes, (n_rows, n_classes), or (n_rows,) for two."""
    scores = link.scores(output)
    if scores.ndim == 2 and n_classes == 2:
        return scores[:, 1] - scores[:, 0]
    return scores


def log_probabilities(link, output, n_classes):
    """Logarithms of the probabilities of some classes, (n_rows, n_classes)."""
    if n_classes == 1:
        return output.new_zeros(len(output), 1)
    return link.log_probabilities(output)


def check_log_probabilities(criterion, output):
    """Raise ValueError if the criterion expects log-probabilities and the output holds others."""
    if link_of(criterion) is LINKS[nn.NLLLoss] and not torch.allclose(
        output.exp().sum(1), torch.ones_like(output[:, 0]), atol=1e-2
    ):
        raise ValueError(
            f"module's outputs are no log-probabilities, which {innermost(criterion)} expects: "
            f"they add up to {output.exp().sum(1).tolist()}, not 1. End the module with "
            "nn.LogSoftmax(dim=1), or set criterion=nn.CrossEntropyLoss."
        )


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
    if y.ndim == 1 and y.dtype.kind in "biuf" and classes.dtype.kind in "biuf":
        # scikit-learn's encoder takes ten times as long, and names labels that are unknown.
        codes = np.searchsorted(classes, y).clip(max=len(classes) - 1)
        if np.array_equal(classes[codes], y):
            return codes.astype(np.int64, copy=False)
    encoder = LabelEncoder()
    encoder.classes_ = classes
    return encoder.transform(y).astype(np.int64, copy=False)


def classes_of(y):
    """The sorted distinct labels."""
    return LabelEncoder().fit(y).classes_
