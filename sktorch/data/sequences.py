"""Sequences of several lengths, padded a batch at a time."""

from typing import Any

import numpy as np
import torch

from sktorch.data.arrays import check_values
from sktorch.data.batches import Batches
from sktorch.data.dtypes import Dtypes
from sktorch.data.padding import pad_sequences
from sktorch.data.rows import RowSource
from sktorch.data.source import Settings, Shape
from sktorch.targets.arrays import as_numpy


class PaddedBatches(Batches):
    """Batches as long as the longest sequence in them: hardly two are of one shape."""

    cuts_blocks = False


class Sequences(RowSource):
    """A list, or an ndarray of objects, of arrays or lists whose first dimension differs."""

    cut_batches = PaddedBatches
    collate_fn = staticmethod(pad_sequences)

    def __init__(self, X: Any, settings: Settings) -> None:
        super().__init__(X, settings)
        name = settings.checked_for
        self.values = np.empty(len(X), dtype=object)
        for position, x in enumerate(X if name is None else _checked(X, name)):
            # All at once, numpy would stack those of one length.
            self.values[position] = np.asarray(x) if isinstance(x, list) else x

    @staticmethod
    def accepts(X: Any, settings: Settings) -> bool:
        """Accept arrays that can't be stacked, or that come after such as were fitted."""
        shape = settings.fitted_shape
        fitted = isinstance(shape, tuple) and shape[:1] == (None,)
        if isinstance(X, np.ndarray | torch.Tensor) and X.dtype != object:
            return fitted and X.ndim == len(shape) + 1  # They happen to be of one length.
        if not isinstance(X, list | np.ndarray) or not len(X):
            return False
        shapes = {np.shape(x) if hasattr(x, "shape") else _shape_of_list(x) for x in X}
        if () in shapes:
            return False
        of_arrays = isinstance(X, np.ndarray) and X.ndim == 1  # A fold's may be of one length.
        return fitted or of_arrays or len(shapes) > 1

    @property
    def shape(self) -> Shape:
        """The shape of a sequence, whose length varies."""
        return (None, *self.values[0].shape[1:])

    def stack(self, values: Any) -> Any:
        """Return sequences padded to the longest, and their lengths."""
        return pad_sequences([*values])

    def sample(self, position: int, dtypes: Dtypes, device: torch.device) -> Any:
        """Return one sequence: they are padded together."""
        return self.values[position]


def _shape_of_list(x: Any) -> tuple[int, ...]:
    """Return the length of a list; what is neither list nor array has none."""
    return (len(x),) if isinstance(x, list) else ()


def _checked(X: Any, name: str) -> list[np.ndarray]:
    """Return sequences of one dtype and one shape of steps, checked as scikit-learn does."""
    sequences = [
        check_values(as_numpy(x), name, f"X[{position}]", n_dims=1) for position, x in enumerate(X)
    ]
    shapes = {x.shape[1:] for x in sequences}
    if len(shapes) > 1:
        raise ValueError(
            f"X holds sequences whose steps have the shapes {sorted(shapes)}; expected one shape. "
            "Only the first dimension, the length, may differ: resize, crop or pad the others."
        )
    dtype = np.result_type(*{x.dtype for x in sequences})  # Batches have one.
    return [x.astype(dtype, copy=False) for x in sequences]
