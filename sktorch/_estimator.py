"""What the estimators share: from validated arrays to a trained net, and back to outputs."""

import secrets
import warnings
from abc import ABC, abstractmethod
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import numpy as np
import torch
from sklearn import get_config
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted
from torch.utils.data import Dataset, IterableDataset

from sktorch._batching import Part, normalised
from sktorch._callbacks import copies_of_callbacks
from sktorch._components import criterion_factory, is_required, module_factory, parameters_of
from sktorch._device import resolve_device
from sktorch._inputs import check_X, n_inputs, sample_shape, targets_inside
from sktorch._job import TrainingJob
from sktorch._net import params_differ
from sktorch._parameters import ComponentParameters, check_parameters, is_auto
from sktorch.data.datasets import SliceableDataset, Stream
from sktorch.data.loaders import example_of, loader_options
from sktorch.data.splitting import hold_out, split_by
from sktorch.data.structure import tree_leaves
from sktorch.losses.registry import criterion_class
from sktorch.modules import MLP
from sktorch.training.optimizer_names import optimizer_class
from sktorch.training.randomness import RandomStream, all_seeded, numpy_and_python_seeded


class TorchEstimator(CallbackSupportMixin, ComponentParameters, ABC):
    """Base of the estimators. Think twice before adding anything: a function often does."""

    _default_module = MLP

    @property
    def module_(self):
        """The trained module, in eval mode."""
        return self.net_.module_

    @property
    def optimizer_(self):
        """The optimizer, as the last epoch left it."""
        return self.net_.optimizer_

    @property
    def history_(self):
        """skorch's history: one row an epoch, with its batches."""
        return self.net_.history

    @property
    def device_(self):
        """The device that the module is on."""
        return torch.device(self.net_.device)

    @property
    def n_epochs_(self):
        """Number of epochs trained, over all calls that continued the same weights."""
        return len(self.history_)

    @property
    def loss_curve_(self):
        """Mean training loss of each epoch."""
        return self.history_[:, "train_loss"]

    @property
    def validation_scores_(self):
        """Score on the hold-out after each epoch; None without one."""
        name = f"valid_{self.codec_.score_name(self.net_.criterion_)}"
        return [row[name] for row in self.history_.to_list() if name in row] or None

    def _fit(self, X, y, sample_weight, *, n_epochs, resume, whole, groups=None, classes=None):
        """Train for ``n_epochs``, on new weights or on (``resume``) those there are.

        ``whole`` says whether this is a training of its own, rather than a further epoch.
        """
        check_parameters(self)
        device = resolve_device(self.device)
        # The caller may be in no_grad or inference_mode.
        with (
            _fitted_attributes_restored_on_failure(self),
            torch.inference_mode(False),
            torch.enable_grad(),
        ):
            resume = resume and hasattr(self, "net_")
            check_consistent_length(y, groups)
            seed = resolve_seed(self.random_state)
            keep_best = whole and self.early_stopping
            validate = keep_best or (whole and self.validation is not None)
            user_code_draws = isinstance(X, Dataset) or self.validation is not None
            with (
                all_seeded(seed) if user_code_draws else nullcontext()
            ):  # Samples and splitters draw.
                data = self._check_data(X, y, sample_weight, classes, reset=not resume)
                train, valid = data, None
                if validate:
                    train, valid = self._split(data, seed, groups, sample_weight)
            train, valid = normalised(train), normalised(valid)
            net = self.net_ if resume else self._build_net(train, device, seed)
            with net.undone_on_failure() if resume else nullcontext():
                if resume:
                    self._renew(net, seed)
                TrainingJob(self, net, train, valid, n_epochs, partial=not whole).run()
            self.net_ = net
        return self

    def _check_data(self, X, y, sample_weight=None, classes=None, *, reset=False):
        """X, y and weights, checked and encoded, as one part with all rows."""
        has_targets = y is None
        y = targets_inside(X) if has_targets else y
        collate_fn = self._component_parameters("iterator_train").get("collate_fn")
        X = check_X(self, X, reset=reset, has_targets=has_targets, collate_fn=collate_fn)
        # A stream does not know its length: what y has is compared with it as it is read.
        y = self._check_target(y if isinstance(X, Stream) else X, y, classes, reset)
        encoded = self.codec_.encode(y)
        weights = self._row_weights(encoded, sample_weight)
        is_stream = isinstance(X, Stream)  # which can't leave rows out
        index = np.arange(len(y)) if weights is None or is_stream else np.flatnonzero(weights)
        return Part(X, encoded, weights, index)

    def _split(self, data, seed, groups, sample_weight):
        """Rows to train on, and rows to validate on: those of ``validation``, or held out."""
        wish, strata = self.validation, self.codec_.strata(data.y)
        if isinstance(wish, tuple):
            return data, self._check_data(*wish)
        if isinstance(wish, Dataset):
            return data, self._check_data(wish, None)
        if isinstance(data.X, Stream):
            raise ValueError(
                "An IterableDataset can't be split. Pass the rows to validate on as "
                "validation=(X_val, y_val) or as a dataset, or set early_stopping=False."
            )
        if wish is None:
            share = self.validation_fraction
            train, valid = hold_out(data.index, strata, share, seed, groups)
        else:
            y = self.codec_.decode(data.y) if strata is None else strata
            train, valid = split_by(wish, data.index, y, groups)
        # Weights of classes, too, are those of the training rows.
        counted = np.isin(np.arange(len(data.y)), train)
        data = replace(data, weights=self._row_weights(data.y, sample_weight, counted))
        return replace(data, index=train), replace(data, index=valid)

    def _renew(self, net, seed):
        """Take over settings that may have changed since the last ``fit``; warn of the others."""
        changed = [
            n for n, v in self._net_parameters().items() if params_differ(v, net.built_from_.get(n))
        ]
        if changed:
            warnings.warn(
                f"{', '.join(sorted(changed))} changed since the first fit, and training goes on "
                "with the net that was made then. Set warm_start=False and fit to make a new one.",
                stacklevel=5,
            )
        if torch.device(net.device) != net.stream_.device:  # unpickled without its GPU
            net.stream_ = RandomStream(seed, torch.device(net.device))
        optimizer = optimizer_class(self.optimizer)
        net.set_optimizer(optimizer, self.lr, self._component_parameters("optimizer"))
        net.precision_ = self.precision

    def _build_net(self, data, device, seed):
        """A net with new weights; its random numbers are those that follow ``manual_seed``."""
        module = self._default_module if self.module is None else self.module
        criterion, prototype = self._criterion(seed)
        codec = self.codec_
        codec.check_criterion(prototype)
        self._fit_codec(data)
        collate_fn = self._component_parameters("iterator_train").get("collate_fn")
        user_code_draws = isinstance(data.X, SliceableDataset | Stream)
        with all_seeded(seed) if user_code_draws else nullcontext():
            example = example_of(data.X, collate_fn)
        parameters = {
            "module": self._component_parameters("module"),
            "criterion": self._component_parameters("criterion"),
            "optimizer": self._component_parameters("optimizer"),
            "callbacks": self._component_parameters("callbacks"),
        }
        factory = module_factory(module, parameters["module"])
        parameters["module"] |= self._filled_in(
            module, parameters["module"], example, codec.n_outputs(prototype), device
        )
        net = self._net_class(
            module=factory,
            criterion=criterion,
            optimizer=optimizer_class(self.optimizer),
            lr=self.lr,
            max_epochs=self.max_epochs,
            batch_size=self.batch_size,
            train_split=None,
            callbacks=copies_of_callbacks(self.callbacks or []),
            device=str(device),
            verbose=self.verbose,
            use_caching=False,
            **{
                f"{component}__{name}": value
                for component, values in parameters.items()
                for name, value in values.items()
            },
        )
        net.codec_, net.example_, net.initializer_ = codec, example, self.initializer
        net.built_from_ = self._net_parameters()
        net.inference_options_ = self._inference_options()
        net.stream_ = RandomStream(seed, device)
        net.precision_ = self.precision
        with net.stream_, numpy_and_python_seeded(seed):
            net.initialize()
        output = net.example_output_
        codec.check_output(net.criterion_, output, tree_leaves(example)[0].shape[0])
        with RandomStream(seed, device):
            target = codec.target(net.criterion_, data.y[: len(output)], output)
            net.check_loss(target, weighted=data.weights is not None)
        return net

    def _net_parameters(self):
        """The parameters that a net is made of, and keeps."""
        kept = ("module", "criterion", "initializer", "device", "callbacks", "scale_target")
        components = ("module", "criterion", "callbacks")
        return {name: getattr(self, name) for name in kept if hasattr(self, name)} | {
            f"{component}__{name}": value
            for component in components
            for name, value in self._component_parameters(component).items()
        }

    def _criterion(self, seed):
        """What makes the criterion, and one that it made, whose settings can be asked for."""
        given = self._given_criterion() or self.codec_.default_criterion
        self.codec_.check_criterion(given)
        parameters = self._component_parameters("criterion")
        factory = criterion_factory(given, parameters, self.codec_.criterion_adapter(given))
        with RandomStream(seed, torch.device("cpu")):  # One with parameters draws them.
            try:
                prototype = factory(**parameters)
            except TypeError as error:
                names = ", ".join(f"criterion__{name}" for name in parameters)
                raise TypeError(
                    f"criterion {given} can't be made with {names or 'no parameters'}: {error}. "
                    "Change criterion__*."
                ) from error
        return factory, prototype

    def _filled_in(self, module, given, example, n_outputs, device):
        """Constructor parameters of the module that the data decides and the user left out."""
        from_data = {
            "n_outputs": n_outputs,
            "input_shape": self.input_shape_,
            "dtype": _floating_dtype(example, device),
        }
        shape = self.input_shape_
        if not isinstance(shape, dict) and None not in shape and n_inputs(shape) == 1:
            from_data["n_features"] = int(np.prod(shape))
            from_data["cardinalities"] = self.cardinalities_ or (0,) * from_data["n_features"]
        if isinstance(module, torch.nn.Module):
            return {}
        known = parameters_of(module) or {}
        required = "n_features" in known and is_required(known["n_features"])
        if required and "n_features" not in from_data | given:
            raise ValueError(
                f"module {module} takes n_features, but samples of shape {shape} have no "
                "fixed number of values in one array. Choose a module that takes input_shape, such "
                "as sktorch.modules.RecurrentNet for sequences, or give module__n_features. Where "
                "samples of a dataset hold their targets, leave y out: with y, every part is an "
                "input."
            )
        return {
            name: value for name, value in from_data.items() if name not in given and name in known
        }

    def _inference_options(self):
        return loader_options(self.batch_size, False, self._component_parameters("iterator_valid"))

    def _predicted_and_targets(self, X, y):
        """What is predicted for X, and y: that inside the samples of a dataset, if it is None.

        Targets of a stream are those that its samples had when they were predicted.
        """
        if y is None and isinstance(X, IterableDataset):
            X = Stream(X, has_targets=True)
            return self.predict(X), X.last_targets
        return self.predict(X), targets_inside(X) if y is None else y

    def _outputs(self, X):
        """X, checked, and the module's outputs for it, on the module's device."""
        check_is_fitted(self)
        options = self._inference_options()
        X = check_X(self, X, reset=False, collate_fn=options.get("collate_fn"))
        try:
            outputs = self.net_.forward(X, device=self.net_.device, options=options)
        except RuntimeError as error:
            shape = sample_shape(X, options.get("collate_fn"))
            if shape == self.input_shape_:
                raise
            raise ValueError(
                f"X has samples of shape {shape}, but {type(self).__name__} was "
                f"fitted on samples of shape {self.input_shape_}, and its module does not take "
                f"others: {error}. Reshape X."
            ) from error
        if isinstance(X, Stream | SliceableDataset) and not torch.isfinite(outputs).all():
            raise ValueError(
                "The module's outputs for the dataset hold NaN or infinity: its samples do, or "
                "they are too large. Impute or drop them first."
            )
        return X, outputs

    def _given_criterion(self):
        """The criterion that was asked for, by name or itself; None for "auto"."""
        return None if is_auto(self.criterion) else criterion_class(self.criterion)

    def _row_weights(self, encoded, sample_weight, counted=None):
        """One weight a row, or None; "balanced" are the classes of the rows that are counted."""
        class_weight = getattr(self, "class_weight", None)
        return self.codec_.row_weights(encoded, sample_weight, class_weight, counted)

    def _fit_codec(self, train):
        """What the codec has to know of the rows to train on."""

    # What classifier and regressor do each in their own way.

    @property
    @abstractmethod
    def _net_class(self):
        """The net to train."""

    @property
    @abstractmethod
    def _score_of_epoch(self):
        """The score of every epoch, ``(estimator, X, y, weights) -> float``."""

    @abstractmethod
    def _check_target(self, X, y, classes, reset):
        """Checked targets, an ndarray; sets ``codec_`` if ``reset``."""


def resolve_seed(random_state):
    """A seed from 0 to 2**32 - 1: an int as it is, a draw of a generator, or fresh entropy."""
    if random_state is None:
        return secrets.randbits(32)
    if isinstance(random_state, int | np.integer) and 0 <= random_state < 2**32:
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31))


def dispatches() -> bool:
    """Return whether scikit-learn hands arrays of other libraries through."""
    return get_config()["array_api_dispatch"]


def as_array_of(tensor, X):
    """A tensor as the caller wants it: beside X where scikit-learn dispatches, else in numpy."""
    if dispatches() and isinstance(X, torch.Tensor):
        return tensor.to(X.device)
    # numpy has no bfloat16.
    return (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).cpu().numpy()


def _floating_dtype(X, device):
    """float64 for float64, as scikit-learn's networks do; else float32. MPS has no float64."""
    is_double = any(x.dtype in (torch.float64, np.float64) for x in tree_leaves(X))
    return torch.float64 if is_double and device.type != "mps" else torch.float32


@contextmanager
def _fitted_attributes_restored_on_failure(estimator):
    """A failed ``fit`` leaves the estimator as it was before, fitted or not."""
    before = {name: value for name, value in vars(estimator).items() if name.endswith("_")}
    try:
        yield
    except BaseException:
        for name in [name for name in vars(estimator) if name.endswith("_")]:
            delattr(estimator, name)
        vars(estimator).update(before)
        raise
