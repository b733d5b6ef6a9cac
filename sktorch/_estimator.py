"""What the estimators share: from validated arrays to a trained net, and back to outputs."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
import torch
from sklearn import get_config
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted
from torch import nn
from torch.utils.data import Dataset

from sktorch._building import build_net, module_of, resume_net
from sktorch._checkpoint import checkpoint_of, digests_of, seed_of
from sktorch._components import defaults_of, forward_arguments
from sktorch._device import training_device
from sktorch._divergence import check_outputs
from sktorch._errors import errors_name
from sktorch._features import check_features
from sktorch._job import TrainingJob
from sktorch._net import Net, call
from sktorch._outline import outline_of
from sktorch._parameters import ComponentParameters, check_parameters, is_auto
from sktorch._part import Part
from sktorch._private.notebooks import ShownWithDetails
from sktorch._rungs import paused_fit
from sktorch._state import allow_pickling
from sktorch._undo import fitted_or_unchanged
from sktorch._validation import split
from sktorch.data.loaders import loader_options
from sktorch.data.source import Source
from sktorch.data.sources import as_source
from sktorch.data.structure import Outputs, n_rows_of
from sktorch.data.tensors import is_lazy_frame, length
from sktorch.inspection._html import details_html
from sktorch.losses.adapters import innermost
from sktorch.losses.registry import criterion_class, reads_outputs
from sktorch.modules import StandardizedMLP
from sktorch.persistence.estimators import SavedEstimator
from sktorch.targets.codec import Codec, LabelsOfSteps
from sktorch.targets.own import OwnLoss
from sktorch.training.interrupts import leaves_as_found
from sktorch.training.processes import current_processes, together
from sktorch.training.randomness import RandomStream, leaves_generators_as_found
from sktorch.training.settings import OF_TRAINING


class TorchEstimator(
    SavedEstimator, CallbackSupportMixin, ShownWithDetails, ComponentParameters, ABC
):
    """Base of the estimators. Think twice before adding anything: a function often does."""

    _default_module = StandardizedMLP
    _details_html = details_html

    @property
    def module_(self) -> nn.Module:
        """The trained module, in eval mode."""
        return self.net_.module_

    @property
    def optimizer_(self) -> torch.optim.Optimizer:
        """The optimizer, as the last epoch left it."""
        return self.net_.optimizer_

    @property
    def history_(self) -> Any:
        """skorch's history: one row an epoch, with its batches."""
        return self.net_.history

    @property
    def device_(self) -> torch.device:
        """The device that the module is on."""
        return torch.device(self.net_.device)

    @property
    def n_epochs_(self) -> int:
        """Number of epochs trained, over all calls that continued the same weights."""
        return len(self.history_)

    @property
    def loss_curve_(self) -> list[float]:
        """Mean training loss of each epoch."""
        return [row["train_loss"] for row in self.history_.to_list()]

    @property
    def validation_scores_(self) -> list[float] | None:
        """Score on the hold-out after each epoch; None without one."""
        name = f"valid_{self.codec_.score_name(self.net_.criterion_)}"
        return [row[name] for row in self.history_.to_list() if name in row] or None

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        allow_pickling(state)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        # What an older version wrote lacks newer parameters; their defaults change nothing.
        super().__setstate__(defaults_of(type(self)) | state)

    @leaves_as_found(*OF_TRAINING)
    @leaves_generators_as_found
    @together
    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        *,
        groups: Any = None,
        validation: Mapping[str, Any] = {},
        classes: Any = None,
        partial: bool = False,
        per_entry: bool = False,
    ) -> Self:
        """Train on new weights or, with ``warm_start`` and for ``partial_fit``, on those there are.

        ``partial_fit`` is one epoch on all rows. `validation` holds the arguments of ``fit`` that
        are rows to validate on. Several processes train one model, if they call it together.
        """
        processes = current_processes()
        check_parameters(self)
        paused = None if partial else paused_fit()
        device = processes.local(training_device(self.device))
        seed = processes.agreed(seed_of(self, paused, partial=partial))
        resume = (partial or self.warm_start) and hasattr(self, "net_")
        n_epochs = 1 if partial else self.max_epochs

        # With gradients, in whatever mode the caller is.
        @torch.inference_mode(False)
        @torch.enable_grad()
        def fit() -> None:
            data = self._check_data(
                X, y, sample_weight, classes, seed=seed, reset=not resume, per_entry=per_entry
            )
            with errors_name("groups"):
                check_consistent_length(data.y, groups)
            train, valid = data.normalised(), None
            if not partial:
                train, valid = split(self, data, sample_weight, groups, validation, seed)
            if processes.size > 1:
                processes.check_same(outline_of(self, train, valid))
            net = resume_net(self, seed) if resume else build_net(self, train, device, seed)
            job = TrainingJob(self, net, train, valid, n_epochs, partial=partial)
            given = {"sample_weight": sample_weight, "groups": groups, **validation}
            origin = self, data, given, seed, net if resume else None
            if self.checkpoint is not None and not partial:
                job.checkpoint = checkpoint_of(*origin)
            elif paused is not None:
                paused.goes_on_with(lambda: [digests_of(*origin), n_epochs])
                job.checkpoint = paused
            if paused is not None:
                job.until = min(paused.until, n_epochs)
            job.run()
            self.net_ = net
            if paused is not None:
                paused.record(net.history)

        try:
            fitted_or_unchanged(self, fit, resume=resume)
        except LabelsOfSteps:
            given = {"groups": groups, "classes": classes, "partial": partial}
            return self._fit(X, y, sample_weight, validation=validation, **given, per_entry=True)
        return self

    def _check_data(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        classes: Any = None,
        *,
        seed: int,
        reset: bool = False,
        per_entry: bool = False,
    ) -> Part:
        """Return X, y and weights, checked and encoded, as one part with all rows."""
        y = y.collect() if is_lazy_frame(y) else y
        options = self._component_parameters("iterator_train")
        source = self._source(
            X,
            options,
            has_targets=y is None and not self._without_target(),
            fitted=not reset,
            n_rows=length(y),
            arguments=forward_arguments(module_of(self)),
        )
        if self._without_target():
            check_consistent_length(y, source.values if source.is_indexable else None)
        y = _by_stream(source, seed)(self._looked_at, source, y, reset)
        # A stream does not know its length: that of y is compared with it as it is read.
        rows = source.values if source.is_indexable else y
        with errors_name("y"):
            y = self._check_target(rows, y, classes, reset, per_entry)
            encoded = self.codec_.encode(y)
        weights = self._row_weights(encoded, sample_weight)
        index = np.arange(len(y))
        if weights is not None and source.is_indexable:
            index = np.flatnonzero(weights)
        return Part(source, encoded, weights, index)

    def _looked_at(self, source: Source, y: Any, reset: bool) -> Any:
        """Check the features of a source; return its targets where y does not hold them."""
        if self._without_target():
            y = np.zeros((source.count_rows(), 0))
        y = source.targets if y is None else y
        check_features(self, source, reset=reset)
        return y

    def _inference_options(self) -> dict[str, Any]:
        given = self._component_parameters("iterator_valid")
        with errors_name("iterator_valid", given):
            return loader_options(self.batch_size, False, given)

    def _predicted_and_targets(self, X: Any, y: Any) -> tuple[Any, Any]:
        """Return predictions for X and the targets to score them with: X's own if y is None."""
        if y is not None:
            return self.predict(X), y.collect() if is_lazy_frame(y) else y

        def predicted_and_targets() -> tuple[Any, Any]:
            source = self._source_to_predict(X, self._inference_options(), has_targets=True)
            return self.predict(source), source.targets  # Those of the pass that was predicted.

        return self._drawing_for(X)(predicted_and_targets)

    def _source(
        self,
        X: Any,
        options: dict[str, Any],
        *,
        has_targets: bool | None,
        fitted: bool,
        n_rows: int | None = None,
        arguments: tuple[str, ...] | None,
    ) -> Source:
        with errors_name("X"):
            return as_source(
                X,
                has_targets=has_targets,
                collate_fn=options.get("collate_fn"),
                fitted_shape=self.input_shape_ if fitted else None,
                checked_for=type(self).__name__,
                n_rows=n_rows,
                arguments=arguments,
            )

    def _source_to_predict(
        self, X: Any, options: dict[str, Any], has_targets: bool | None = None
    ) -> Source:
        if not hasattr(self, "net_"):
            check_is_fitted(self)
        return self._source(
            X,
            options,
            has_targets=has_targets,
            fitted=True,
            arguments=self.net_.arguments_,
        )

    def _drawing_for(self, X: Any) -> Callable:
        """Return a caller of functions that reads X: a dataset's code may draw random numbers."""
        if not (isinstance(X, Dataset) or getattr(type(X), "runs_user_code", False)):
            return call
        check_is_fitted(self)
        return self.net_.prediction_stream().run

    def _outputs(self, X: Any) -> tuple[Any, Outputs]:
        """Return X, checked, and the module's outputs for it, on the module's device."""
        return self._drawing_for(X)(self._outputs_of, X)

    def _outputs_of(self, X: Any) -> tuple[Any, Outputs]:
        options = self._inference_options()
        source = self._source_to_predict(X, options)
        check_features(self, source, reset=False)
        try:
            outputs = self.net_.forward(source, device=self.net_.device, options=options)
        except RuntimeError as error:
            if source.shape == self.input_shape_:
                raise
            raise ValueError(
                f"X has samples of shape {source.shape}, but {type(self).__name__} was "
                f"fitted on samples of shape {self.input_shape_}, and its module does not take "
                f"others: {error}. Reshape X."
            ) from error
        check_outputs(self.net_, outputs, "the dataset" if source.runs_user_code else "X")
        return source.values, outputs

    def _given_criterion(self) -> Any:
        """Return the criterion that was asked for, by name or itself; None for "auto"."""
        return None if is_auto(self.criterion) else criterion_class(self.criterion)

    def _without_target(self) -> bool:
        """Return whether the criterion trains on X alone."""
        return False

    def _reading_of(self, codec: Codec) -> Codec:
        """Return the codec, inside another if the criterion says what its outputs predict."""
        given = self._given_criterion()
        parameters = self._component_parameters("criterion")
        return OwnLoss(codec) if given and reads_outputs(given, parameters) else codec

    def _own_score(self, X: Any, y: Any, sample_weight: Any) -> float | None:
        """Return the score that the criterion defines; None if it leaves that to the estimator."""
        codec, criterion = self.codec_, self.net_.criterion_
        if not isinstance(codec, OwnLoss) or codec.score_name(criterion) not in ("score", None):
            return None
        loss = innermost(criterion)
        if not hasattr(loss, "score") or sample_weight is not None:
            raise ValueError(
                f"The criterion {loss!r} does not say how to score "
                f"{'with sample_weight' if hasattr(loss, 'score') else 'its predictions'}. Give it "
                "a method score(output, target) and leave sample_weight out, or pass scoring to "
                "what asks for the score."
            )
        if y is None and not self._without_target():

            def outputs_and_targets() -> tuple[Any, Outputs, Any]:
                source = self._source_to_predict(X, self._inference_options(), has_targets=True)
                return *self._outputs(source), source.targets

            X, outputs, y = self._drawing_for(X)(outputs_and_targets)
        else:
            X, outputs = self._outputs(X)
        rows = np.zeros((n_rows_of(outputs), 0))
        y = rows if self._without_target() else self._check_target(rows, y, None, False)
        return codec.score(criterion, outputs, y)

    def _row_weights(
        self, encoded: np.ndarray, sample_weight: Any, counted: np.ndarray | None = None
    ) -> np.ndarray | None:
        """Return one weight a row, or None; "balanced" are the classes of the counted rows."""
        class_weight = getattr(self, "class_weight", None)
        return self.codec_.row_weights(encoded, sample_weight, class_weight, counted)

    def _fit_codec(self, train: Part) -> None:
        """Tell the codec what it has to know of the rows to train on."""

    # What classifier and regressor do each in their own way.

    @abstractmethod
    def predict(self, X: Any) -> Any:
        """Return predictions for X."""

    @property
    @abstractmethod
    def _net_class(self) -> type[Net]:
        """The net to train."""

    @property
    @abstractmethod
    def _score_of_epoch(self) -> Callable[..., float]:
        """The score of every epoch, ``(estimator, X, y, weights) -> float``."""

    @abstractmethod
    def _check_target(
        self, X: Any, y: Any, classes: Any, reset: bool, per_entry: bool = False
    ) -> np.ndarray:
        """Return checked targets; set ``codec_`` if ``reset``, to labels ``per_entry`` if so."""


def dispatches() -> bool:
    """Return whether scikit-learn hands arrays of other libraries through."""
    return get_config()["array_api_dispatch"]


def as_array_of(tensor: torch.Tensor, X: Any) -> Any:
    """Return a tensor beside X where scikit-learn dispatches, else an ndarray."""
    if dispatches() and isinstance(X, torch.Tensor):
        return tensor.to(X.device)
    # numpy has no bfloat16.
    return (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).cpu().numpy()


def _by_stream(source: Source, seed: int) -> Callable:
    """Return a caller of functions that look at samples, whose code may draw random numbers."""
    return RandomStream(seed, torch.device("cpu")).run if source.runs_user_code else call
