"""The one skorch net: builds the components, keeps the history, tells the callbacks."""

from collections.abc import Callable, Iterable
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.base import ClassifierMixin, RegressorMixin
from skorch import NeuralNet
from skorch.callbacks import Callback, InputShapeSetter
from skorch.exceptions import SkorchException
from torch import nn

from sktorch._callbacks import (
    BatchObserver,
    StopTraining,
    are_plain,
    default_callbacks,
    explained,
    fill_caches,
    listens_to_batches,
    raised_by_callback,
    rows_handed_out,
)
from sktorch._components import accepts, check_constructor, type_name
from sktorch._divergence import check_losses
from sktorch._errors import errors_name
from sktorch._history import compact, extended
from sktorch._private.skorch import callback_names
from sktorch._scoring import Evaluation
from sktorch._state import available_device, deepcopied, portable
from sktorch._trial_call import try_module
from sktorch.data.batches import AugmentedBatches
from sktorch.data.dtypes import Dtypes
from sktorch.data.source import Source
from sktorch.data.sources import as_source
from sktorch.data.structure import Batch, Outputs, floating_dtype, moved
from sktorch.modules import initialize
from sktorch.training.cost import Work, rows_at_once
from sktorch.training.cpu import threads_for
from sktorch.training.interrupts import leaves_as_found
from sktorch.training.loop import infer
from sktorch.training.parameter_groups import check_groups, check_settings, with_lrs
from sktorch.training.precision import autocast
from sktorch.training.randomness import RandomStream
from sktorch.training.runner import Runner
from sktorch.training.schedule import Schedule
from sktorch.training.settings import OF_INFERENCE, OF_PRECISION

_infer_in_precision = leaves_as_found(*OF_PRECISION)(infer)
_IMPLEMENTATIONS = ("fused", "foreach", "differentiable")


class Net(NeuralNet):
    """A skorch net whose epochs run through sktorch's loop.

    Everything a skorch callback looks at is there: ``history``, ``module_``, ``optimizer_``,
    ``notify``, ``save_params``, ``predict``. Targets are encoded throughout.
    """

    __dict__: dict[str, Any]
    optimizer: Any
    codec_: Any  # encodes targets, decodes outputs
    source_: Source  # the data, to try the module on; gone when the net is built
    example_output_: Outputs  # for the first rows
    n_example_rows_: int
    work_: Work  # the cost of a row
    bests_: dict[str, float]  # the best value so far of each loss and score in the history
    inference_options_: dict[str, Any]  # of the DataLoader through which datasets are predicted
    initializer_: Any
    arguments_: tuple[str, ...] | None  # of the module's forward, where they are known
    input_dtypes_: Dtypes
    precision_: str
    stream_: RandomStream  # the random numbers of training
    prediction_stream_: RandomStream  # those of predictions: training goes on as without them
    draws_: bool  # random numbers, in predictions

    def initialize_module(self) -> "Net":
        """Build the module and try it on two rows, which materialises lazy layers."""
        for _, callback in self.callbacks_:
            if isinstance(callback, InputShapeSetter):  # It would come after the trial.
                name = f"{callback.module_name}__{callback.param_name}"
                self.__dict__[name] = callback.get_input_dim(self.source_.example)
        given = self.get_params_for("module")
        check_constructor(self.module, given)
        with errors_name("module", given):
            super().initialize_module()
        if not isinstance(self.module_, nn.Module):
            raise TypeError(
                f"module={self.module!r} returned {type_name(self.module_)}; expected an "
                "nn.Module. Pass an nn.Module subclass, an instance, or a function that returns "
                "one."
            )
        trial = try_module(self.module_, self.source_, self.batch_size, self.inference_options_)
        self.input_dtypes_, self.work_, self.draws_ = trial.dtypes, trial.work, trial.draws
        self.example_output_, self.n_example_rows_ = trial.output, trial.n_rows
        if self.initializer_ is not None:
            with errors_name("initializer"):
                initialize(self.module_, self.initializer_)
        return self

    def initialize_criterion(self) -> "Net":
        """Build the criterion, its tensors in the dtype of the module's output."""
        with errors_name("criterion", self.get_params_for("criterion")):
            super().initialize_criterion()
        if not isinstance(self.criterion_, nn.Module):
            raise TypeError(
                f"criterion={self.criterion!r} returned {type_name(self.criterion_)}; expected an "
                "nn.Module. Pass an nn loss class, an instance, or a function of two tensors."
            )
        dtype = floating_dtype(self.example_output_)
        if dtype.is_floating_point:
            self.criterion_.to(dtype)
        return self

    def initialize_callbacks(self) -> Any:
        """Build the callbacks; refuse parameters of one that is not there."""
        for name in self.get_params_for("callbacks"):
            known = callback_names(self)
            if name.partition("__")[0] not in known:
                raise ValueError(
                    f"callbacks__{name} is given, but the callbacks are named {known}. Change the "
                    "name, or add the callback to callbacks."
                )
        with errors_name("callbacks"):
            return super().initialize_callbacks()

    def initialize_optimizer(self, triggered_directly: bool | None = None) -> Any:
        """Build the optimizer, with its fused step where there is one and nothing else is asked."""
        given = self.get_params_for("optimizer")
        chosen = any(name in given for name in _IMPLEMENTATIONS)
        if not chosen and _can_be_fused(self.optimizer, self.module_):
            self.optimizer__fused = True
        on_cuda = torch.device(self.device).type == "cuda"
        if on_cuda and accepts(self.optimizer, "capturable"):
            self.__dict__.setdefault("optimizer__capturable", True)
        with errors_name("optimizer", given):
            if "param_groups" in given:
                names = [name for name, _ in self.get_all_learnable_params()]
                check_groups(given["param_groups"], names)
            super().initialize_optimizer(triggered_directly)
            if not isinstance(self.optimizer_, torch.optim.Optimizer):
                raise TypeError(
                    f"{self.optimizer!r} returned {type_name(self.optimizer_)}, expected an "
                    "instance of torch.optim.Optimizer"
                )
            check_settings(self.optimizer_)
        return self

    def get_params_for_optimizer(self, prefix: str, named_parameters: Any) -> tuple[Any, Any]:
        """Return the optimizer's arguments; a module may have no parameters if it isn't trained."""
        (groups, *others), settings = super().get_params_for_optimizer(prefix, named_parameters)
        return (with_lrs(groups, settings["lr"]) or [{"params": []}], *others), settings

    def initialize_history(self) -> Any:
        """Start with an empty history."""
        self.bests_ = {}
        return super().initialize_history()

    def get_default_callbacks(self) -> list[tuple[str, Callback]]:
        """Return the timer, and the log where it prints."""
        return default_callbacks(self.verbose, self.__dict__)

    def notify(self, method_name: str, **cb_kwargs: Any) -> None:
        """Tell the callbacks; one that raises KeyboardInterrupt asks for the end of training."""
        notify = partial(super().notify, method_name, **cb_kwargs)
        try:
            run = call if are_plain(self.callbacks_) else self.stream_.run
            run(notify)
        except KeyboardInterrupt as interrupt:
            if raised_by_callback(interrupt):
                raise StopTraining from None
            raise
        except (KeyError, SkorchException) as error:
            explanation = explained(error)
            if explanation is None:
                raise
            raise explanation from error

    def fit_epoch(
        self,
        runner: Runner,
        train: Iterable[Batch],
        evaluations: list[Evaluation],
        datasets: dict[str, Any],
        schedule: Schedule | None = None,
    ) -> bool:
        """Train and evaluate one epoch, write both down; return whether a callback ends training.

        The datasets are those that callbacks are told, as `dataset_train` and `dataset_valid`.
        """
        self.notify("on_epoch_begin", **datasets)
        self._check_trainable()
        lr = None if schedule is None else schedule.lrs[-1]  # of parameters in no group
        after_step = schedule.after_batch if schedule and schedule.per_batch else None
        observer = self._observer(True)
        # The module was tried on rows as they are.
        augmented = isinstance(train, AugmentedBatches)
        with errors_name("augment", of=RuntimeError) if augmented else nullcontext():
            losses, sizes = runner.train(self, train, observer, after_step)
        row = self.history[-1]
        if schedule is not None:
            row["lr"] = lr
        self._record(row, "train", losses, sizes, observer)
        valid_outputs = None
        for evaluation in evaluations:
            observer = self._observer(False) if evaluation.part == "valid" else None
            losses, sizes, outputs = runner.evaluate(self, evaluation.batches, observer)
            if evaluation.part == "valid":
                self._record(row, "valid", losses, sizes, observer)
                valid_outputs = outputs
            for name, value in self._scores(evaluation, outputs).items():
                self._record_best(row, name, value, sign=1)
        row["batches"] = compact(row["batches"])
        fill_caches(self, datasets, valid_outputs)
        try:
            self.notify("on_epoch_end", **datasets)
        except StopTraining:
            return True
        return False

    def _scores(self, evaluation: Evaluation, outputs: Outputs) -> dict[str, float]:
        if evaluation.estimator.scoring is None:
            return evaluation.scores(outputs)
        return self.stream_.run(evaluation.scores, outputs)  # A scorer of the user's may draw.

    def _check_trainable(self) -> None:
        """Raise if no parameter is left to train, once the callbacks have frozen theirs."""
        groups = self.optimizer_.param_groups
        if not any(parameter.requires_grad for group in groups for parameter in group["params"]):
            raise ValueError(
                f"module {type_name(self.module_)} has nothing to train: all its parameters are "
                "frozen (requires_grad is False). Let it be True for some, leave some out of a "
                "Freezer in callbacks, or set max_epochs=0 to use the module as it is."
            )

    def end_training(self, X: Any, y: Any) -> None:
        """Tell the callbacks, and forget what only training needs."""
        if self.history and "train_loss" not in self.history[-1]:
            del self.history[-1]  # an epoch that was broken off
        self.module_.eval()
        with suppress(StopTraining):
            self.notify("on_train_end", X=X, y=y)

    def _observer(self, training: bool) -> BatchObserver | None:
        listens = any(listens_to_batches(callback) for _, callback in self.callbacks_)
        return BatchObserver(self, training) if listens else None

    def _record(
        self,
        row: dict[str, Any],
        prefix: str,
        losses: list[float],
        sizes: list[int],
        observer: BatchObserver | None,
    ) -> None:
        """Write an epoch's losses to its row of the history; an observer wrote them already."""
        check_losses(self, prefix, losses)
        if not losses:
            raise ValueError(
                f"iterator_{prefix} gave no batch. Choose a smaller batch_size (now "
                f"{self.batch_size}), or leave drop_last and samplers out of iterator_{prefix}__*."
            )
        if observer is None:
            row["batches"] = extended(row["batches"], prefix, losses, sizes)
        row[f"{prefix}_batch_count"] = len(losses)
        mean = sum(loss * size for loss, size in zip(losses, sizes, strict=True)) / sum(sizes)
        self._record_best(row, f"{prefix}_loss", mean, sign=-1)

    def _record_best(self, row: dict[str, Any], name: str, value: float, sign: int) -> None:
        is_best = name not in self.bests_ or sign * value > sign * self.bests_[name]
        if is_best:
            self.bests_[name] = value
        row |= {name: value, f"{name}_best": is_best}

    @leaves_as_found(*OF_INFERENCE)
    def forward(
        self,
        X: Any,
        training: bool = False,
        device: str | torch.device = "cpu",
        options: dict[str, Any] | None = None,
    ) -> Any:
        """Return the outputs of all rows of X on a device; the options are a DataLoader's."""
        if training:
            return super().forward(X, training=True, device=device)
        if "forward_iter" in self.__dict__:  # A callback of skorch lets the net return its cache.
            return torch.cat([*self.forward_iter(X, device=device)])
        handed_out = rows_handed_out(X)
        if handed_out is not None:
            X = handed_out[0]
        own_device = torch.device(self.device)
        n_rows = rows_at_once(self.work_, own_device)
        options = self.inference_options_ if options is None else options
        source = as_source(
            X,
            has_targets=None,
            collate_fn=options.get("collate_fn"),
            arguments=self.arguments_,
        )
        inputs = source.inputs(self.input_dtypes_, own_device, n_rows=n_rows, options=options)
        draws = self.draws_ or source.runs_user_code
        run = self.prediction_stream().run if draws else call
        with threads_for(self.work_.multiply_adds * min(n_rows, source.n_rows or n_rows)):
            cast = autocast(self.precision_, own_device.type)
            compute = infer if self.precision_ == "float32" else _infer_in_precision
            outputs = run(compute, self.module_, inputs, source.n_rows, autocast=cast)
        return moved(outputs, device, floating_dtype(self.example_output_))

    def prediction_stream(self) -> RandomStream:
        """Return the random numbers of predictions, which go on from one to the next."""
        device, stream = torch.device(self.device), self.__dict__.get("prediction_stream_")
        if stream is None or stream.device != device:
            stream = self.prediction_stream_ = RandomStream(self.stream_.seed, device)
        return stream

    def predict(self, X: Any) -> np.ndarray:
        """Return encoded predictions for the rows of X."""
        return self.codec_.predicted(self.criterion_, self.forward(X)).numpy()

    def set_optimizer(self, optimizer: type, lr: float, parameters: dict[str, Any]) -> None:
        """Take over settings that have changed; an optimizer of another class starts afresh."""
        settings = {"lr": lr} | parameters
        changed = {
            name: value
            for name, value in settings.items()
            if params_differ(value, getattr(self, _parameter_name(name), None))
        }
        self.__dict__.update({_parameter_name(name): value for name, value in settings.items()})
        if optimizer is not self.optimizer or "param_groups" in changed:
            self.optimizer = optimizer
            for name in _IMPLEMENTATIONS:
                if name not in parameters:
                    self.__dict__.pop(f"optimizer__{name}", None)
            self.initialize_optimizer()
            return
        (own_settings,), _ = self.get_params_for_optimizer(
            "optimizer", self.get_all_learnable_params()
        )
        for group, own in zip(self.optimizer_.param_groups, own_settings, strict=True):
            group.update({name: own.get(name, value) for name, value in changed.items()})

    def __getstate__(self) -> dict[str, Any]:
        return portable(self.__dict__, torch.device(self.device))

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, device=available_device(state["device"]))

    def __deepcopy__(self, memo: dict[int, Any]) -> "Net":
        new = memo[id(self)] = type(self).__new__(type(self))
        new.__dict__.update(deepcopied(self.__dict__, memo))
        return new


class ClassifierNet(ClassifierMixin, Net):
    """A net whose ``predict`` gives encoded labels, for callbacks that score it."""

    @property
    def classes_(self) -> np.ndarray:
        """The encoded labels."""
        return np.arange(len(self.codec_.classes))

    def predict_proba(self, X: Any) -> np.ndarray | list[np.ndarray]:
        """Return the probabilities of the rows of X, for several columns of labels a list."""
        p = self.codec_.probabilities(self.criterion_, self.forward(X))
        return [part.numpy() for part in p] if isinstance(p, list) else p.numpy()


class RegressorNet(RegressorMixin, Net):
    """A net whose ``predict`` gives numbers in the scale of y."""


def call(function: Callable, *args: Any, **kwargs: Any) -> Any:
    """Call a function, as `RandomStream.run` does, by the random numbers that there are."""
    return function(*args, **kwargs)


def params_differ(new: Any, old: Any) -> bool:
    """Say whether two values of a parameter differ; arrays and tensors by their entries."""
    arrays = torch.Tensor | np.ndarray
    if new is old:
        return False
    if isinstance(new, arrays) and isinstance(old, arrays) and new.shape != old.shape:
        return True
    different = new != old
    return bool(different.any() if isinstance(different, arrays) else different)


def _parameter_name(name: str) -> str:
    return "lr" if name == "lr" else f"optimizer__{name}"


def _can_be_fused(optimizer: type, module: nn.Module) -> bool:
    """Say whether an optimizer has a fused step and the module's parameters admit it."""
    sparse_gradients = any(getattr(layer, "sparse", False) for layer in module.modules())
    floating = all(parameter.is_floating_point() for parameter in module.parameters())
    return accepts(optimizer, "fused") and floating and not sparse_gradients
