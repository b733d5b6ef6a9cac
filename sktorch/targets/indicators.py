"""Several labels a row, as one column of zeros and ones for each label."""

from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from sktorch.losses.adapters import Criterion
from sktorch.losses.registry import indicator_link_of
from sktorch.targets.arrays import as_matrix, check_matrix, is_nested
from sktorch.targets.codec import LabelCodec, check_not_steps
from sktorch.targets.weights import row_weights


class Indicators(LabelCodec):
    """The codec of zeros and ones; ``classes`` are the positions of the columns."""

    default_criterion = nn.BCEWithLogitsLoss
    kind = "indicators"
    description = "several labels a row, as indicators"
    classes: np.ndarray
    check = staticmethod(check_matrix)

    def __init__(self, n_labels: int) -> None:
        self.classes = np.arange(n_labels)

    @classmethod
    def accepts(cls, y: Any, classes: Any = None) -> bool:
        """Return whether y holds numbers zero and one only, and no classes of columns are given."""
        if is_nested(classes):  # The first batch of columns may hold zeros and ones only.
            return False
        matrix = as_matrix(y)
        return matrix.dtype.kind in "biuf" and bool(np.isin(matrix, (0, 1)).all())

    @classmethod
    def of(cls, y: np.ndarray) -> Self:
        """Return the codec of as many labels as columns."""
        return cls(y.shape[1])

    @classmethod
    def declared(cls, classes: Any) -> Self:
        """Return the codec of as many labels; raise ValueError if they are not positions."""
        codec = cls(len(classes))
        if not codec.is_of(classes):
            raise ValueError(
                f"classes={classes!r} was given for indicators; expected their positions, "
                f"{codec.classes.tolist()}. Pass np.arange(y.shape[1])."
            )
        return codec

    def is_of(self, classes: Any) -> bool:
        """Return whether these are the positions of the labels."""
        return np.array_equal(classes, self.classes)

    def encode(self, y: np.ndarray) -> np.ndarray:
        """Return int64; raise ValueError for other values or another number of labels."""
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

    def row_weights(
        self,
        encoded: np.ndarray,
        sample_weight: Any,
        class_weight: Any = None,
        counted: np.ndarray | None = None,
    ) -> np.ndarray | None:
        """Return weights in which each label has the two classes zero and one."""
        classes = [np.arange(2)] * len(self.classes)
        return row_weights(encoded, classes, sample_weight, class_weight, counted)

    def widths(self, criterion: Criterion) -> tuple[int, ...]:
        """Return one output a label."""
        return (len(self.classes),)

    def check_output(self, criterion: nn.Module, output: Tensor, n_rows: int) -> None:
        """Raise ValueError for another shape than one output a label."""
        check_not_steps(output, len(self.classes))
        super().check_output(criterion, output, n_rows)

    def _expected(self, criterion: nn.Module, shapes: list[tuple[int, ...]]) -> str:
        return f"{len(self.classes)} labels expect {shapes[0]}"

    def target(self, criterion: nn.Module, encoded: np.ndarray, output: Tensor) -> Tensor:
        """Return what the criterion's link makes of indicators in the output's dtype."""
        return indicator_link_of(criterion).encode(self.plain_target(encoded, output.dtype))

    def plain_target(self, encoded: np.ndarray, dtype: torch.dtype) -> Tensor:
        """Return zeros and ones."""
        return torch.as_tensor(encoded, device="cpu").to(dtype)

    def predicted(self, criterion: nn.Module, output: Tensor) -> Tensor:
        """Return ones for labels that are likelier than not, int64 of shape (n_rows, n_labels)."""
        return (self.decision(criterion, output) > 0).long()

    def decision(self, criterion: nn.Module, output: Tensor) -> Tensor:
        """Return the logit of each label, (n_rows, n_labels)."""
        return indicator_link_of(criterion).logits(output)

    def log_probabilities(self, criterion: nn.Module, output: Tensor) -> Tensor:
        """Return the log-probability of each label, (n_rows, n_labels)."""
        return nn.functional.logsigmoid(self.decision(criterion, output))
