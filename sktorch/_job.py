"""One training: from a net and its data, through the epochs, to the best weights."""

import traceback
import warnings
from math import ceil

import torch
from skorch.callbacks import EpochTimer, PrintLog

from sktorch._callbacks import StopTraining
from sktorch._device import current_device
from sktorch._private.scikit_learn import callback_context, callbacks_of
from sktorch._scoring import Evaluation, scorers_by_part
from sktorch.data.batches import AugmentedBatches
from sktorch.data.loaders import check_keeps_rows
from sktorch.fused.rendezvous import threads_of_a_task
from sktorch.training.cpu import subnormals_flushed, threads_for
from sktorch.training.engine import Engine
from sktorch.training.named_schedules import make_schedule
from sktorch.training.stopping import BestWeights, Plateau


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
    whole : bool
        Whether this is a training of its own, rather than a further epoch: that one has neither
        a schedule nor anything to validate or to stop.
    """

    def __init__(self, estimator, net, train, valid, n_epochs, keep_best, *, whole):
        self.whole = whole
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
        told = self._callback_arguments()
        parts = [self.train] if self.valid is None else [self.train, self.valid]
        user_code_draws = any(part.source.runs_user_code for part in parts)
        net.stream_.swaps_numpy_and_python = user_code_draws or estimator.augment is not None
        context = callback_context(estimator, max_subtasks=self.n_epochs)
        context.call_on_fit_task_begin(estimator=estimator, **told)
        try:
            with net.stream_:
                net.notify("on_train_begin", X=self.train.source.values, y=self.train.y)
            train_epoch = self._epoch_trainer()
            work = net.work_.multiply_adds * estimator.batch_size
            threads = threads_for(work, threads_of_a_task())
            with threads, subnormals_flushed(), current_device(self.device):
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
        net.end_training(self.train.source.values, self.train.y)
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
            "dataset_train": self.train.dataset,
            "dataset_valid": None if self.valid is None else self.valid.dataset,
        }
        self.engine.scheduled_by_batch = schedule is not None and schedule.per_batch
        if nobody_else_changes(net, estimator):
            self.engine.kept = {}

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
        monitor = self.estimator.monitor if self.whole else None
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
        if estimator.lr_schedule is None or not self.whole:
            return None
        return make_schedule(
            estimator.lr_schedule,
            self.net.optimizer_,
            n_epochs=self.n_epochs,
            n_batches=ceil(len(train) / estimator.gradient_accumulation),
            parameters=estimator._component_parameters("lr_schedule"),
            sign=sign,
        )

    def _batches(self):
        """Batches to train on, and the evaluations that follow each epoch."""
        estimator = self.estimator
        check_keeps_rows(estimator._component_parameters("iterator_valid"))
        self._check_sampler(estimator._component_parameters("iterator_train"))
        train = self.train.training_batches(estimator, self.net)
        estimator.data_placement_ = self.train.source.placement(
            self.net.input_dtypes_, self.device, estimator.data_placement
        )
        if estimator.augment is not None:
            train = AugmentedBatches(train, estimator.augment)
        scoring = estimator.scoring if self.whole else None
        scorers = scorers_by_part(scoring, self.valid is not None)
        if self.valid is not None and self.score_name is not None:
            own = {f"valid_{self.score_name}": estimator._score_of_epoch}
            scorers["valid"] = own | scorers["valid"]
        parts = {"train": self.train if scorers["train"] else None, "valid": self.valid}
        evaluations = [
            Evaluation(
                name,
                part.evaluation_batches(estimator, self.net),
                scorers[name],
                estimator,
                self.net,
                part.targets_of(estimator),
                part.used_weights,
            )
            for name, part in parts.items()
            if part is not None
        ]
        return train, evaluations

    def _check_sampler(self, options):
        """Raise if a sampler's rows are others than the user counted."""
        given = [name for name in ("sampler", "batch_sampler") if options.get(name) is not None]
        if given and len(self.train.index) != len(self.train.y):
            raise ValueError(
                f"iterator_train__{given[0]} numbers the rows that are trained on, and of "
                f"{len(self.train.y)} rows only {len(self.train.index)} are: others are held out, "
                "or of weight zero. Pass them apart, as validation=(X_val, y_val)."
            )

    def _callback_arguments(self):
        """What scikit-learn's callbacks may ask for; made only if one does."""
        part = self.train
        weights = part.used_weights
        return {
            "X": lambda: part.X,
            "y": lambda: self.estimator.codec_.decode(part.y[part.index]),
            "metadata": None if weights is None else {"sample_weight": weights},
            "reconstruction_attributes": lambda: {"net_": self.net},
        }


def nobody_else_changes(net, estimator):
    """Whether a net changes by its training alone: nobody is handed it between two passes."""
    listeners = callbacks_of(estimator)
    by_user = [c for _, c in net.callbacks_ if not isinstance(c, EpochTimer | PrintLog)]
    scoring = estimator.scoring
    scorers = [*scoring.values()] if isinstance(scoring, dict) else scoring
    scorers = scorers if isinstance(scorers, list | tuple) else [scorers]
    by_name = all(isinstance(scorer, str | None) for scorer in scorers)
    layers = [*net.module_.modules(), *net.criterion_.modules()]
    are_told = any(type(layer).train is not torch.nn.Module.train for layer in layers)
    return by_name and not (listeners or by_user or are_told)


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
