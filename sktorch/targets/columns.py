"""Several labels a row, as columns of one label each."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from sktorch.losses.adapters import ColumnsLoss, Criterion
from sktorch.losses.registry import link_of
from sktorch.targets.arrays import check_matrix
from sktorch.targets.codec import LabelCodec
from sktorch.targets.labels import Labels


class LabelColumns(LabelCodec):
    """The codec of several columns of labels, each with a codec of its own."""

    default_criterion = nn.CrossEntropyLoss
    kind = "labels"
    description = "several columns of labels"
    classes: list[np.ndarray]

    def __init__(self, columns: list[Labels]) -> None:
        self.columns = columns
        self.classes = [column.classes for column in columns]

    @classmethod
    def accepts(cls, y: Any, classes: Any = None) -> bool:
        """Return True: columns may hold any labels."""
        return True

    @staticmethod
    def check(y: Any, X: Any) -> np.ndarray:
        """Return labels of shape (n_samples, n_columns); raise if a column holds no labels."""
        y = check_matrix(y, X)
        for column in _columns(y):
            Labels.check(column, column)
        return y

    @classmethod
    def of(cls, y: np.ndarray) -> Self:
        """Return the codec of the distinct labels of each column."""
        return cls([Labels.of(column) for column in _columns(y)])

    @classmethod
    def declared(cls, classes: Any) -> Self:
        """Return the codec of the classes of each column, in any order."""
        return cls([Labels.declared(column) for column in classes])

    def is_of(self, classes: Any) -> bool:
        """Return whether these are the classes of each column, in any order."""
        return len(classes) == len(self.columns) and all(
            column.is_of(given) for column, given in zip(self.columns, classes, strict=True)
        )

    def encode(self, y: np.ndarray) -> np.ndarray:
        """Return codes, int64 of shape (n_samples, n_columns); raise for labels of no class."""
        if y.ndim != 2 or y.shape[1] != len(self.columns):
            raise ValueError(
                f"y has shape {y.shape}; expected {len(self.columns)} columns of labels, as in "
                "the first fit."
            )
        pairs = zip(self.columns, _columns(y), strict=True)
        return np.stack([column.encode(labels) for column, labels in pairs], axis=1)

    def decode(self, encoded: np.ndarray) -> np.ndarray:
        """Return labels of shape (n_samples, n_columns), objects if columns differ in kind."""
        pairs = zip(self.columns, encoded.T, strict=True)
        labels = [column.decode(codes) for column, codes in pairs]
        if len({column.dtype.kind for column in labels}) > 1:
            labels = [column.astype(object) for column in labels]
        return np.stack(labels, axis=1)

    def criterion_adapter(self, criterion: Criterion) -> Callable[..., nn.Module]:
        """Return a wrapper that averages the criterion over the columns."""
        return partial(
            ColumnsLoss,
            encode=link_of(criterion).encode,
            n_classes=[len(classes) for classes in self.classes],
            widths=self._column_widths(criterion),
        )

    def widths(self, criterion: Criterion) -> tuple[int, ...]:
        """Return the outputs of all columns together."""
        return (sum(self._column_widths(criterion)),)

    def check_output(self, criterion: nn.Module, output: Tensor, n_rows: int) -> None:
        """Raise ValueError for another shape, or if log-probabilities are expected of others."""
        super().check_output(criterion, output, n_rows)
        for column, part in self._parts(criterion, output):
            column.check_log_probabilities(criterion, part)

    def _expected(self, criterion: nn.Module, shapes: list[tuple[int, ...]]) -> str:
        widths = " + ".join(map(str, self._column_widths(criterion)))
        return f"columns of {widths} outputs expect {shapes[0]}"

    def target(self, criterion: nn.Module, encoded: np.ndarray, output: Tensor) -> Tensor:
        """Return the codes, of which the adapted criterion makes each column's target."""
        return torch.as_tensor(encoded, device="cpu")

    def predicted(self, criterion: nn.Module, output: Tensor) -> Tensor:
        """Return the codes of the likeliest classes, int64 of shape (n_rows, n_columns)."""
        parts = self._parts(criterion, output)
        return torch.stack([column.predicted(criterion, part) for column, part in parts], dim=1)

    def decision(self, criterion: nn.Module, output: Tensor) -> list[Tensor]:
        """Return the scores of each column."""
        parts = self._parts(criterion, output)
        return [column.decision(criterion, part) for column, part in parts]

    def log_probabilities(self, criterion: nn.Module, output: Tensor) -> list[Tensor]:
        """Return the log-probabilities of each column."""
        parts = self._parts(criterion, output)
        return [column.log_probabilities(criterion, part) for column, part in parts]

    def _column_widths(self, criterion: Criterion) -> list[int]:
        return [column.n_outputs(criterion) for column in self.columns]

    def _parts(self, criterion: nn.Module, output: Tensor) -> Iterable[tuple[Labels, Tensor]]:
        """Return each column's codec with its part of the output."""
        parts = output.split(self._column_widths(criterion), dim=1)
        return zip(self.columns, parts, strict=True)


def _columns(y: np.ndarray) -> list[np.ndarray]:
    """Return the columns of a matrix; those of objects in the dtype of their values."""
    return [np.asarray(column.tolist()) if y.dtype == object else column for column in y.T]
