"""Several labels a row: an indicator for each label, or several columns of one label each."""

from functools import partial
from itertools import accumulate, pairwise

import numpy as np
import torch
from scipy import sparse
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.multiclass import type_of_target
from torch import nn

from sktorch.losses.adapters import ColumnsLoss
from sktorch.losses.links import (
    INDICATOR_LINKS,
    LINKS,
    check_criterion,
    indicator_link_of,
    link_of,
)
from sktorch.targets.labels import (
    check_labels,
    check_log_probabilities,
    classes_of,
    decision,
    encode_labels,
    likeliest,
    log_probabilities,
)
from sktorch.targets.weights import row_weights_of_columns


class Indicators:
    """The codec of zeros and ones, a column for each label that a row may have.

    Parameters
    ----------
    n_labels : int
    """

    default_criterion = nn.BCEWithLogitsLoss
    criterion_adapter = None

    def __init__(self, n_labels):
        self.classes = np.arange(n_labels)

    @classmethod
    def of(cls, y):
        """The codec of these indicators."""
        return cls(y.shape[1])

    @classmethod
    def declared(cls, classes):
        """The codec of labels that are told before any are seen: of columns, if they are nested."""
        if _is_nested(classes):  # The first batch of columns may hold zeros and ones only.
            return LabelColumns.declared(classes)
        codec = cls(len(classes))
        if not codec.is_of(classes):
            raise ValueError(
                f"classes={classes!r} was given for indicators; expected their positions, "
                f"{codec.classes.tolist()}. Pass np.arange(y.shape[1])."
            )
        return codec

    def is_of(self, classes):
        """Whether these are the labels."""
        return np.array_equal(classes, self.classes)

    def encode(self, y):
        """Zeros and ones, int64; ValueError for other values, or another number of labels."""
        if y.ndim != 2 or y.shape[1] != len(self.classes):
            raise ValueError(
                f"y has shape {y.shape}; expected one column for each of the "
                f"{len(self.classes)} labels of the first fit."
            )
        if not np.isin(y, (0, 1)).all():
            raise ValueError(
                f"y holds {np.setdiff1d(y, (0, 1)).tolist()}; expected zeros and ones, as in the "
                "first fit."
            )
        return y.astype(np.int64)

    def decode(self, indicators):
        """The indicators as they are."""
        return indicators

    def strata(self, indicators):
        """None: combinations of labels are too many to stratify by."""
        return None

    def row_weights(self, indicators, sample_weight, class_weight, counted=None):
        """One weight a row, or None."""
        classes = [np.arange(2)] * len(self.classes)
        return row_weights_of_columns(indicators, classes, sample_weight, class_weight, counted)

    def check_criterion(self, criterion):
        """Raise ValueError if the criterion can't learn several labels a row."""
        check_criterion(criterion, INDICATOR_LINKS, "several labels a row, as indicators")

    def n_outputs(self, criterion):
        """One output a label."""
        return len(self.classes)

    def score_name(self, criterion):
        """Name of the score of every epoch."""
        return "acc"

    def check_output(self, criterion, output, n_rows):
        """Raise ValueError if a module's output for ``n_rows`` rows doesn't fit."""
        expected = (n_rows, len(self.classes))
        if tuple(output.shape) != expected:
            raise ValueError(
                f"module returned an output of shape {tuple(output.shape)} for a batch of {n_rows} "
                f"rows; {len(self.classes)} labels expect {expected}. Change the module, or let "
                "its constructor take n_outputs, which is filled in."
            )

    def target(self, criterion, indicators, output):
        """The criterion's target, a tensor, from indicators."""
        indicators = torch.as_tensor(indicators, device="cpu").to(output.dtype)
        return indicator_link_of(criterion).encode(indicators)

    def predicted(self, criterion, output):
        """Indicators of the labels that are likelier than not, int64, (n_rows, n_labels)."""
        return (self.decision(criterion, output) > 0).long()

    def decision(self, criterion, output):
        """Logits of the labels, (n_rows, n_labels)."""
        return indicator_link_of(criterion).logits(output)

    def log_probabilities(self, criterion, output):
        """Logarithms of each label's probability, (n_rows, n_labels)."""
        return nn.functional.logsigmoid(self.decision(criterion, output))


class LabelColumns:
    """The codec of several columns of labels; each is encoded on its own.

    Parameters
    ----------
    classes : list of ndarray
        The labels of each column, sorted.
    """

    default_criterion = nn.CrossEntropyLoss

    def __init__(self, classes):
        self.classes = classes

    @classmethod
    def of(cls, y):
        """The codec of these columns of labels."""
        return cls([classes_of(column) for column in _columns(y)])

    @classmethod
    def declared(cls, classes):
        """The codec of labels that are told before any are seen."""
        return cls([classes_of(column) for column in classes])

    def is_of(self, classes):
        """Whether these are the labels, column by column."""
        return len(classes) == len(self.classes) and all(
            np.array_equal(classes_of(given), known)
            for given, known in zip(classes, self.classes, strict=True)
        )

    def encode(self, y):
        """Codes of labels, int64 of shape (n_samples, n_columns)."""
        if y.ndim != 2 or y.shape[1] != len(self.classes):
            raise ValueError(
                f"y has shape {y.shape}; expected {len(self.classes)} columns of labels, as in "
                "the first fit."
            )
        pairs = zip(_columns(y), self.classes, strict=True)
        return np.stack([encode_labels(column, classes) for column, classes in pairs], axis=1)

    def decode(self, codes):
        """Labels of codes, (n_samples, n_columns)."""
        columns = [classes[c] for classes, c in zip(self.classes, codes.T, strict=True)]
        kinds = {column.dtype.kind for column in columns}
        if len(kinds) > 1:
            columns = [column.astype(object) for column in columns]
        return np.stack(columns, axis=1)

    def strata(self, codes):
        """None: combinations of labels are too many to stratify by."""
        return None

    def row_weights(self, codes, sample_weight, class_weight, counted=None):
        """One weight a row, or None."""
        return row_weights_of_columns(codes, self.classes, sample_weight, class_weight, counted)

    def check_criterion(self, criterion):
        """Raise ValueError if the criterion can't learn labels."""
        check_criterion(criterion, LINKS, "several columns of labels")

    def n_outputs(self, criterion):
        """The outputs of all columns together."""
        return sum(self._widths(criterion))

    def criterion_adapter(self, criterion):
        """The mean of the columns' losses."""
        link = link_of(criterion)
        n_classes = [len(classes) for classes in self.classes]
        return partial(
            ColumnsLoss,
            encode=link.encode,
            n_classes=n_classes,
            widths=[link.widths(n)[0] for n in n_classes],
        )

    def score_name(self, criterion):
        """Name of the score of every epoch."""
        return "acc"

    def check_output(self, criterion, output, n_rows):
        """Raise ValueError if a module's output for ``n_rows`` rows doesn't fit."""
        widths = self._widths(criterion)
        if tuple(output.shape) != (n_rows, sum(widths)):
            raise ValueError(
                f"module returned an output of shape {tuple(output.shape)} for a batch of {n_rows} "
                f"rows; columns of {' + '.join(map(str, widths))} outputs expect "
                f"{(n_rows, sum(widths))}. Change the module, or let its constructor take "
                "n_outputs, which is filled in."
            )
        for part in self._parts(criterion, output):
            check_log_probabilities(criterion, part)

    def target(self, criterion, codes, output):
        """Codes, a tensor; the adapted criterion makes of each column what it takes."""
        return torch.as_tensor(codes, device="cpu")

    def predicted(self, criterion, output):
        """Codes of the likeliest classes, int64 of shape (n_rows, n_columns)."""
        return torch.stack(self._of_each(likeliest, criterion, output), dim=1)

    def decision(self, criterion, output):
        """Scores, a list with (n_rows, n_classes) for each column, (n_rows,) for two classes."""
        return self._of_each(decision, criterion, output)

    def log_probabilities(self, criterion, output):
        """Logarithms of probabilities, a list with (n_rows, n_classes) for each column."""
        return self._of_each(log_probabilities, criterion, output)

    def _of_each(self, function, criterion, output):
        """What a function of link, output and number of classes makes of each column."""
        pairs = zip(self._parts(criterion, output), self.classes, strict=True)
        return [function(link_of(criterion), part, len(classes)) for part, classes in pairs]

    def _widths(self, criterion):
        return [link_of(criterion).widths(len(classes))[0] for classes in self.classes]

    def _parts(self, criterion, output):
        ends = [*accumulate(self._widths(criterion), initial=0)]
        return [output[:, start:end] for start, end in pairwise(ends)]


def _columns(y):
    """The columns of a 2-D array; those of objects in the dtype of what they hold."""
    return [np.asarray(column.tolist()) if y.dtype == object else column for column in y.T]


def check_label_matrix(y, X):
    """Check several labels a row as scikit-learn does.

    Parameters
    ----------
    y : array-like or sparse matrix of shape (n_samples, n_columns)
    X : array with rows
        y must have as many.

    Returns
    -------
    y : ndarray of shape (n_samples, n_columns)
    codec : type
        `Indicators` where y holds zeros and ones only, else `LabelColumns`.

    Raises
    ------
    ValueError
        For y of another length, with missing values, or continuous.
    """
    if isinstance(y, torch.Tensor):
        y = y.detach().cpu().numpy()
    if sparse.issparse(y):
        y = y.toarray()
    y = check_array(y, dtype=None, ensure_all_finite=True, input_name="y", ensure_min_samples=1)
    check_consistent_length(X, y)
    kind = None if y.dtype == object else type_of_target(y, input_name="y")
    # scikit-learn calls any two values so, and a class of 7 would be a target of 7.
    if kind == "multilabel-indicator" and np.isin(y, (0, 1)).all():
        return y, Indicators
    for column in _columns(y):
        check_labels(column, column)
    return y, LabelColumns


def is_label_matrix(y):
    """Whether y holds more than one label a row."""
    shape = y.shape if hasattr(y, "shape") else np.shape(y) if _is_nested(y) else ()
    return len(shape) == 2 and shape[1] > 1


def _is_nested(y):
    return isinstance(y, list | tuple) and len(y) > 0 and np.ndim(y[0]) > 0
