"""The protocol of all kinds of targets, with its defaults."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from sktorch.losses.adapters import Criterion
from sktorch.losses.registry import TargetKind, check_criterion, is_known
from sktorch.targets.decoding import Decoding
from sktorch.targets.weights import row_weights


class LabelsOfSteps(Exception):
    """The columns of y turn out to be steps of a sequence, by the module's output."""


class Codec(ABC):
    """A kind of targets: how y is encoded for a loss, and how the module's outputs are decoded.

    ``n_rows`` is the number of rows of a batch, ``encoded`` an ndarray of the targets' rows.
    """

    # The criterion for "auto".
    default_criterion: ClassVar[type[nn.Module]]
    # The links that a criterion may have, and the words for these targets in its error.
    kind: TargetKind
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

    def decode_predicted(self, predicted: Any) -> Any:
        """Return predictions, encoded as `predicted` returns them, as the user gets them."""
        return self.decode(predicted)

    @property
    def targets(self) -> "Codec":
        """The codec of y, which is this one unless a loss has outputs of its own."""
        return self

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

    def n_outputs(self, criterion: Criterion) -> int | None:
        """Return the number of outputs that a module usually has; None if any will do."""
        return next(iter(self.widths(criterion)), None)

    def check_output(self, criterion: nn.Module, output: Tensor, n_rows: int) -> None:
        """Raise ValueError if the module's output does not fit."""
        shapes = self._shapes(criterion, n_rows)
        if tuple(output.shape) not in shapes:
            raise ValueError(
                f"module returned an output of shape {tuple(output.shape)} for a batch of {n_rows} "
                f"rows; {self._expected(criterion, shapes)}. Change the module, or let its "
                f"constructor take n_outputs, which is filled in.{_own_way(criterion)}"
            )

    def _shapes(self, criterion: nn.Module, n_rows: int) -> list[tuple[int, ...]]:
        """Return the shapes of an output that fit, the usual one first."""
        widths = self.widths(criterion)
        return [(n_rows, width) for width in widths] + ([(n_rows,)] if 1 in widths else [])

    @abstractmethod
    def _expected(self, criterion: nn.Module, shapes: list[tuple[int, ...]]) -> str:
        """Return the part of the error that says what output the targets expect."""

    @abstractmethod
    def target(self, criterion: nn.Module, encoded: np.ndarray, output: Tensor) -> Tensor:
        """Return the criterion's target for encoded targets and an example of an output."""

    def plain_target(self, encoded: np.ndarray, dtype: torch.dtype) -> Tensor:
        """Return the target of a loss of the user's own, which takes codes of classes."""
        return torch.as_tensor(encoded, device="cpu")

    @abstractmethod
    def predicted(self, criterion: nn.Module, output: Tensor) -> Tensor:
        """Return the encoded targets that an output predicts."""

    @abstractmethod
    def decoding(self, criterion: nn.Module, dtype: torch.dtype) -> nn.Module:
        """Return a module that makes the estimator's predictions of outputs of a dtype.

        Predictions are probabilities for labels, else numbers.
        """


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

    @classmethod
    def made(cls, y: np.ndarray, classes: Any = None, ignored: int | None = None) -> Self:
        """Return the codec of checked targets, or of the classes declared for them.

        Where rows have many labels, one of them may be ``ignored`` by the criterion.
        """
        return cls.of(y) if classes is None else cls.declared(classes)

    def accuracy(self, y: np.ndarray, predicted: np.ndarray, weights: Any = None) -> float:
        """Return the share of the rows in which the label, or each of several labels, is right."""
        right = predicted == y
        return float(np.average(right if right.ndim == 1 else right.all(axis=1), weights=weights))

    @abstractmethod
    def is_of(self, classes: Any) -> bool:
        """Return whether these are the codec's classes."""

    @abstractmethod
    def decision(self, criterion: nn.Module, output: Tensor) -> Tensor | list[Tensor]:
        """Return scores, (n_rows, n_classes) or (n_rows,) for two classes; a list for columns."""

    @abstractmethod
    def log_probabilities(self, criterion: nn.Module, output: Tensor) -> Tensor | list[Tensor]:
        """Return log-probabilities, (n_rows, n_classes); a list for columns."""

    def probabilities(self, criterion: nn.Module, output: Tensor) -> Tensor | list[Tensor]:
        """Return probabilities in the shape of `log_probabilities`."""
        log_p = self.log_probabilities(criterion, output)
        return [part.exp() for part in log_p] if isinstance(log_p, list) else log_p.exp()

    def decoding(self, criterion: nn.Module, dtype: torch.dtype) -> nn.Module:
        """Return a module that makes probabilities of outputs."""
        return Decoding(self.probabilities, criterion)


def _own_way(criterion: nn.Module) -> str:
    """Return how a loss of the user's own makes sense of any output, for an error."""
    if is_known(criterion):
        return ""
    return " Or give the criterion a method predict(output) that makes predictions of such outputs."


def check_not_steps(output: Tensor, n_columns: int) -> None:
    """Raise if an output scores classes for each of as many steps, (n_rows, n_classes, n_steps)."""
    if output.ndim == 3 and output.shape[2] == n_columns:
        raise LabelsOfSteps
