"""The protocol of all kinds of targets, with its defaults."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
from torch import Tensor, nn

from sktorch.losses.adapters import Criterion
from sktorch.losses.registry import TargetKind, check_criterion
from sktorch.targets.weights import row_weights


class Codec(ABC):
    """A kind of targets: how y is encoded for a loss, and how the module's outputs are decoded.

    ``n_rows`` is the number of rows of a batch, ``encoded`` an ndarray of the targets' rows.
    """

    # The criterion for "auto".
    default_criterion: ClassVar[type[nn.Module]]
    # The links that a criterion may have, and the words for these targets in its error.
    kind: ClassVar[TargetKind]
    description: ClassVar[str]
    # The sorted labels: an array, or a list with one for each column; None for numbers.
    classes: np.ndarray | list[np.ndarray] | None = None

    @staticmethod
    @abstractmethod
    def check(y: Any, X: Any) -> np.ndarray:
        """Return y as an ndarray; raise if it has other rows than X or is not of this kind."""

    @abstractmethod
    def encode(self, y: np.ndarray) -> np.ndarray:
        """Return checked targets encoded; raise ValueError if they differ from the first fit's."""

    def decode(self, encoded: np.ndarray) -> np.ndarray:
        """Return encoded targets as the user gave them."""
        return encoded

    def strata(self, encoded: np.ndarray) -> np.ndarray | None:
        """Return the codes that a hold-out is stratified by, or None to hold out at random."""
        return None

    def row_weights(
        self,
        encoded: np.ndarray,
        sample_weight: Any,
        class_weight: Any = None,
        counted: np.ndarray | None = None,
    ) -> np.ndarray | None:
        """Return the product of sample and class weights for each row, or None without either."""
        return row_weights(encoded, self.classes, sample_weight, class_weight, counted)

    def check_criterion(self, criterion: Criterion) -> None:
        """Raise ValueError if the criterion can't learn these targets."""
        check_criterion(criterion, self.kind, self.description)

    def criterion_adapter(self, criterion: Criterion) -> Callable[..., nn.Module] | None:
        """Return a wrapper that makes the criterion a loss of (output, target), or None."""
        return None

    def score_name(self, criterion: nn.Module) -> str | None:
        """Return the name of the score of each epoch, or None for predictions without one."""
        return "acc"

    @abstractmethod
    def widths(self, criterion: Criterion) -> tuple[int, ...]:
        """Return the widths of an output that fit, the usual one first."""

    def n_outputs(self, criterion: Criterion) -> int:
        """Return the number of outputs that a module usually has."""
        return self.widths(criterion)[0]

    def check_output(self, criterion: nn.Module, output: Tensor, n_rows: int) -> None:
        """Raise ValueError if the module's output does not fit."""
        widths = self.widths(criterion)
        shapes: list[tuple[int, ...]] = [(n_rows, width) for width in widths]
        shapes += [(n_rows,)] if 1 in widths else []
        if tuple(output.shape) not in shapes:
            raise ValueError(
                f"module returned an output of shape {tuple(output.shape)} for a batch of {n_rows} "
                f"rows; {self._expected(criterion, shapes)}. Change the module, or let its "
                "constructor take n_outputs, which is filled in."
            )

    @abstractmethod
    def _expected(self, criterion: nn.Module, shapes: list[tuple[int, ...]]) -> str:
        """Return the part of the error that says what output the targets expect."""

    @abstractmethod
    def target(self, criterion: nn.Module, encoded: np.ndarray, output: Tensor) -> Tensor:
        """Return the criterion's target for encoded targets and an example of an output."""

    @abstractmethod
    def predicted(self, criterion: nn.Module, output: Tensor) -> Tensor:
        """Return the encoded targets that an output predicts."""


class LabelCodec(Codec):
    """A kind of class labels, with scores and probabilities."""

    classes: np.ndarray | list[np.ndarray]

    @classmethod
    @abstractmethod
    def accepts(cls, y: Any, classes: Any = None) -> bool:
        """Return whether y, and the classes that are declared for it, are of this kind."""

    @classmethod
    @abstractmethod
    def of(cls, y: np.ndarray) -> Self:
        """Return the codec of checked targets."""

    @classmethod
    @abstractmethod
    def declared(cls, classes: Any) -> Self:
        """Return the codec of classes that are declared before any target is seen."""

    @abstractmethod
    def is_of(self, classes: Any) -> bool:
        """Return whether these are the codec's classes."""

    @abstractmethod
    def decision(self, criterion: nn.Module, output: Tensor) -> Tensor | list[Tensor]:
        """Return scores, (n_rows, n_classes) or (n_rows,) for two classes; a list for columns."""

    @abstractmethod
    def log_probabilities(self, criterion: nn.Module, output: Tensor) -> Tensor | list[Tensor]:
        """Return log-probabilities, (n_rows, n_classes); a list for columns."""
