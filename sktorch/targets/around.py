"""The codec of outputs that are read in another way than those of y's kind."""

from typing import Any

import numpy as np
from torch import nn

from sktorch.losses.adapters import Criterion
from sktorch.targets.codec import Codec, LabelCodec


class AroundCodec(Codec):
    """A codec around that of y, ``targets``, which goes on to encode and decode y."""

    def __init__(self, targets: Codec) -> None:
        self._targets, self.classes = targets, targets.classes
        self.kind = targets.kind

    @property
    def targets(self) -> Codec:
        """The codec of y."""
        return self._targets

    @staticmethod
    def check(y: Any, X: Any) -> np.ndarray:
        """Raise: y is checked by the codec of its kind."""
        raise NotImplementedError

    def encode(self, y: np.ndarray) -> np.ndarray:
        """Return checked targets encoded."""
        return self.targets.encode(y)

    def decode(self, encoded: np.ndarray) -> np.ndarray:
        """Return encoded targets as the user gave them."""
        return self.targets.decode(encoded)

    def strata(self, encoded: np.ndarray) -> np.ndarray | None:
        """Return the codes that a hold-out is stratified by, or None."""
        return self.targets.strata(encoded)

    def row_weights(self, encoded: np.ndarray, *weights: Any) -> np.ndarray | None:
        """Return the product of sample and class weights for each row, or None without either."""
        return self.targets.row_weights(encoded, *weights)

    def is_of(self, classes: Any) -> bool:
        """Return whether these are the classes of y."""
        assert isinstance(self.targets, LabelCodec)
        return self.targets.is_of(classes)

    def accuracy(self, y: np.ndarray, predicted: np.ndarray, weights: Any = None) -> float:
        """Return the accuracy that targets of this kind have."""
        assert isinstance(self.targets, LabelCodec)
        return self.targets.accuracy(y, predicted, weights)

    def widths(self, criterion: Criterion) -> tuple[int, ...]:
        """Return the widths that an output of these targets has by itself."""
        return self.targets.widths(criterion)

    def _expected(self, criterion: nn.Module, shapes: list[tuple[int, ...]]) -> str:
        return "any"
