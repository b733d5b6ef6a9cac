"""One training: from a net and its data, through the epochs, to the best weights."""

import traceback
import warnings
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
import torch
from skorch.dataset import Dataset
from torch.utils.data import Subset

from sktorch._callbacks import StopTraining
from sktorch._device import current_device
from sktorch._scoring import Evaluation, scorers_by_part
from sktorch.data.batches import AugmentedBatches
from sktorch.data.datasets import Stream, as_labels
from sktorch.data.loaders import loader_options, stream_batches
from sktorch.data.making import make_batches
from sktorch.data.placement import choose_placement
from sktorch.training.engine import Engine
from sktorch.training.schedules import make_schedule
from sktorch.training.stopping import BestWeights, Plateau
from sktorch.training.subnormals import subnormals_flushed
from sktorch.training.threads import threads_worth

REORDERING = {"shuffle", "sampler", "batch_sampler", "drop_last", "in_order"}


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


class TrainingJob:
    """Trains a net for an estimator.

    Parameters
    ----------
    estimator : TorchEstimator
        Its parameters decide; the training writes its ``best_epoch_``, ``eager_reason_`` and
        ``data_placement_``.
    net : Net
    train : Part
    valid : Part or None
    n_epochs : int
    keep_best : bool
        Whether the weights of the best epoch are kept, rather than the last.
    """

    def __init__(self, estimator, net, train, valid, n_epochs, keep_best):
        self.estimator, self.net = estimator, net
        self.train, self.valid, self.n_epochs = train, valid, n_epochs
        self.best = BestWeights() if keep_best else None
        self.device = torch.device(net.device)
        self.schedule = None
        self.score_name = estimator.codec_.score_name(net.criterion_)
        self.engine = Engine(
            self.device,
            estimator.precision,
            estimator.compile,
            estimator.gradient_clip,
            estimator.gradient_accumulation,
        )

    def run(self):
        """Train, between the hooks of the callbacks, and keep the best weights."""
        estimator, net = self.estimator, self.net
        told = self._told_to_callbacks()
        context = estimator._init_callback_context(max_subtasks=self.n_epochs)
        context.call_on_fit_task_begin(estimator=estimator, **told)
        try:
            with net.stream_:
                net.notify("on_train_begin", X=self.train.X, y=self.train.y)
            train_epoch = self._epoch_trainer()
            work = net.work_.multiply_adds * estimator.batch_size
            with threads_worth(work), subnormals_flushed(), current_device(self.device):
                for _ in range(self.n_epochs):
                    epoch = context.subcontext(task_name="epoch")
                    epoch.call_on_fit_task_begin(estimator=estimator, **told)
                    stop = train_epoch()
                    if epoch.call_on_fit_task_end(estimator=estimator, **told) or stop:
                        break
        except StopTraining:
            pass
        except KeyboardInterrupt:
            if in_meta_estimator() or not any("train_loss" in row for row in net.history):
                raise
            warnings.warn(
                f"Training was interrupted in epoch {len(net.history)} of {self.n_epochs}; the "
                "best model so far is kept.",
                stacklevel=4,
            )
        finally:
            if self.schedule is not None:  # The next training begins at the learning rate given.
                self.schedule.restore()
        if self.best is not None and self.best.epoch is not None:
            self.best.restore(net.module_)
            estimator.best_epoch_ = self.best.epoch
        else:
            estimator.best_epoch_ = len([row for row in net.history if "train_loss" in row])
        net.end_training(self.train.X, self.train.y)
        estimator.eager_reason_ = self.engine.eager_reason
        context.call_on_fit_task_end(estimator=estimator, **told)

    def _epoch_trainer(self):
        """A function that trains one more epoch and returns whether it should be the last."""
        estimator, net = self.estimator, self.net
        train, evaluations = self._batches()
        monitor, sign = self._monitored(evaluations)
        plateau = Plateau(estimator.n_iter_no_change, estimator.tol, sign)
        schedule = self.schedule = self._schedule(train, sign)
        datasets = {
            "dataset_train": _dataset_of(self.train),
            "dataset_valid": None if self.valid is None else _dataset_of(self.valid),
        }
        self.engine.scheduled_by_batch = schedule is not None and schedule.per_batch

        def train_epoch():
            with net.stream_:
                told_to_stop = net.fit_epoch(train, evaluations, datasets, self.engine, schedule)
            value = net.history[-1, monitor]
            if schedule is not None:
                schedule.after_epoch(value)
            if self.best is not None:
                self.best.update(sign * value, len(net.history), net.module_)
            return plateau.update(value) or told_to_stop

        return train_epoch

    def _monitored(self, evaluations):
        """Name in the history of what has to improve, and 1 or -1 where higher or lower is better.

        Raises
        ------
        ValueError
            If it is none of those that are recorded.
        """
        monitor = self.estimator.monitor
        scores = [name for evaluation in evaluations for name in evaluation.scorers]
        losses = ["train_loss", *(["valid_loss"] if self.valid is not None else [])]
        if monitor is None:
            by_score = f"valid_{self.score_name or 'loss'}"
            monitor = by_score if self.best is not None else "train_loss"
        if monitor not in [*losses, *scores]:
            raise ValueError(
                f"monitor={monitor!r} is not recorded; expected one of {[*losses, *scores]}. "
                "Change monitor, add it to scoring, or hold rows out with early_stopping or "
                "validation."
            )
        return monitor, -1 if monitor in losses else 1

    def _schedule(self, train, sign):
        """The learning-rate schedule over the epochs to come, or None."""
        estimator = self.estimator
        if estimator.lr_schedule is None:
            return None
        is_stream = isinstance(self.train.X, Stream)
        n_batches = ceil(len(self.train.y) / estimator.batch_size) if is_stream else len(train)
        return make_schedule(
            estimator.lr_schedule,
            self.net.optimizer_,
            n_epochs=self.n_epochs,
            n_batches=ceil(n_batches / estimator.gradient_accumulation),
            parameters=estimator._component_parameters("lr_schedule"),
            sign=sign,
        )

    def _batches(self):
        """Batches to train on, and the evaluations that follow each epoch."""
        reordered = self.estimator._component_parameters("iterator_valid").keys() & REORDERING
        if reordered:
            raise ValueError(
                f"iterator_valid can't take {sorted(reordered)}: the score compares its batches "
                f"with the rows held out, in their order. Leave out iterator_valid__*."
            )
        estimator = self.estimator
        maker = BatchMaker(estimator, self.net, self.device)
        train = maker.batches(self.train, "iterator_train", shuffle=True)
        estimator.data_placement_ = choose_placement(
            self.train.X, self.net.input_dtype_, self.device, estimator.data_placement
        )
        if estimator.augment is not None:
            train = AugmentedBatches(train, estimator.augment)
        scorers = scorers_by_part(estimator.scoring, self.valid is not None)
        if self.valid is not None and self.score_name is not None:
            own = {f"valid_{self.score_name}": estimator._score_of_epoch}
            scorers["valid"] = own | scorers["valid"]
        parts = {"train": self.train if scorers["train"] else None, "valid": self.valid}
        evaluations = [
            Evaluation(
                name,
                maker.batches(part, "iterator_valid", shuffle=False),
                scorers[name],
                estimator,
                self.net,
                estimator.codec_.decode(part.y[part.index]),
                part.used_weights,
            )
            for name, part in parts.items()
            if part is not None
        ]
        return train, evaluations

    def _told_to_callbacks(self):
        """What scikit-learn's callbacks may ask for; made only if one does."""
        part = self.train
        weights = part.used_weights
        return {
            "X": lambda: part.X[part.index],
            "y": lambda: self.estimator.codec_.decode(part.y[part.index]),
            "metadata": None if weights is None else {"sample_weight": weights},
            "reconstruction_attributes": lambda: {"net_": self.net},
        }


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

    def _encoded(self, target):
        """The loss's target for that of one sample of a stream."""
        return self._target(self.estimator.codec_.encode(as_labels([target])))[0]


def _dataset_of(part):
    """A part as the dataset that skorch's callbacks are told."""
    if isinstance(part.X, Stream):
        return part.X.dataset
    return Subset(Dataset(part.X, part.y), part.index)


def in_meta_estimator():
    """Whether a search, an ensemble or joblib calls this fit, rather than the user.

    A pipeline is no meta-estimator in this sense: its last step's fit is the user's.
    """
    plain = ("sklearn.pipeline", "sklearn.base", "sklearn.callback", "sklearn.utils")
    callers = (frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_stack(None))
    return any(
        name.startswith("joblib") or (name.startswith("sklearn.") and not name.startswith(plain))
        for name in callers
    )
