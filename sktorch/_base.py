"""What the estimators share: from validated arrays to a trained net, and back to outputs."""

import secrets
import traceback
import warnings
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from inspect import signature

import numpy as np
import torch
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from skorch.dataset import Dataset
from torch.utils.data import Subset

from sktorch._components import copies_of_callbacks, criterion_factory, module_factory, takes
from sktorch._device import current_device, resolve_device
from sktorch._inputs import check_X, sample_shape
from sktorch._net import StopTraining
from sktorch._parameters import ComponentParameters, check_parameters
from sktorch._targets import dispatches
from sktorch.data.batches import Batches, LoaderBatches, loader_options
from sktorch.data.placement import AheadBatches, choose_placement, placed_rows
from sktorch.data.structure import leaves
from sktorch.modules import MLP
from sktorch.training.engine import Engine
from sktorch.training.randomness import RandomStream, numpy_and_python_seeded
from sktorch.training.stopping import BestWeights, Plateau
from sktorch.training.subnormals import subnormals_flushed
from sktorch.training.threads import threads_worth

REORDERING = {"shuffle", "sampler", "batch_sampler", "drop_last"}


@dataclass
class TrainingData:
    """What one ``fit`` trains on.

    Attributes
    ----------
    X : ndarray, sparse array or torch.Tensor of shape (n_samples, ...)
    y : ndarray of shape (n_samples,)
        Encoded targets: class codes.
    weights : ndarray of shape (n_samples,), or None
    train, valid : ndarray of int
        Rows to train on and to hold out; ``valid`` is None without a hold-out.
    """

    X: object
    y: np.ndarray
    weights: np.ndarray | None
    train: np.ndarray
    valid: np.ndarray | None


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
        name = self.net_.score_name
        return [row[name] for row in self.history_.to_list() if name in row] or None

    def _fit(self, X, y, sample_weight, *, n_epochs, resume, hold_out, classes=None):
        """Train for ``n_epochs``, on new weights or on (``resume``) those there are."""
        check_parameters(self)
        device = resolve_device(self.device)
        # The caller may be in no_grad or inference_mode.
        with (
            _fitted_attributes_restored_on_failure(self),
            torch.inference_mode(False),
            torch.enable_grad(),
        ):
            resume = resume and hasattr(self, "net_")
            X = check_X(self, X, reset=not resume)
            y, weights = self._check_target(X, y, sample_weight, classes, reset=not resume)
            seed = resolve_seed(self.random_state)
            data = self._split(X, y, weights, seed if hold_out else None)
            if resume:
                net = self.net_
                if torch.device(net.device) != net.stream_.device:  # unpickled without its GPU
                    net.stream_ = RandomStream(seed, torch.device(net.device))
                with net.undone_on_failure():
                    net.set_optimizer(
                        self.optimizer, self.lr, self._component_parameters("optimizer")
                    )
                    net.precision_ = self.precision
                    self._train(net, data, n_epochs)
            else:
                net = self._build_net(data, device, seed)
                self._train(net, data, n_epochs)
            self.net_ = net
        return self

    def _split(self, X, y, weights, seed):
        """Leave out rows without weight, and hold some out if a seed is given for it."""
        index = np.arange(len(y)) if weights is None else np.flatnonzero(weights)
        train, valid = (index, None) if seed is None else self._hold_out(index, y, seed)
        for part in (train, valid):
            if weights is not None and part is not None:
                weights[part] *= len(part) / weights[part].sum()
        return TrainingData(X, y, weights, train, valid)

    def _build_net(self, data, device, seed):
        """A net with new weights; its random numbers are those that follow ``manual_seed``."""
        module = self._default_module if self.module is None else self.module
        criterion_parameters = self._component_parameters("criterion")
        module_parameters = self._component_parameters("module")
        parameters = {
            "module": module_parameters
            | self._filled_in(module, module_parameters, data.X, device),
            "criterion": criterion_parameters,
            "optimizer": self._component_parameters("optimizer"),
            "callbacks": self._component_parameters("callbacks"),
        }
        net = self._net_class(
            module=module_factory(module, module_parameters),
            criterion=criterion_factory(self.criterion, criterion_parameters),
            optimizer=self.optimizer,
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
        net.example_ = data.X[:2]
        net.stream_ = RandomStream(seed, device)
        net.precision_ = self.precision
        with net.stream_, numpy_and_python_seeded(seed):
            net.initialize()
        self._check_net(net)
        with RandomStream(seed, device):
            net.check_loss(self._target(net, data.y[:2]), weighted=data.weights is not None)
        return net

    def _filled_in(self, module, given, X, device):
        """Constructor parameters of the module that the data decides and the user left out."""
        from_data = {
            "n_outputs": self._n_outputs(),
            "input_shape": self.input_shape_,
            "dtype": _floating_dtype(X, device),
        }
        if not isinstance(X, dict):
            from_data["n_features"] = int(np.prod(self.input_shape_))
        if isinstance(module, torch.nn.Module):
            return {}
        return {
            name: value
            for name, value in from_data.items()
            if name not in given and takes(module, name)
        }

    def _train(self, net, data, n_epochs):
        """Train, between the hooks of the callbacks, and keep the best weights."""
        told = self._told_to_callbacks(net, data)
        context = self._init_callback_context(max_subtasks=n_epochs)
        context.call_on_fit_task_begin(estimator=self, **told)
        best = BestWeights()
        engine = Engine(
            torch.device(net.device),
            self.precision,
            self.compile,
            self.gradient_clip,
            self.gradient_accumulation,
        )
        try:
            with net.stream_:
                net.notify("on_train_begin", X=data.X, y=data.y)
            train_epoch = self._epoch_trainer(net, data, best, engine)
            work = net.work_.multiply_adds * self.batch_size
            with threads_worth(work), subnormals_flushed(), current_device(engine.device):
                for _ in range(n_epochs):
                    epoch = context.subcontext(task_name="epoch")
                    epoch.call_on_fit_task_begin(estimator=self, **told)
                    stop = train_epoch()
                    if epoch.call_on_fit_task_end(estimator=self, **told) or stop:
                        break
        except StopTraining:
            pass
        except KeyboardInterrupt:
            if _in_meta_estimator() or not any("train_loss" in row for row in net.history):
                raise
            warnings.warn(
                f"Training was interrupted in epoch {len(net.history)} of {n_epochs}; the best "
                "model so far is kept.",
                stacklevel=4,
            )
        if best.epoch is not None:
            best.restore(net.module_)
        net.end_training(data.X, data.y)
        self.best_epoch_ = best.epoch or len(net.history)
        self.eager_reason_ = engine.eager_reason
        context.call_on_fit_task_end(estimator=self, **told)

    def _epoch_trainer(self, net, data, best, engine):
        """A function that trains one more epoch and returns whether it should be the last."""
        train, valid = self._batches(net, data)
        dataset = Dataset(data.X, data.y)
        datasets = {
            "dataset_train": Subset(dataset, data.train),
            "dataset_valid": None if valid is None else Subset(dataset, data.valid),
        }
        score = self._validation_score(net, data)
        monitor, sign = ("train_loss", -1) if valid is None else (net.score_name, 1)
        plateau = Plateau(self.n_iter_no_change, self.tol, sign)

        def train_epoch():
            with net.stream_:
                told_to_stop = net.fit_epoch(train, valid, score, datasets, engine)
            value = net.history[-1, monitor]
            if valid is not None:
                best.update(value, len(net.history), net.module_)
            return plateau.update(value) or told_to_stop

        return train_epoch

    def _batches(self, net, data):
        """Batches to train on and to validate on; the latter None without a hold-out."""
        device = torch.device(net.device)
        weights = None if data.weights is None else torch.as_tensor(data.weights)
        target = self._target(net, data.y)
        placement = choose_placement(data.X, net.input_dtype_, device, self.data_placement)
        self.data_placement_ = placement

        @cache  # Training and validation share what is converted and moved.
        def rows_on(home):
            return placed_rows(data.X, net.input_dtype_, home, placement)

        def make(component, index, shuffle):
            options = loader_options(
                self.batch_size, shuffle, self._component_parameters(component)
            )
            by_index = options.keys() <= {*signature(Batches).parameters}
            home = torch.device("cpu") if placement == "host" or not by_index else device
            parts = (
                rows_on(home),
                target.to(home),
                None if weights is None else weights.to(home, net.example_output_.dtype),
                torch.from_numpy(index),
            )
            if not by_index:
                return LoaderBatches(*parts, device=device, options=options)
            batches = Batches(*parts, **options)
            return AheadBatches(batches, device) if placement == "host" else batches

        reordered = self._component_parameters("iterator_valid").keys() & REORDERING
        if reordered:
            raise ValueError(
                f"iterator_valid can't take {sorted(reordered)}: the score compares its batches "
                f"with the rows held out, in their order. Leave out iterator_valid__*."
            )
        valid = None if data.valid is None else make("iterator_valid", data.valid, False)
        return make("iterator_train", data.train, True), valid

    def _told_to_callbacks(self, net, data):
        """What scikit-learn's callbacks may ask for; made only if one does."""
        weights = data.weights
        return {
            "X": lambda: data.X[data.train],
            "y": lambda: self._decode(data.y[data.train]),
            "metadata": None if weights is None else {"sample_weight": weights[data.train]},
            "reconstruction_attributes": lambda: {"net_": net},
        }

    def _outputs(self, X):
        """X, checked, and the module's outputs for it, on the module's device."""
        check_is_fitted(self)
        X = check_X(self, X, reset=False)
        try:
            return X, self.net_.forward(X, device=self.net_.device)
        except RuntimeError as error:
            if sample_shape(X) == self.input_shape_:
                raise
            raise ValueError(
                f"X has samples of shape {sample_shape(X)}, but {type(self).__name__} was "
                f"fitted on samples of shape {self.input_shape_}, and its module does not take "
                f"others: {error}. Reshape X."
            ) from error

    # What classifier and regressor do each in their own way.

    @property
    @abstractmethod
    def _net_class(self):
        """The net to train."""

    @abstractmethod
    def _check_target(self, X, y, sample_weight, classes, reset):
        """Encoded targets and row weights (or None), both ndarrays."""

    @abstractmethod
    def _hold_out(self, index, y, seed):
        """Split rows in those to train on and those to validate on."""

    @abstractmethod
    def _n_outputs(self):
        """How many outputs the module should have."""

    @abstractmethod
    def _check_net(self, net):
        """Raise if the module's outputs don't fit the targets."""

    @abstractmethod
    def _target(self, net, y):
        """The criterion's target, a tensor, from encoded targets."""

    @abstractmethod
    def _decode(self, y):
        """Targets as the user gave them, from encoded ones."""

    @abstractmethod
    def _validation_score(self, net, data):
        """A function of the validation rows' outputs; higher is better."""


def resolve_seed(random_state):
    """A seed from 0 to 2**32 - 1: an int as it is, a draw of a generator, or fresh entropy."""
    if random_state is None:
        return secrets.randbits(32)
    if isinstance(random_state, int | np.integer) and 0 <= random_state < 2**32:
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31))


def as_array_of(tensor, X):
    """A tensor as the caller wants it: beside X where scikit-learn dispatches, else in numpy."""
    if dispatches() and isinstance(X, torch.Tensor):
        return tensor.to(X.device)
    # numpy has no bfloat16.
    return (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).cpu().numpy()


def _floating_dtype(X, device):
    """float64 for float64, as scikit-learn's networks do; else float32. MPS has no float64."""
    is_double = any(x.dtype in (torch.float64, np.float64) for x in leaves(X))
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


def _in_meta_estimator():
    """Whether a search, an ensemble or joblib calls this fit, rather than the user.

    A pipeline is no meta-estimator in this sense: its last step's fit is the user's.
    """
    plain = ("sklearn.pipeline", "sklearn.base", "sklearn.callback", "sklearn.utils")
    callers = (frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_stack(None))
    return any(
        name.startswith("joblib") or (name.startswith("sklearn.") and not name.startswith(plain))
        for name in callers
    )
