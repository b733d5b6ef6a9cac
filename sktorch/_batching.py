"""Parts of the data, for training and for validation, and their batches."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from skorch.dataset import Dataset
from torch.utils.data import Subset

from sktorch.data.datasets import Stream, as_array
from sktorch.data.factory import make_batches
from sktorch.data.loaders import loader_options, stream_batches


@dataclass
class Part:
    """Rows to train on, or to validate on.

    Attributes
    ----------
    X : array, dict of arrays, sequences, SliceableDataset or Stream
    y : ndarray of shape (n_samples, ...)
        Encoded targets.
    weights : ndarray of shape (n_samples,), or None
        Of mean one over the part's rows.
    index : ndarray of int
        The part's rows among those of X.
    """

    X: object
    y: np.ndarray
    weights: np.ndarray | None
    index: np.ndarray

    def targets_of(self, estimator):
        """A function without arguments that returns the rows' targets as the user gave them."""
        if isinstance(self.X, Stream) and self.X.has_targets:
            return lambda: estimator._check_target(self.y, self.X.last_targets, None, False)
        y = estimator.codec_.decode(self.y[self.index])
        return lambda: y

    @property
    def used_weights(self):
        """Weights of the part's rows, or None."""
        return None if self.weights is None else self.weights[self.index]


def normalised(part):
    """The part with weights of mean one over its rows; None stays None."""
    if part is None or part.weights is None:
        return part
    mean = part.used_weights.sum() / len(part.index)
    return replace(part, weights=part.weights / mean)


class BatchMaker:
    """Cuts parts into batches; parts of the same X share what is converted and moved.

    Parameters
    ----------
    estimator : TorchEstimator
    net : Net
    device : torch.device
    """

    def __init__(self, estimator, net, device):
        self.estimator, self.net, self.device = estimator, net, device
        self._placed = {}

    def batches(self, part, component, shuffle):
        """Batches of a part, with the options of an ``iterator_train`` or ``iterator_valid``."""
        dtype, device = self.net.input_dtype_, self.device
        is_stream = isinstance(part.X, Stream)  # It has an order of its own.
        options = loader_options(
            self.estimator.batch_size,
            shuffle and not is_stream,
            self.estimator._component_parameters(component),
        )
        weights = part.weights
        if weights is not None:
            weights = torch.as_tensor(weights, dtype=self.net.example_output_.dtype)
        keep_order = component == "iterator_valid"  # What is scored is compared with the rows.
        if is_stream:
            beside = None if part.X.has_targets else self._target(part.y)
            return stream_batches(
                part.X,
                self._encoded,
                beside,
                weights,
                dtype=dtype,
                device=device,
                options=options,
                keep_order=keep_order,
            )
        return make_batches(
            part.X,
            self._target(part.y),
            weights,
            torch.from_numpy(part.index),
            dtype=dtype,
            device=device,
            wish=self.estimator.data_placement,
            options=options,
            placed=self._placed,
            keep_order=keep_order,
        )

    def _target(self, y):
        return self.estimator.codec_.target(self.net.criterion_, y, self.net.example_output_)

    def _encoded(self, targets):
        """What the loss takes for the targets of a batch of a stream's samples."""
        return self._target(self.estimator.codec_.encode(as_array(targets)))


def dataset_of(part):
    """A part as the dataset that skorch's callbacks are told."""
    if isinstance(part.X, Stream):
        return part.X.dataset
    return Subset(Dataset(part.X, part.y), part.index)
