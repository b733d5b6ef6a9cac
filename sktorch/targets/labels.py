"""One label a row."""

from reprlib import repr as shortened
from typing import Any, Self

import numpy as np
import torch
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import assert_all_finite, check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from torch import Tensor, nn

from sktorch.losses.adapters import Criterion, innermost
from sktorch.losses.links import LOG_PROBABILITIES
from sktorch.losses.registry import link_of
from sktorch.targets.arrays import as_numpy, is_label_matrix
from sktorch.targets.codec import LabelCodec


class Labels(LabelCodec):
    """The codec of one label a row; labels are encoded as their position in ``classes``."""

    default_criterion = nn.CrossEntropyLoss
    kind = "labels"
    description = "one label a row"
    classes: np.ndarray

    def __init__(self, classes: np.ndarray) -> None:
        self.classes = classes

    @classmethod
    def accepts(cls, y: Any, classes: Any = None) -> bool:
        """Return whether y has one label a row."""
        return not is_label_matrix(y)

    @staticmethod
    def check(y: Any, X: Any) -> np.ndarray:
        """Return labels of shape (n_samples,); raise for NaN, continuous values or other rows."""
        y = as_numpy(y)
        if _are_few_integers(y):
            check_consistent_length(X, y)
            return y
        y = column_or_1d(y, warn=True)
        assert_all_finite(y, input_name="y")
        check_consistent_length(X, y)
        check_classification_targets(y)
        return y

    @classmethod
    def of(cls, y: np.ndarray) -> Self:
        """Return the codec of the distinct labels."""
        return cls(classes_of(y))

    @classmethod
    def declared(cls, classes: Any) -> Self:
        """Return the codec of classes in any order."""
        return cls.of(cls.check(classes, classes))

    def is_of(self, classes: Any) -> bool:
        """Return whether these are the classes, in any order."""
        return np.array_equal(classes_of(self.check(classes, classes)), self.classes)

    def encode(self, y: np.ndarray) -> np.ndarray:
        """Return codes; raise ValueError for a label that is not among the classes."""
        return encode_labels(y, self.classes)

    def decode(self, encoded: np.ndarray) -> np.ndarray:
        """Return the labels of codes."""
        return self.classes[encoded]

    def strata(self, encoded: np.ndarray) -> np.ndarray:
        """Return the codes themselves."""
        return encoded

    def widths(self, criterion: Criterion) -> tuple[int, ...]:
        """Return the widths that the criterion's link says."""
        return link_of(criterion).widths(len(self.classes))

    def check_output(self, criterion: nn.Module, output: Tensor, n_rows: int) -> None:
        """Raise ValueError for another shape, or if log-probabilities are expected of others."""
        super().check_output(criterion, output, n_rows)
        self.check_log_probabilities(criterion, output)

    def _expected(self, criterion: nn.Module, shapes: list[tuple[int, ...]]) -> str:
        widths = " or ".join(map(str, self.widths(criterion)))
        return f"{criterion} on {len(self.classes)} classes expects {widths} column(s)"

    def check_log_probabilities(self, criterion: nn.Module, output: Tensor) -> None:
        """Raise ValueError if the criterion expects log-probabilities and gets something else."""
        if link_of(criterion) is not LOG_PROBABILITIES:
            return
        sums = output.exp().sum(1)
        if not torch.allclose(sums, torch.ones_like(sums), atol=1e-2):
            raise ValueError(
                f"module's outputs are no log-probabilities, which {innermost(criterion)} expects: "
                f"they add up to {sums.tolist()}, not 1. End the module with "
                "nn.LogSoftmax(dim=1), or set criterion=nn.CrossEntropyLoss."
            )

    def target(self, criterion: nn.Module, encoded: np.ndarray, output: Tensor) -> Tensor:
        """Return what the criterion's link makes of codes."""
        codes = torch.as_tensor(encoded, device="cpu")
        return link_of(criterion).encode(codes, len(self.classes), output)

    def predicted(self, criterion: nn.Module, output: Tensor) -> Tensor:
        """Return the codes of the likeliest classes, int64 of shape (n_rows,)."""
        scores = link_of(criterion).scores(output)
        codes = (scores > 0).long() if scores.ndim == 1 else scores.argmax(dim=1)
        return codes.clamp(0, len(self.classes) - 1)

    def decision(self, criterion: nn.Module, output: Tensor) -> Tensor:
        """Return scores, (n_rows, n_classes), or (n_rows,) for two classes."""
        scores = link_of(criterion).scores(output)
        if scores.ndim == 2 and len(self.classes) == 2:
            return scores[:, 1] - scores[:, 0]
        return scores

    def log_probabilities(self, criterion: nn.Module, output: Tensor) -> Tensor:
        """Return log-probabilities, (n_rows, n_classes); zeros for a single class."""
        if len(self.classes) == 1:
            return output.new_zeros(output.shape[0], 1)
        log_probabilities = link_of(criterion).log_probabilities
        assert log_probabilities is not None  # Without any, the estimator lacks predict_proba.
        return log_probabilities(output)

    def probabilities(self, criterion: nn.Module, output: Tensor) -> Tensor:
        """Return probabilities, (n_rows, n_classes), in the memory of their logarithms."""
        log_p = self.log_probabilities(criterion, output)
        is_needed = log_p is output or log_p.requires_grad  # by the caller, or by autograd
        return log_p.exp() if is_needed else log_p.exp_()


def _are_few_integers(y: Any) -> bool:
    """Say whether y is a column of integers in a range of at most half as many numbers.

    scikit-learn accepts such labels without a warning, after half a millisecond.
    """
    if type(y) is not np.ndarray or y.ndim != 1 or y.dtype.kind not in "biu" or not len(y):
        return False
    return 2 * (int(y.max()) - int(y.min()) + 1) <= len(y)


def encode_labels(y: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return int64 positions of labels among sorted classes; raise ValueError for others."""
    if y.ndim == 1 and y.dtype.kind in "biuf" and classes.dtype.kind in "biuf":
        # scikit-learn's encoder takes ten times as long. It names the labels that are unknown.
        codes = np.searchsorted(classes, y).clip(max=len(classes) - 1)
        if np.array_equal(classes[codes], y):
            return codes.astype(np.int64, copy=False)
    encoder = LabelEncoder()
    encoder.classes_ = classes
    try:
        return encoder.transform(y).astype(np.int64, copy=False)
    except ValueError as error:
        raise ValueError(
            f"{error}. The first fit saw {shortened(classes.tolist())}. Change y, or fit anew with "
            "warm_start=False. To train on for other classes, pass as module a function that puts "
            "a new head on the trained layers."
        ) from error


def classes_of(y: np.ndarray) -> np.ndarray:
    """Return the distinct labels, sorted."""
    if y.ndim == 1 and y.dtype.kind in "biu":  # An encoder takes five times as long.
        return np.unique(y)
    return LabelEncoder().fit(y).classes_
