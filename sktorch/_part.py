"""Rows to train on, or to validate on."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from skorch.dataset import Dataset
from torch.utils.data import Subset

from sktorch._errors import errors_name
from sktorch._net import Net
from sktorch.data.loaders import loader_options
from sktorch.data.source import BatchSettings, Loader, Source
from sktorch.data.tensors import as_array


@dataclass
class Part:
    """Rows of a source with their encoded targets and weights; ``index`` names those in use."""

    source: Source
    y: np.ndarray
    weights: np.ndarray | None
    index: np.ndarray

    @property
    def X(self) -> Any:
        """The rows of the part, as they were given."""
        return self.source.values[self.index] if self.source.is_indexable else self.source.values

    @property
    def used_weights(self) -> np.ndarray | None:
        """Weights of the part's rows."""
        return None if self.weights is None else self.weights[self.index]

    @property
    def dataset(self) -> Any:
        """The dataset that skorch's callbacks are told."""
        if not self.source.is_indexable:
            return self.source.values
        return Subset(Dataset(self.source.values, self.y), self.index)  # type: ignore[arg-type]  # an ndarray indexes as well

    def normalised(self) -> "Part":
        """Return the part with weights of mean one over its rows."""
        if self.weights is None:
            return self
        return replace(self, weights=self.weights / self.weights[self.index].mean())

    def targets_of(self, estimator: BaseEstimator) -> Callable[[], np.ndarray]:
        """Return a function that returns the rows' targets as the user gave them."""
        source = self.source
        if source.holds_targets and not source.is_indexable:  # Every pass may reorder them.
            return lambda: estimator._check_target(self.y, source.targets, None, False)
        y = estimator.codec_.decode(self.y[self.index])
        return lambda: y

    def training_batches(self, estimator: BaseEstimator, net: Net) -> Loader:
        """Return batches in a new order every epoch, with the options of ``iterator_train``."""
        return self._batches(estimator, net, "iterator_train", shuffle=self.source.is_indexable)

    def evaluation_batches(self, estimator: BaseEstimator, net: Net) -> Loader:
        """Return batches in the order of the rows, with the options of ``iterator_valid``."""
        return self._batches(estimator, net, "iterator_valid", shuffle=False)

    def _batches(
        self, estimator: BaseEstimator, net: Net, component: str, *, shuffle: bool
    ) -> Loader:
        codec, output = estimator.codec_, net.example_output_
        given = estimator._component_parameters(component)
        named = partial(errors_name, component, given)
        weights = None
        if self.weights is not None:
            weights = torch.as_tensor(self.weights, dtype=output.dtype)

        def target(y: np.ndarray) -> torch.Tensor:
            return codec.target(net.criterion_, y, output)

        with named():
            return self.source.batches(
                target(self.y),
                weights,
                torch.from_numpy(self.index),
                BatchSettings(
                    net.input_dtype_,
                    torch.device(net.device),
                    loader_options(estimator.batch_size, shuffle, given),
                    estimator.data_placement,
                    keep_order=component == "iterator_valid",  # Scores are compared with rows.
                    encode=lambda targets: target(codec.encode(as_array(targets))),
                    named=named,
                ),
            )
