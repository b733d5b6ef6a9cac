"""The protocol of the kinds of X."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from sktorch.data.structure import Batch, Inputs, tree_map

# A tuple; a dict or tuple of them for several inputs. A length that varies is None.
Shape = Any


class Loader(Protocol):
    """The batches of an epoch, another one every time it is iterated."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Batch]: ...


@dataclass(frozen=True)
class Settings:
    """Settings with which X becomes a source.

    Attributes
    ----------
    has_targets : bool or None
        Whether the samples of a dataset hold their targets; None, if that is to be told from the
        number of inputs of ``fitted_shape``.
    collate_fn : callable or None
        Stacks the samples of a dataset; None stacks tensors of one shape.
    fitted_shape : tuple, dict or None
        Shape of the samples that the module was fitted on.
    checked_for : str or None
        Name of the estimator in whose name values are checked as scikit-learn does; None leaves
        them unchecked.
    """

    has_targets: bool | None = False
    collate_fn: Callable | None = None
    fitted_shape: Shape = None
    checked_for: str | None = None


@dataclass(frozen=True)
class BatchSettings:
    """Settings of the batches of a source.

    Attributes
    ----------
    dtype, device : torch.dtype, torch.device
        Of the inputs.
    options : dict
        Arguments of a ``DataLoader``.
    placement : str
        Where the rows are to be kept, one of `PLACEMENTS`.
    keep_order : bool
        Whether to refuse what gives rows in another order.
    encode : callable or None
        Makes a tensor of the targets that samples hold, where passes differ in their order.
    named : callable
        Returns a context whose errors name the options given, to begin a ``DataLoader`` in.
    """

    dtype: torch.dtype
    device: torch.device
    options: dict[str, Any]
    placement: str = "auto"
    keep_order: bool = False
    encode: Callable[[list], torch.Tensor] | None = None
    named: Callable[[], AbstractContextManager] = nullcontext


class Source(ABC):
    """Data of one kind, which become batches to train on and inputs to predict.

    Attributes
    ----------
    given : object
        X, which has the names of its columns.
    values : object
        X checked and converted, as callbacks get it.
    """

    values: Any
    has_features = False  # columns, which scikit-learn counts and whose names it compares
    cardinalities: tuple[int, ...] | None = None  # number of codes of each column, 0 for numbers
    is_indexable = True  # can be split, shuffled, and left without some rows
    runs_user_code = False  # makes samples when asked for: it may draw, and they are unchecked

    def __init__(self, X: Any, settings: Settings) -> None:
        self.given, self.settings = X, settings

    @staticmethod
    @abstractmethod
    def accepts(X: Any, settings: Settings) -> bool:
        """Say whether X is of this kind."""

    @property
    @abstractmethod
    def n_rows(self) -> int | None:
        """The number of rows; None where only a pass over them tells."""

    @property
    def is_lazy(self) -> bool:
        """Whether the rows are never made dense as a whole."""
        return True

    @property
    def holds_targets(self) -> bool:
        """Whether the last part of a sample is its target."""
        return False

    @property
    def shape(self) -> Shape:
        """The shape of a sample."""
        return shape_of(self.values)

    @property
    @abstractmethod
    def example(self) -> Any:
        """Up to two rows as the module gets them, but for dtype and device."""

    @property
    def targets(self) -> np.ndarray:
        """The targets that the samples hold."""
        raise ValueError(
            "This estimator requires y to be passed, but the target y is None. Only a dataset may "
            "hold its targets."
        )

    def placement(self, dtype: torch.dtype, device: torch.device, requested: str) -> str:
        """Return where rows are kept: "device", "host" or "source"."""
        return "source"

    @abstractmethod
    def batches(
        self,
        targets: torch.Tensor,
        weights: torch.Tensor | None,
        index: torch.Tensor,
        settings: BatchSettings,
    ) -> Loader:
        """Return batches of the rows that an index names."""

    @abstractmethod
    def inputs(
        self, dtype: torch.dtype, device: torch.device, *, n_rows: int, options: dict[str, Any]
    ) -> Iterator[Inputs]:
        """Yield the inputs of all rows in their order, at most ``n_rows`` at a time."""


def shape_of(values: Any) -> Shape:
    """Return the shape of the samples of arrays or tensors, or of a dict or tuple of them."""
    return tree_map(lambda x: tuple(x.shape[1:]), values)


def shape_of_samples(example: Any, first: Any) -> Shape:
    """Return the shape of samples that were collated, told from the inputs of the first."""
    if isinstance(example, tuple) and not isinstance(first, tuple):  # padded, and their lengths
        return (None, *np.shape(first)[1:])
    return shape_of(example)


def n_inputs(shape: Shape) -> int:
    """Return how many positional inputs samples of a shape have."""
    several = isinstance(shape, tuple) and any(isinstance(part, tuple) for part in shape)
    return len(shape) if several else 1


def no_samples(settings: Settings) -> ValueError:
    """Return the error of a dataset without samples."""
    return ValueError(
        "Found a dataset with 0 sample(s) while a minimum of 1 is required by "
        f"{settings.checked_for or 'a module'}."
    )
