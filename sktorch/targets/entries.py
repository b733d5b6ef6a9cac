"""A label for each entry of a row: the pixels of a picture, the steps of a sequence."""

from collections.abc import Callable
from functools import partial
from typing import Any, Self

import numpy as np
from sklearn.utils import check_consistent_length
from torch import Tensor, nn

from sktorch.losses.adapters import Criterion, EntriesLoss
from sktorch.targets.arrays import as_target_array, is_nested
from sktorch.targets.codec import LabelCodec
from sktorch.targets.labels import Labels


class EntryLabels(LabelCodec):
    """The codec of an array of labels a row, of one set of classes.

    The scores of the classes are an output's second dimension, as torch's losses take them. An
    entry of y that is ``ignored`` is no class: the loss gets it as it is, and leaves it out.
    """

    default_criterion = nn.CrossEntropyLoss
    kind = "labels"
    description = "a label for each entry of a row"
    classes: np.ndarray

    def __init__(self, labels: Labels, shape: tuple[int, ...], ignored: int | None) -> None:
        self.labels, self.shape, self.ignored = labels, shape, ignored
        self.classes = labels.classes
        if ignored is not None and 0 <= ignored < len(self.classes):
            raise ValueError(
                f"criterion__ignore_index={ignored} is also the code of the class "
                f"{self.classes[ignored]!r}: classes are coded 0 to {len(self.classes) - 1}. Mark "
                "the entries of y to ignore by another number, such as -100, and pass that."
            )

    @classmethod
    def accepts(cls, y: Any, classes: Any = None) -> bool:
        """Return whether the rows of y have two dimensions or more."""
        return (y.ndim if hasattr(y, "ndim") else np.ndim(y) if is_nested(y) else 1) > 2

    @staticmethod
    def check(y: Any, X: Any) -> np.ndarray:
        """Return labels of the same shape; raise for NaN, continuous values or other rows."""
        y = as_target_array(y)
        if 0 in y.shape[1:]:
            raise ValueError(f"y has shape {y.shape}, and no entries. Change y.")
        check_consistent_length(X, y)
        Labels.check(y.reshape(-1), y.reshape(-1))
        return y

    @classmethod
    def made(cls, y: np.ndarray, classes: Any = None, ignored: int | None = None) -> Self:
        """Return the codec of the labels that are not ignored, or of the classes declared."""
        if classes is not None:
            return cls(Labels.declared(classes), y.shape[1:], ignored)
        labels = y[~_is_ignored(y, ignored)]
        if not len(labels):
            raise ValueError(f"y holds nothing but {ignored}, the ignore_index. Change y.")
        return cls(Labels.of(labels), y.shape[1:], ignored)

    @classmethod
    def of(cls, y: np.ndarray) -> Self:
        """Return the codec of the distinct labels."""
        return cls.made(y)

    @classmethod
    def declared(cls, classes: Any) -> Self:
        """Return the codec of classes in any order, for entries of any shape."""
        return cls(Labels.declared(classes), (), None)

    def is_of(self, classes: Any) -> bool:
        """Return whether these are the classes, in any order."""
        return self.labels.is_of(classes)

    def encode(self, y: np.ndarray) -> np.ndarray:
        """Return codes, int64 of y's shape, and ``ignored`` where y is."""
        if y.ndim != len(self.shape) + 1:
            raise ValueError(
                f"y has shape {y.shape}; expected {len(self.shape)} dimensions of labels a row, as "
                "in the first fit."
            )
        is_ignored = _is_ignored(y, self.ignored)
        codes = np.full(y.shape, -1 if self.ignored is None else self.ignored)
        codes[~is_ignored] = self.labels.encode(y[~is_ignored])
        return codes

    def decode(self, encoded: np.ndarray) -> np.ndarray:
        """Return the labels of codes, and ``ignored`` as it is."""
        is_ignored = _is_ignored(encoded, self.ignored)
        y = self.labels.decode(np.where(is_ignored, 0, encoded))
        if is_ignored.any():
            y[is_ignored] = self.ignored
        return y

    def row_weights(
        self,
        encoded: np.ndarray,
        sample_weight: Any,
        class_weight: Any = None,
        counted: np.ndarray | None = None,
    ) -> np.ndarray | None:
        """Return the sample weights; raise ValueError for class weights, which no row has."""
        if class_weight is not None:
            raise ValueError(
                f"class_weight={class_weight!r} weighs rows, and a row of y has labels of several "
                "classes. Pass criterion__weight, a tensor with a weight for each class."
            )
        return super().row_weights(encoded, sample_weight)

    def accuracy(self, y: np.ndarray, predicted: np.ndarray, weights: Any = None) -> float:
        """Return the share of the entries, less those ignored, that are right."""
        counted = ~_is_ignored(y, self.ignored)
        if not counted.any():
            raise ValueError(f"y holds nothing but {self.ignored}, the ignore_index. Change y.")
        if weights is not None:
            weights = weights.reshape(-1, *[1] * (y.ndim - 1)) * counted
            weights = weights[counted]
        return float(np.average((y == predicted)[counted], weights=weights))

    def criterion_adapter(self, criterion: Criterion) -> Callable[..., nn.Module] | None:
        """Return what lets rows with entries to ignore have weights."""
        return None if self.ignored is None else partial(EntriesLoss, ignored=self.ignored)

    def widths(self, criterion: Criterion) -> tuple[int, ...]:
        """Return the widths that the criterion's link says."""
        return self.labels.widths(criterion)

    def _shapes(self, criterion: nn.Module, n_rows: int) -> list[tuple[int, ...]]:
        widths = self.widths(criterion)
        shapes: list[tuple[int, ...]] = [(n_rows, width, *self.shape) for width in widths]
        return shapes + ([(n_rows, *self.shape)] if 1 in widths else [])

    def check_output(self, criterion: nn.Module, output: Tensor, n_rows: int) -> None:
        """Raise ValueError for another shape, or if log-probabilities are expected of others."""
        super().check_output(criterion, output, n_rows)
        self.labels.check_log_probabilities(criterion, self._by_entry(output))

    def _expected(self, criterion: nn.Module, shapes: list[tuple[int, ...]]) -> str:
        expected = " or ".join(map(str, shapes))
        return (
            f"y with {len(self.classes)} classes in rows of shape {self.shape} expects {expected}"
        )

    def target(self, criterion: nn.Module, encoded: np.ndarray, output: Tensor) -> Tensor:
        """Return what the criterion's link makes of codes, in the shape that the loss takes."""
        target = self.labels.target(criterion, encoded.reshape(-1), self._by_entry(output))
        if target.ndim == 1:
            return target.reshape(encoded.shape)
        return target.reshape(*encoded.shape, -1).movedim(-1, 1)

    def predicted(self, criterion: nn.Module, output: Tensor) -> Tensor:
        """Return the codes of the likeliest classes, int64 of shape (n_rows, ...)."""
        return self._shaped(self.labels.predicted(criterion, self._by_entry(output)), output)

    def decision(self, criterion: nn.Module, output: Tensor) -> Tensor:
        """Return scores, (n_rows, ..., n_classes), or (n_rows, ...) for two classes."""
        return self._shaped(self.labels.decision(criterion, self._by_entry(output)), output)

    def log_probabilities(self, criterion: nn.Module, output: Tensor) -> Tensor:
        """Return log-probabilities, (n_rows, ..., n_classes)."""
        return self._shaped(
            self.labels.log_probabilities(criterion, self._by_entry(output)), output
        )

    def _by_entry(self, output: Tensor) -> Tensor:
        """Return an output as rows of one entry each, as that of one label a row is."""
        if output.ndim == len(self.shape) + 1:  # one score an entry
            return output.reshape(-1)
        return output.movedim(1, -1).reshape(-1, output.shape[1])

    def _shaped(self, values: Tensor, output: Tensor) -> Tensor:
        """Return what was made of an output's entries in their shape."""
        is_single = output.ndim == len(self.shape) + 1
        shape = output.shape if is_single else (output.shape[0], *output.shape[2:])
        return values.reshape(*shape, *values.shape[1:])


def _is_ignored(y: np.ndarray, ignored: int | None) -> np.ndarray:
    if ignored is None or y.dtype.kind not in "biuf":
        return np.zeros(y.shape, dtype=bool)
    return y == ignored
