"""The classifier: labels, scores and probabilities."""

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.callback import with_callbacks
from sklearn.utils.metaestimators import available_if
from torch import nn

from sktorch._base import TorchEstimator, as_array_of
from sktorch._net import ClassifierNet, predicted_codes
from sktorch._targets import (
    check_labels,
    classes_of,
    dispatches,
    encode_labels,
    hold_out,
    row_weights,
)
from sktorch.training.losses import link_of


def _has_probabilities(estimator):
    if link_of(estimator.criterion).log_probabilities is None:
        raise AttributeError(
            f"criterion={estimator.criterion!r} defines no probabilities. Use predict or "
            "decision_function, or a criterion that does, such as nn.CrossEntropyLoss."
        )
    return True


class TorchClassifier(ClassifierMixin, TorchEstimator):
    """doc"""

    _net_class = ClassifierNet

    def __init__(
        self,
        module=None,
        *,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.AdamW,
        lr=1e-3,
        max_epochs=200,
        batch_size=128,
        device="auto",
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        tol=1e-4,
        class_weight=None,
        callbacks=None,
        warm_start=False,
        random_state=None,
        verbose=0,
        **component_parameters,
    ):
        self.module = module
        self.criterion = criterion
        self.optimizer = optimizer
        self.lr = lr
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.device = device
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.class_weight = class_weight
        self.callbacks = callbacks
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self._set_component_parameters(component_parameters)

    @with_callbacks
    def fit(self, X, y, sample_weight=None):
        return self._fit(
            X,
            y,
            sample_weight,
            n_epochs=self.max_epochs,
            resume=self.warm_start,
            hold_out=self.early_stopping,
        )

    @with_callbacks
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        if classes is None and not hasattr(self, "net_"):
            raise ValueError("classes must be passed on the first call to partial_fit.")
        return self._fit(
            X, y, sample_weight, n_epochs=1, resume=True, hold_out=False, classes=classes
        )

    def predict(self, X):
        X, outputs = self._outputs(X)
        codes = predicted_codes(self.net_.criterion_, outputs, len(self.classes_))
        return self._labels(codes, X)

    def decision_function(self, X):
        X, outputs = self._outputs(X)
        scores = link_of(self.net_.criterion_).scores(outputs)
        if scores.ndim == 2 and len(self.classes_) == 2:
            scores = scores[:, 1] - scores[:, 0]
        return as_array_of(scores, X)

    @available_if(_has_probabilities)
    def predict_proba(self, X):
        X, log_probabilities = self._log_probabilities(X)
        return as_array_of(log_probabilities.exp(), X)

    @available_if(_has_probabilities)
    def predict_log_proba(self, X):
        X, log_probabilities = self._log_probabilities(X)
        return as_array_of(log_probabilities, X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.three_d_array = True
        # Tensors of torch go through, those of other array libraries don't: no array_api_support.
        return tags

    def _log_probabilities(self, X):
        X, outputs = self._outputs(X)
        if len(self.classes_) == 1:
            return X, outputs.new_zeros(len(outputs), 1)
        return X, link_of(self.net_.criterion_).log_probabilities(outputs)

    def _labels(self, codes, X):
        """Labels of codes, beside X where they are numbers and scikit-learn dispatches."""
        classes = self.classes_
        if isinstance(classes, np.ndarray):
            labels = classes[codes.cpu().numpy()]
            return labels if labels.dtype.kind not in "biuf" else _beside(X, labels)
        return classes.to(codes.device)[codes].to(X.device)

    def _check_target(self, X, y, sample_weight, classes, reset):
        y = check_labels(y, X)
        if reset:
            self.classes_ = classes_of(y if classes is None else check_labels(classes, classes))
        elif classes is not None and not np.array_equal(classes_of(classes), self.classes_):
            raise ValueError(
                f"classes={classes!r} is not what it was on the first call to partial_fit, "
                f"{self.classes_!r}. Leave it out, or fit again."
            )
        codes = encode_labels(y, self.classes_)
        return codes, row_weights(codes, self.classes_, sample_weight, self.class_weight)

    def _hold_out(self, index, y, seed):
        return hold_out(index, y, self.validation_fraction, seed)

    def _n_outputs(self):
        return link_of(self.criterion).widths(len(self.classes_))[0]

    def _check_net(self, net):
        net.n_classes_ = len(self.classes_)
        output, widths = net.example_output_, link_of(net.criterion_).widths(net.n_classes_)
        width = 1 if output.ndim == 1 else output.shape[-1]
        if output.ndim > 2 or len(output) != net.example_.shape[0] or width not in widths:
            raise ValueError(
                f"module returned an output of shape {tuple(output.shape)} for a batch of "
                f"{net.example_.shape[0]} rows; {net.criterion_} on {net.n_classes_} classes expects "
                f"{' or '.join(map(str, widths))} column(s). Change the module, or let its "
                "constructor take n_outputs, which is filled in."
            )

    def _target(self, net, y):
        encode = link_of(net.criterion_).encode
        return encode(torch.from_numpy(y), len(self.classes_), net.example_output_)

    def _decode(self, y):
        return self.classes_[y]

    def _validation_score(self, net, data):
        """Accuracy, weighted as the loss is."""
        if data.valid is None:
            return None
        codes = torch.from_numpy(data.y[data.valid]).to(net.device)
        weights = None if data.weights is None else torch.from_numpy(data.weights[data.valid])

        def accuracy(outputs):
            hits = predicted_codes(net.criterion_, outputs, len(self.classes_)) == codes
            return np.average(hits.cpu().numpy(), weights=weights).item()

        return accuracy


def _beside(X, labels):
    if dispatches() and isinstance(X, torch.Tensor):
        return torch.from_numpy(labels).to(X.device)
    return labels
