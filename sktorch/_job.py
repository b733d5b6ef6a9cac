"""One training: from a net and its data, through the epochs, to the best weights."""

from collections.abc import Callable, Iterable
from dataclasses import fields
from functools import partial
from itertools import chain
from math import ceil
from typing import Any

import torch
from sklearn.base import BaseEstimator

from sktorch._callbacks import StopTraining, are_plain, prints_or_writes
from sktorch._callers import in_meta_estimator
from sktorch._checkpoint import Checkpoint
from sktorch._device import current_device
from sktorch._divergence import check_last_step
from sktorch._net import Net
from sktorch._part import Part
from sktorch._private.scikit_learn import callback_context, has_callbacks
from sktorch._pruning import Pruning
from sktorch._rungs import PausedFit
from sktorch._scoring import Evaluation, scorers_by_part
from sktorch._trial_call import is_plain
from sktorch._warnings import warn_caller
from sktorch.data.batches import AugmentedBatches
from sktorch.data.loaders import check_keeps_rows
from sktorch.data.structure import Batch
from sktorch.fused.runner import choose_runner
from sktorch.training.ahead import AheadRunner
from sktorch.training.cpu import subnormals_flushed, threads_for
from sktorch.training.engine import StepSettings
from sktorch.training.joint_engine import make_engine
from sktorch.training.named_schedules import make_schedule
from sktorch.training.optimizers import is_of_torch
from sktorch.training.processes import current_processes
from sktorch.training.randomness import never_draws
from sktorch.training.schedule import Schedule
from sktorch.training.stopping import BestWeights, Plateau


class TrainingJob:
    """One training of a net, by the parameters of an estimator.

    It writes the estimator's `best_epoch_`, `eager_reason_`, `pruned_` and `data_placement_`. If it
    is `partial`, for `partial_fit`, it has no schedule, validation or stopping.
    """

    def __init__(
        self,
        estimator: BaseEstimator,
        net: Net,
        train: Part,
        valid: Part | None,
        n_epochs: int,
        *,
        partial: bool = False,
    ) -> None:
        self.estimator, self.net, self.n_epochs = estimator, net, n_epochs
        self.train, self.valid, self.partial = train, valid, partial
        self.checkpoint: Checkpoint | PausedFit | None = None
        self.until = n_epochs  # the last epoch for now: a search may go on later
        self.n_before = len(net.history)
        self.best = BestWeights() if estimator.early_stopping and not partial else None
        self.schedule: Schedule | None = None
        self.score_name = estimator.codec_.score_name(net.criterion_)
        self.device = torch.device(net.device)
        names = [field.name for field in fields(StepSettings)]
        settings = StepSettings(**{name: getattr(estimator, name) for name in names})
        self.processes = current_processes()
        self.engine = make_engine(self.processes, self.device, settings, n_epochs)
        self.runner = AheadRunner(choose_runner(self.engine, user_code=self._runs_user_code()))

    def run(self) -> None:
        """Train, between the hooks of the callbacks, and keep the best weights."""
        estimator, net, arguments = self.estimator, self.net, self._callback_arguments()
        pruning = Pruning(self)
        context = callback_context(estimator, max_subtasks=self.n_epochs)
        context.call_on_fit_task_begin(estimator=estimator, **arguments)
        self._share_weights()
        if not self.processes.is_first:
            net.callbacks_ = [pair for pair in net.callbacks_ if not prints_or_writes(pair[1])]
        try:
            net.notify("on_train_begin", X=self.train.source.values, y=self.train.y)
            work = net.work_.multiply_adds * estimator.batch_size
            threads = threads_for(work, self.runner.n_threads)
            with threads, subnormals_flushed(), current_device(self.device):
                for number in self._epochs_left(is_watched=has_callbacks(context)):
                    epoch = context.subcontext(task_name="epoch")
                    epoch.call_on_fit_task_begin(estimator=estimator, **arguments)
                    stop = self._train_epoch(number)
                    stop = epoch.call_on_fit_task_end(estimator=estimator, **arguments) or stop
                    stop = self.processes.any(bool(stop))
                    if self.checkpoint is not None:
                        self.checkpoint.save(self, number, is_over=stop)
                    if stop or pruning.stops(number):
                        break
        except StopTraining:
            if self.processes.size > 1:  # The others wait for this one in the same batch.
                raise RuntimeError(
                    "A callback ended training within an epoch. Where several processes train one "
                    "model, end it in on_epoch_end, which stops them all."
                ) from None
        except KeyboardInterrupt:
            alone = self.processes.size == 1  # Each rank would stop in another batch.
            if in_meta_estimator() or self._n_trained() == self.n_before or not alone:
                raise
            warn_caller(
                f"Training was interrupted in epoch {len(net.history) - self.n_before} of "
                f"{self.n_epochs}; the best model so far is kept."
            )
        finally:
            if self.schedule is not None:  # The next training begins at the learning rate given.
                self.schedule.restore()
        pruning.end()
        estimator.pruned_ = pruning.has_stopped
        estimator.best_epoch_ = self._restore_best()
        if self.valid is None:  # Losses of validation show what the last step did.
            check_last_step(net, self.train.source.example)
        net.end_training(self.train.source.values, self.train.y)
        self._share_weights()  # A callback of rank 0 may have read others from a file.
        estimator.eager_reason_ = self.runner.eager_reason
        context.call_on_fit_task_end(estimator=estimator, **arguments)

    def _share_weights(self) -> None:
        """Give every process the weights and buffers of rank 0."""
        if self.processes.size == 1:
            return
        parts = self.net.module_, self.net.criterion_
        tensors = [t for part in parts for t in chain(part.parameters(), part.buffers())]
        shapes = [(t.shape, t.dtype) for t in tensors]
        self.processes.check_same({"shapes of weights": shapes})
        self.processes.copy_first(tensors)

    def _epochs_left(self, *, is_watched: bool) -> range:
        """Prepare the epochs, unless there are none; return the numbers of those to train.

        A checkpoint may hold some, or all. If they are watched, the net is looked at after each.
        """
        if not self.n_epochs:
            return range(0)
        train, evaluations = self._batches()
        self.monitor, sign = self._monitored(evaluations)
        self.plateau = Plateau(self.estimator.n_iter_no_change, self.estimator.tol, sign)
        self.schedule = self._make_schedule(train, sign)
        datasets = {
            "dataset_train": self.train.dataset,
            "dataset_valid": None if self.valid is None else self.valid.dataset,
        }
        self.is_watched = is_watched or bool(evaluations) or self._may_change_between_epochs()
        self._fit_epoch = partial(
            self.net.fit_epoch, self.runner, train, evaluations, datasets, self.schedule
        )
        n_done = 0 if self.checkpoint is None else self.checkpoint.resume(self)
        self.processes.check_same({"epochs in its checkpoint": n_done})
        return range(n_done + 1, self.until + 1)

    def _train_epoch(self, number: int) -> bool:
        """Train an epoch; return whether it should be the last."""
        if not self.is_watched:
            self.runner.n_epochs = self._n_epochs_unwatched(number)
        self._agree_on_numbers()
        stop = self._fit_epoch()
        value = self.processes.agreed(self.net.history[-1, self.monitor])
        self._keep_best(self.plateau.sign * value)
        if self.schedule is not None:
            self.schedule.after_epoch(value)
        return self.plateau.update(value) or stop

    def _agree_on_numbers(self) -> None:
        """Let all processes draw the numbers of rank 0: what they did apart may have drawn some."""
        stream = self.net.stream_ = self.processes.agreed(self.net.stream_)
        stream.device = self.device

    def _n_epochs_unwatched(self, number: int) -> int:
        """Return how many epochs follow, this one included, before the net is looked at."""
        n_left = min(self.until - number + 1, self.plateau.n_epochs_left)
        if self.checkpoint is not None:
            n_left = min(n_left, self.checkpoint.n_epochs_until(number))
        return int(n_left)

    def _runs_user_code(self) -> bool:
        """Say whether code of the user, which may draw from any generator, runs in every epoch."""
        net = self.net
        return callable(self.estimator.lr_schedule) or not (
            is_plain(net.module_)
            and is_plain(net.criterion_)
            and is_of_torch(net.optimizer_)
            and are_plain(net.callbacks_)
        )

    def _may_change_between_epochs(self) -> bool:
        """Say whether an epoch's end changes the net, or what it draws or adds up."""
        layers = chain(self.net.module_.modules(), self.net.criterion_.modules())
        return (
            self.best is not None
            or self.schedule is not None
            or self.processes.size > 1
            or self.estimator.verbose  # Each epoch is printed as it ends.
            or self.estimator.gradient_accumulation > 1  # The last group of an epoch is short.
            or self._runs_user_code()
            or not all(map(never_draws, layers))
        )

    def _n_trained(self) -> int:
        return sum("train_loss" in row for row in self.net.history)

    def _keep_best(self, score: float) -> None:
        if self.best is not None:
            self.best.update(score, len(self.net.history), self.net.module_)

    def _restore_best(self) -> int:
        """Load the weights of the best epoch, or leave those of the last; return which it was."""
        if self.best is None or self.best.epoch is None:
            return self._n_trained()
        self.best.restore(self.net.module_)
        return self.best.epoch

    def _monitored(self, evaluations: list[Evaluation]) -> tuple[str, int]:
        """Return what has to improve, and 1 or -1 if higher or lower is better.

        Raise ValueError if it is not recorded in the history.
        """
        monitor = None if self.partial else self.estimator.monitor
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

    def _make_schedule(self, train: Any, sign: int) -> Schedule | None:
        """Return the learning-rate schedule over the epochs to come, if there is one."""
        estimator = self.estimator
        if estimator.lr_schedule is None or self.partial or not self.n_epochs:
            return None
        return make_schedule(
            estimator.lr_schedule,
            self.net.optimizer_,
            n_epochs=self.n_epochs,
            n_batches=ceil(len(train) / estimator.gradient_accumulation),
            parameters=estimator._component_parameters("lr_schedule"),
            sign=sign,
        )

    def _batches(self) -> tuple[Iterable[Batch], list[Evaluation]]:
        """Return the batches to train on, and the evaluations that follow each epoch."""
        estimator = self.estimator
        check_keeps_rows(estimator._component_parameters("iterator_valid"))
        self._check_sampler(estimator._component_parameters("iterator_train"))
        train = self.train.training_batches(estimator, self.net)
        estimator.data_placement_ = self.train.source.placement(
            self.net.input_dtypes_, self.device, estimator.data_placement
        )
        if estimator.augment is not None:
            train = AugmentedBatches(train, estimator.augment)
        scorers = self._scorers()
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

    def _scorers(self) -> dict[str, dict[str, Callable]]:
        """Return the scorers of the training rows and of the validation rows by name."""
        scoring = None if self.partial else self.estimator.scoring
        scorers = scorers_by_part(scoring, self.valid is not None)
        if self.valid is not None and self.score_name is not None:
            own = {f"valid_{self.score_name}": self.estimator._score_of_epoch}
            scorers["valid"] = own | scorers["valid"]
        return scorers

    def _check_sampler(self, options: dict[str, Any]) -> None:
        """Raise if a sampler is none, or given while rows are held out or have weight zero."""
        given = [name for name in ("sampler", "batch_sampler") if options.get(name) is not None]
        for name in given:
            if not isinstance(options[name], Iterable):
                raise TypeError(
                    f"iterator_train__{name}={options[name]!r} must be a sampler of torch, or "
                    "another iterable of row numbers. Change it."
                )
        if given and len(self.train.index) != len(self.train.y):
            raise ValueError(
                f"iterator_train__{given[0]} numbers the rows that are trained on, and of "
                f"{len(self.train.y)} rows only {len(self.train.index)} are: others are held out, "
                "or of weight zero. Pass them apart, as validation=(X_val, y_val)."
            )

    def _callback_arguments(self) -> dict[str, Any]:
        """Return the arguments of scikit-learn's callbacks, functions where a call makes them."""
        part = self.train
        weights = part.used_weights
        return {
            "X": lambda: part.X,
            "y": lambda: self.estimator.codec_.decode(part.y[part.index]),
            "metadata": None if weights is None else {"sample_weight": weights},
            "reconstruction_attributes": lambda: {"net_": self.net},
        }
