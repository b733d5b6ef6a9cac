"""Callbacks of skorch and of scikit-learn, interruptions, the history and what is printed."""

import copy
import io
import json
import re
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.callback import ProgressBar as SklearnProgressBar
from sklearn.callback import ScoringMonitor
from sklearn.metrics import log_loss, make_scorer
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import (
    BatchScoring,
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    Freezer,
    GradientNormClipping,
    Initializer,
    InputShapeSetter,
    LoadInitState,
    LRScheduler,
    ParamMapper,
    PassthroughScoring,
    PrintLog,
    ProgressBar,
    SacredLogger,
    TensorBoard,
    TrainEndCheckpoint,
    Unfreezer,
    WarmRestartLR,
)
from torch import nn

from sktorch import TorchClassifier


def net(module=None, **parameters):
    defaults = {"lr": 0.02, "max_epochs": 5, "batch_size": 32, "random_state": 0}
    return TorchClassifier(module, **(defaults | parameters))


def held_out(**parameters):
    """A net with a validation set, which many callbacks ask for, that trains to the end."""
    return net(early_stopping=True, n_iter_no_change=100, **parameters)


@pytest.fixture(scope="session")
def tumours(scaled):
    """Two classes, standardised; names for labels."""
    X, y = scaled("breast_cancer")
    return X, np.array(["malignant", "benign"])[y]


class Dropping(nn.Module):
    def __init__(self, n_features, n_outputs, dtype):
        super().__init__()
        self.hidden = nn.Linear(n_features, 16, dtype=dtype)
        self.norm = nn.BatchNorm1d(16, dtype=dtype)
        self.drop = nn.Dropout(0.5)
        self.output = nn.Linear(16, n_outputs, dtype=dtype)

    def forward(self, X):
        return self.output(self.drop(self.norm(self.hidden(X)).relu()))


def same_state(one, other):
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


class Recorder(Callback):
    """What was called, in order. A list shared by its copies, as a logger's file is."""

    def __init__(self, calls):
        self.calls = calls

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        self.calls.append("train_begin")

    def on_train_end(self, net, X=None, y=None, **kwargs):
        self.calls.append("train_end")

    def on_epoch_begin(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        self.calls.append("epoch_begin")

    def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        self.calls.append("epoch_end")

    def on_batch_begin(self, net, batch=None, training=None, **kwargs):
        self.calls.append(f"batch_begin {training} {len(batch[0])}")

    def on_batch_end(self, net, batch=None, training=None, **kwargs):
        assert kwargs["y_pred"].shape == (len(batch[1]), 2)
        assert np.isfinite(float(kwargs["loss"]))
        self.calls.append(f"batch_end {training} {len(batch[0])}")

    def on_grad_computed(self, net, named_parameters, **kwargs):
        assert all(parameter.grad is not None for _, parameter in named_parameters)
        self.calls.append("grad_computed")


def test_every_hook_in_order(tumours):
    X, y = tumours
    calls = []
    held_out(callbacks=[Recorder(calls)], max_epochs=2, batch_size=400).fit(X, y)

    def batch(training, size):
        gradient = ["grad_computed"] if training else []
        return [f"batch_begin {training} {size}", *gradient, f"batch_end {training} {size}"]

    epoch = ["epoch_begin", *batch(True, 400), *batch(True, 112), *batch(False, 57), "epoch_end"]
    assert calls == ["train_begin", *epoch, *epoch, "train_end"]


# Callbacks that look on must not change a bit of what is trained.
ONLOOKERS = {
    "recorder": lambda path: Recorder([]),
    "accuracy": lambda path: EpochScoring("accuracy", lower_is_better=False),
    "train accuracy": lambda path: EpochScoring("accuracy", on_train=True, name="train_acc"),
    "roc_auc": lambda path: EpochScoring("roc_auc", lower_is_better=False),
    "batch scoring": lambda path: BatchScoring("accuracy", name="batch_acc"),
    "batch scoring on train": lambda path: BatchScoring("accuracy", name="b", on_train=True),
    "passthrough": lambda path: PassthroughScoring("train_loss", on_train=True),
    "checkpoint": lambda path: Checkpoint(dirname=str(path)),
    "train end checkpoint": lambda path: TrainEndCheckpoint(dirname=str(path)),
    "progress bar": lambda path: ProgressBar(),
    "print log": lambda path: PrintLog(sink=[].append),
    "early stopping": lambda path: EarlyStopping(patience=100),
    "param mapper": lambda path: ParamMapper("*"),
    "clipping": lambda path: GradientNormClipping(1e9),
    "constant rate": lambda path: LRScheduler("StepLR", step_size=1000),
}


@pytest.mark.parametrize("name", ONLOOKERS)
@pytest.mark.parametrize("module", [None, Dropping], ids=["mlp", "dropout"])
def test_onlookers_do_not_change_a_bit(tumours, tmp_path, module, name):
    X, y = tumours
    alone = held_out(module=module, max_epochs=3, batch_size=100).fit(X, y)
    watched = clone(alone).set_params(callbacks=[ONLOOKERS[name](tmp_path)]).fit(X, y)
    assert watched.loss_curve_ == alone.loss_curve_
    assert watched.validation_scores_ == alone.validation_scores_
    assert same_state(watched.module_, alone.module_)


def test_epoch_scoring(tumours):
    X, y = tumours
    fitted = held_out(
        callbacks=[
            EpochScoring("accuracy", lower_is_better=False, name="acc"),
            EpochScoring("roc_auc", lower_is_better=False),
            EpochScoring("neg_log_loss", lower_is_better=False),
            EpochScoring(make_scorer(log_loss, response_method="predict_proba"), name="ll"),
            EpochScoring("accuracy", lower_is_better=False, on_train=True, name="train_acc"),
            EpochScoring(lambda net, X, y: len(y), name="rows"),
            EpochScoring(None, lower_is_better=False, name="default"),
        ]
    ).fit(X, y)
    history = fitted.history_
    assert history[:, "acc"] == history[:, "valid_acc"] == history[:, "default"]
    assert history[:, "acc_best"][0] is True
    assert min(history[:, "roc_auc"]) > 0.9
    np.testing.assert_allclose(history[:, "neg_log_loss"], np.negative(history[:, "ll"]))
    np.testing.assert_allclose(history[:, "ll"], history[:, "valid_loss"], rtol=1e-6)
    assert history[-1, "train_acc"] > 0.95
    assert set(history[:, "rows"]) == {57}


def test_epoch_scoring_of_the_training_rows_without_a_hold_out(tumours):
    X, y = tumours
    last = net(callbacks=[EpochScoring("accuracy", on_train=True, name="train_acc")]).fit(X, y)
    assert last.history_[-1, "train_acc"] == last.score(X, y)


def test_batch_scoring(tumours):
    X, y = tumours
    fitted = held_out(
        callbacks=[
            BatchScoring("accuracy", name="valid", lower_is_better=False),
            BatchScoring("accuracy", name="train", on_train=True, lower_is_better=False),
        ]
    ).fit(X, y)
    history = fitted.history_
    np.testing.assert_allclose(history[:, "valid"], history[:, "valid_acc"])
    assert len(history[-1, "batches", :, "train"]) == 16
    assert history[-1, "train"] > 0.95
    assert history[-1, "train"] == np.average(
        history[-1, "batches", :, "train"], weights=history[-1, "batches", :, "train_batch_size"]
    )


def test_checkpoint_loads_the_best(tumours, tmp_path):
    X, y = tumours
    checkpoint = Checkpoint(
        monitor="valid_loss_best", dirname=str(tmp_path), load_best=True, sink=(said := []).append
    )
    # A rate that spoils the weights after a few epochs.
    spoil = LRScheduler("LambdaLR", lr_lambda=lambda epoch: 1 if epoch < 3 else 100)
    fitted = held_out(callbacks=[checkpoint, spoil], max_epochs=6).fit(X, y)
    losses = np.array(json.loads((tmp_path / "history.json").read_text()), dtype=object)
    assert len(losses) < 6
    assert fitted.history_[-1, "event_cp"] is True
    assert fitted.history_[-1, "valid_loss"] == min(fitted.history_[:, "valid_loss"])
    saved = torch.load(tmp_path / "params.pt", weights_only=True)
    assert saved.keys() == fitted.module_.state_dict().keys()
    assert all(torch.equal(value, fitted.module_.state_dict()[key]) for key, value in saved.items())
    assert {path.name for path in tmp_path.iterdir()} == {
        "params.pt",
        "optimizer.pt",
        "criterion.pt",
        "history.json",
    }
    assert said[-1].startswith("Loading best checkpoint")
    assert fitted.score(X, y) > 0.9


def test_checkpoint_in_memory_by_training_loss(tumours):
    X, y = tumours
    file = io.BytesIO()
    checkpoint = Checkpoint(
        monitor="train_loss_best", f_params=file, f_optimizer=None, f_criterion=None, f_history=None
    )
    fitted = net(callbacks=[("checkpoint", checkpoint)], max_epochs=1).fit(X, y)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    assert all(torch.equal(value, fitted.module_.state_dict()[key]) for key, value in saved.items())


@pytest.mark.parametrize("kind", [TrainEndCheckpoint, partial(Checkpoint, "train_loss_best")])
def test_training_goes_on_from_a_checkpoint(tumours, tmp_path, kind):
    X, y = tumours
    checkpoint = kind(dirname=str(tmp_path))
    # As skorch's documentation has it: the second refers to the first.
    estimator = net(callbacks=[checkpoint, LoadInitState(checkpoint)], max_epochs=2)
    first = estimator.fit(X, y).loss_curve_
    assert len(first) == 2
    second = estimator.set_params(max_epochs=3, random_state=1).fit(X, y).loss_curve_
    assert len(second) == 5
    assert second[:2] == first
    assert second[2] < first[1]
    assert vars(checkpoint) == vars(kind(dirname=str(tmp_path)))


def test_early_stopping_callback_loads_the_best(tumours):
    X, y = tumours
    stopping = EarlyStopping(patience=3, load_best=True, sink=(said := []).append)
    spoil = LRScheduler("LambdaLR", lr_lambda=lambda epoch: 1 if epoch < 4 else 1000)
    fitted = held_out(callbacks=[stopping, spoil], max_epochs=50).fit(X, y)
    losses = fitted.history_[:, "valid_loss"]
    best = int(np.argmin(losses))
    assert fitted.n_epochs_ == best + 1 + 3
    assert said == [f"Restoring best model from epoch {best + 1}."]
    stopped_there = held_out(max_epochs=best + 1).fit(X, y)
    assert losses[best] == min(stopped_there.history_[:, "valid_loss"])


def test_early_stopping_callback_on_the_training_loss(tumours):
    X, y = tumours
    stopping = EarlyStopping(monitor="train_loss", patience=2, threshold=0.5)
    fitted = net(callbacks=[stopping], max_epochs=100, n_iter_no_change=100).fit(X, y)
    assert 3 <= fitted.n_epochs_ < 100
    assert fitted.score(X, y) > 0.9
    assert fitted.best_epoch_ == fitted.n_epochs_
    assert len(fitted.loss_curve_) == fitted.n_epochs_


SCHEDULES = {
    "every epoch": (
        {"policy": "StepLR", "step_size": 1, "gamma": 0.5},
        [0.02, 0.01, 0.005, 0.0025, 0.00125],
    ),
    "class": (
        {"policy": torch.optim.lr_scheduler.MultiStepLR, "milestones": [2, 4], "gamma": 0.1},
        [0.02, 0.02, 0.002, 0.002, 0.0002],
    ),
    "warm restarts": (
        {"policy": WarmRestartLR, "min_lr": 0.01, "max_lr": 0.03, "base_period": 2},
        [0.03, 0.02, 0.01, 0.03, 0.02 + 0.01 * np.cos(np.pi / 4)],
    ),
    "plateau": (  # An improvement by 1 never comes: each second epoch halves the rate.
        {
            "policy": "ReduceLROnPlateau",
            "monitor": "valid_loss",
            "patience": 1,
            "factor": 0.5,
            "threshold": 1.0,
            "threshold_mode": "abs",
        },
        [0.02, 0.02, 0.02, 0.01, 0.01],
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_by_epoch(tumours, name):
    X, y = tumours
    settings, rates = SCHEDULES[name]
    fitted = held_out(callbacks=[LRScheduler(**settings)]).fit(X, y)
    np.testing.assert_allclose(fitted.history_[:, "event_lr"], rates)


def test_schedule_by_batch(tumours):
    X, y = tumours
    n_batches = 16  # of 32 rows each, of 512
    schedule = LRScheduler(
        torch.optim.lr_scheduler.OneCycleLR,
        max_lr=0.02,
        total_steps=3 * n_batches + 1,  # skorch steps after the last batch, too.
        step_every="batch",
    )
    fitted = held_out(callbacks=[schedule], max_epochs=3).fit(X, y)
    rates = np.array(
        [rate for epoch in range(3) for rate in fitted.history_[epoch, "batches", :, "event_lr"]]
    )
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    expected = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=3 * n_batches + 1)
    for rate in rates:
        assert rate == pytest.approx(expected.get_last_lr()[0])
        optimizer.step()
        expected.step()
    assert len(rates) == 3 * n_batches
    assert rates.argmax() == pytest.approx(0.3 * 3 * n_batches, abs=1)
    assert fitted.score(X, y) > 0.95


def test_tensorboard(tumours, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    X, y = tumours
    fitted = held_out(callbacks=[TensorBoard(SummaryWriter(tmp_path))]).fit(X, y)
    events = EventAccumulator(str(tmp_path)).Reload()
    logged = [event.value for event in events.Scalars("Loss/train_loss")]
    np.testing.assert_allclose(logged, fitted.loss_curve_, rtol=1e-6)
    logged = [event.value for event in events.Scalars("Loss/valid_acc")]
    np.testing.assert_allclose(logged, fitted.validation_scores_, rtol=1e-6)


class Experiment:
    """What SacredLogger needs of sacred."""

    def __init__(self):
        self.scalars = []

    def log_scalar(self, name, value, step=None):
        self.scalars.append((name, value, step))


def test_sacred_logger(tumours):
    X, y = tumours
    experiment = Experiment()
    fitted = net(callbacks=[SacredLogger(experiment)], max_epochs=2).fit(X, y)
    losses = [value for name, value, _ in experiment.scalars if name == "train_loss"]
    assert losses == fitted.loss_curve_


def test_progress_bar(tumours, capsys):
    X, y = tumours
    held_out(callbacks=[ProgressBar(detect_notebook=False)], batch_size=100).fit(X, y)
    # Five bars of six batches to train on and one to validate on. More is printed as time goes by.
    assert capsys.readouterr().err.count("0/7 [") == 5


def test_gradients_are_clipped(tumours):
    X, y = tumours
    sgd = {"optimizer": torch.optim.SGD, "max_epochs": 1, "lr": 1.0, "batch_size": 1000}
    start = net(**sgd | {"lr": 1e-30}).fit(X, y)
    clipped = net(**sgd, callbacks=[GradientNormClipping(0.01)]).fit(X, y)
    moved = torch.cat(
        [
            (after - before).flatten()
            for after, before in zip(
                clipped.module_.parameters(), start.module_.parameters(), strict=True
            )
        ]
    )
    # One step of SGD with a rate of one goes as far as the gradient is long.
    assert moved.norm().item() == pytest.approx(0.01, rel=1e-3)


def test_freezer_and_unfreezer(tumours):
    X, y = tumours
    start = net(lr=1e-30, max_epochs=1).fit(X, y)
    frozen = net(callbacks=[Freezer("1.*")]).fit(X, y)
    assert torch.equal(frozen.module_[1].weight, start.module_[1].weight)
    assert not torch.equal(frozen.module_[3].weight, start.module_[3].weight)
    assert frozen.score(X, y) > 0.9
    thawed = net(callbacks=[Freezer("1.*"), Unfreezer("1.*", at=3)]).fit(X, y)
    assert not torch.equal(thawed.module_[1].weight, start.module_[1].weight)


def test_initializer(tumours):
    X, y = tumours
    zeros = Initializer("3.*", fn=lambda parameter: nn.init.constant_(parameter, 0.5))
    fitted = net(callbacks=[zeros], lr=1e-30, max_epochs=1).fit(X, y)
    assert (fitted.module_[3].weight == 0.5).all()


class InputDim(nn.Module):
    def __init__(self, input_dim=7):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(input_dim, 8), nn.ReLU(), nn.Linear(8, 2))

    def forward(self, X):
        return self.layers(X)


def test_input_shape_setter(tumours):
    X, y = tumours
    torch.manual_seed(5)
    before = torch.get_rng_state()
    fits = [net(InputDim, callbacks=[InputShapeSetter()]).fit(X, y) for _ in range(2)]
    assert fits[0].module_.layers[0].in_features == 30
    assert fits[0].score(X, y) > 0.9
    assert same_state(fits[0].module_, fits[1].module_)
    assert torch.equal(torch.get_rng_state(), before)


def test_input_shape_setter_of_a_shape_that_is_right_anyway(tumours):
    X, y = tumours
    setter = InputShapeSetter(param_name="n_features")
    fitted = net(callbacks=[setter]).fit(X, y)
    assert same_state(fitted.module_, net().fit(X, y).module_)


def test_callbacks_of_the_user_are_not_changed(tumours):
    X, y = tumours
    callbacks = [
        EarlyStopping(monitor="train_loss", patience=2),
        ("scoring", EpochScoring("accuracy", on_train=True, name="acc")),
        LRScheduler("StepLR", step_size=1),
        Freezer("1.*"),
        GradientNormClipping(1.0),
    ]
    before = copy.deepcopy([vars(c[1] if isinstance(c, tuple) else c) for c in callbacks])
    estimator = net(
        callbacks=callbacks, callbacks__scoring__name="renamed", callbacks__Freezer__at=2
    )
    estimator.fit(X, y)
    assert estimator.callbacks is callbacks
    after = [vars(c[1] if isinstance(c, tuple) else c) for c in callbacks]
    assert after == before
    assert "renamed" in estimator.history_[-1]
    again = clone(estimator).fit(X, y)
    assert same_state(again.module_, estimator.module_)


def test_parameters_of_callbacks(tumours):
    X, y = tumours
    estimator = net(callbacks=[("clip", GradientNormClipping()), EarlyStopping("train_loss")])
    estimator.set_params(callbacks__clip__gradient_clip_value=0.5, callbacks__EarlyStopping=None)
    assert estimator.get_params()["callbacks__clip__gradient_clip_value"] == 0.5
    fitted = clone(estimator).fit(X, y)
    assert dict(fitted.net_.callbacks_)["clip"].gradient_clip_value == 0.5
    assert "EarlyStopping" not in dict(fitted.net_.callbacks_)  # None turns it off.
    with pytest.raises(ValueError, match="clap"):
        net(callbacks=[("clip", GradientNormClipping())], callbacks__clap__x=1).fit(X, y)
    silent = net(verbose=1, callbacks__print_log=None).fit(X, y)
    assert silent.n_epochs_ == 5


def test_grid_search_over_a_callback(tumours):
    X, y = tumours
    search = GridSearchCV(
        net(optimizer=torch.optim.SGD, callbacks=[("clip", GradientNormClipping())]),
        {"callbacks__clip__gradient_clip_value": [1e-6, 10.0]},
        cv=3,
    ).fit(X, y)
    assert search.best_params_ == {"callbacks__clip__gradient_clip_value": 10.0}
    assert np.ptp(search.cv_results_["mean_test_score"]) > 0.05


class Stop(Callback):
    """Asks for the end of training, as skorch's callbacks do, at a hook of a later epoch."""

    def __init__(self, hook, epoch=3):
        self.hook, self.epoch = hook, epoch

    def _stop(self, net, hook):
        if hook == self.hook and len(net.history) >= self.epoch:
            raise KeyboardInterrupt

    def on_epoch_begin(self, net, **kwargs):
        self._stop(net, "epoch begin")

    def on_batch_end(self, net, training=None, **kwargs):
        if training:
            self._stop(net, "batch end")

    def on_epoch_end(self, net, **kwargs):
        self._stop(net, "epoch end")


# Epochs of which the losses are known when training ends.
STOPS = {"epoch begin": 2, "batch end": 2, "epoch end": 3}


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("hook", STOPS)
def test_a_callback_that_asks_for_a_stop(tumours, hook, early_stopping):
    X, y = tumours
    fitted = net(early_stopping=early_stopping, callbacks=[Stop(hook)], max_epochs=50).fit(X, y)
    assert fitted.score(X, y) > 0.9
    assert len(fitted.loss_curve_) == STOPS[hook]
    assert None not in fitted.loss_curve_
    assert fitted.best_epoch_ <= fitted.n_epochs_
    if early_stopping:
        assert len(fitted.validation_scores_) == STOPS[hook]
        assert fitted.validation_scores_[fitted.best_epoch_ - 1] == max(fitted.validation_scores_)
    fitted.partial_fit(X, y)  # The model is whole.
    assert fitted.loss_curve_[-1] < fitted.loss_curve_[0]


class StopWhenGood(Callback):
    def on_epoch_end(self, net, **kwargs):
        if net.history[-1, "valid_acc"] == max(net.history[:, "valid_acc"]) > 0.8:
            raise KeyboardInterrupt


def test_the_epoch_that_asks_for_a_stop_counts(tumours):
    # A slow rate: the first epochs are bad, and the last is the best.
    X, y = tumours
    fitted = held_out(lr=1e-4, max_epochs=100, callbacks=[StopWhenGood()]).fit(X, y)
    assert 1 < fitted.n_epochs_ < 100
    assert fitted.best_epoch_ == fitted.n_epochs_
    straight = held_out(lr=1e-4, max_epochs=fitted.n_epochs_).fit(X, y)
    assert same_state(fitted.module_, straight.module_)


def test_a_callback_that_asks_for_a_stop_within_a_search(tumours):
    X, y = tumours
    search = GridSearchCV(
        net(callbacks=[Stop("epoch end", epoch=2)]), {"lr": [1e-5, 0.02]}, cv=3, error_score="raise"
    ).fit(X, y)
    assert search.best_params_ == {"lr": 0.02}
    assert search.best_estimator_.n_epochs_ == 2


class Interrupted(nn.Module):
    """Ctrl-C in the n-th forward pass that trains, or (``training=False``) that does not.

    The first that does not is the one that tries the module on two rows.
    """

    def __init__(self, n_features, n_outputs, n, training=True):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_features, 16), nn.ReLU(), nn.Linear(16, n_outputs))
        self.n, self.counts = n, training
        self.n_passes = 0

    def forward(self, X):
        if self.training == self.counts:
            self.n_passes += 1
            if self.n_passes == self.n:
                raise KeyboardInterrupt
        return self.layers(X)


ROWS_OF_A_BATCH = 64  # Nine batches an epoch of the whole data, eight with a hold-out.
INTERRUPTED = [
    # n-th pass, of training, early stopping, whole epochs
    pytest.param(9 * 3 + 4, True, False, 3, id="training"),
    pytest.param(8 * 3 + 4, True, True, 3, id="training-with-hold-out"),
    pytest.param(1 + 3, False, True, 2, id="validation"),
]


def interrupted(n, training=True, **parameters):
    return net(
        Interrupted,
        module__n=n,
        module__training=training,
        max_epochs=50,
        batch_size=ROWS_OF_A_BATCH,
        **parameters,
    )


@pytest.mark.parametrize("in_pipeline", [False, True], ids=["plain", "pipeline"])
@pytest.mark.parametrize(("n", "training", "early_stopping", "whole"), INTERRUPTED)
def test_an_interrupt_keeps_the_model(tumours, n, training, early_stopping, whole, in_pipeline):
    X, y = tumours
    estimator = interrupted(n, training, early_stopping=early_stopping)
    model = make_pipeline(StandardScaler(), estimator) if in_pipeline else estimator
    with pytest.warns(UserWarning, match=f"interrupted in epoch {whole + 1} of 50"):
        model.fit(X, y)
    assert model.score(X, y) > 0.9
    assert not estimator.module_.training
    assert len(estimator.loss_curve_) >= whole
    assert None not in estimator.loss_curve_
    if early_stopping:
        scores = estimator.validation_scores_
        assert len(scores) == whole
        assert estimator.best_epoch_ <= whole
        assert scores[estimator.best_epoch_ - 1] == max(scores)
    else:
        assert estimator.best_epoch_ in (whole, whole + 1)


def test_an_interrupt_restores_the_best_weights(tumours):
    X, y = tumours
    estimator = interrupted(8 * 3 + 4, early_stopping=True)
    with pytest.warns(UserWarning, match="interrupted"):
        estimator.fit(X, y)
    whole = interrupted(10**9, early_stopping=True).set_params(max_epochs=3).fit(X, y)
    assert estimator.best_epoch_ == whole.best_epoch_
    np.testing.assert_array_equal(estimator.predict_proba(X), whole.predict_proba(X))


def test_an_interrupt_before_the_first_epoch_is_over_is_none_of_ours(tumours):
    X, y = tumours
    estimator = interrupted(3)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(X, y)
    assert not hasattr(estimator, "module_")
    assert not hasattr(estimator, "classes_")

    fitted = net(Interrupted, module__n=10**9, batch_size=ROWS_OF_A_BATCH).fit(X, y)
    before = fitted.predict_proba(X)
    with pytest.raises(KeyboardInterrupt):
        fitted.set_params(module__n=3).fit(X, y)
    np.testing.assert_array_equal(fitted.predict_proba(X), before)


INTERRUPTED_USERS = {
    "cross_val_score": lambda estimator, X, y: cross_val_score(estimator, X, y, cv=3),
    "of a pipeline": lambda estimator, X, y: cross_val_score(
        make_pipeline(StandardScaler(), estimator), X, y, cv=3
    ),
    "GridSearchCV": lambda estimator, X, y: GridSearchCV(estimator, {"lr": [0.01, 0.02]}, cv=3).fit(
        X, y
    ),
    "GridSearchCV in a pipeline": lambda estimator, X, y: make_pipeline(
        StandardScaler(), GridSearchCV(estimator, {"lr": [0.01, 0.02]}, cv=3)
    ).fit(X, y),
    "cross_val_score with two jobs": lambda estimator, X, y: cross_val_score(
        estimator, X, y, cv=3, n_jobs=2
    ),
}


@pytest.mark.parametrize("user", INTERRUPTED_USERS)
def test_an_interrupt_ends_a_search(tumours, user):
    X, y = tumours
    with pytest.raises(KeyboardInterrupt):
        INTERRUPTED_USERS[user](interrupted(9 * 3 + 4), X, y)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_history(tumours, early_stopping):
    X, y = tumours
    fitted = net(early_stopping=early_stopping, batch_size=100).fit(X, y)
    history = fitted.history_
    n_train = 512 if early_stopping else 569
    sizes = [100] * (n_train // 100) + [n_train % 100]
    assert len(history) == 5
    assert history[:, "epoch"] == [1, 2, 3, 4, 5]
    for row in history:
        batches = [batch for batch in row["batches"] if "train_loss" in batch]
        assert [batch["train_batch_size"] for batch in batches] == sizes
        mean = np.average([batch["train_loss"] for batch in batches], weights=sizes)
        assert row["train_loss"] == pytest.approx(mean)
        assert row["dur"] > 0
        assert row["train_batch_count"] == len(sizes)
        assert ("valid_loss" in row) == ("valid_acc" in row) == early_stopping
    assert fitted.loss_curve_ == history[:, "train_loss"]
    if early_stopping:
        assert fitted.validation_scores_ == history[:, "valid_acc"]
        assert history[:, "valid_loss"][-1] < history[:, "valid_loss"][0]
        assert set(history[:, "valid_batch_count"]) == {1}
    else:
        assert fitted.validation_scores_ is None
    losses = fitted.loss_curve_
    assert history[:, "train_loss_best"] == [
        loss == min(losses[: epoch + 1]) for epoch, loss in enumerate(losses)
    ]
    json.dumps(list(history))  # Plain numbers.


COLOURS = re.compile(r"\x1b\[\d*m")


@pytest.mark.parametrize("early_stopping", [False, True])
def test_verbose_prints_a_line_an_epoch(tumours, capsys, early_stopping):
    X, y = tumours
    fitted = net(early_stopping=early_stopping, verbose=1).fit(X, y)
    header, rule, *lines = COLOURS.sub("", capsys.readouterr().out).splitlines()
    columns = header.split()
    expected = {"epoch", "train_loss", "dur"}
    if early_stopping:
        expected |= {"valid_loss", "valid_acc"}
    assert expected <= set(columns)
    assert len(columns) == len(rule.split())
    assert len(lines) == fitted.n_epochs_ == 5
    for line, row in zip(lines, fitted.history_, strict=True):
        printed = dict(zip(columns, line.split(), strict=True))
        for name in expected:
            assert float(printed[name]) == pytest.approx(row[name], abs=6e-5)


def test_verbose_prints_in_partial_fit_and_nothing_else_does(tumours, capsys):
    X, y = tumours
    net(verbose=1).partial_fit(X, y, classes=np.unique(y))
    assert len(capsys.readouterr().out.splitlines()) == 3
    net(verbose=0).fit(X, y).predict(X)
    assert capsys.readouterr() == ("", "")


# scikit-learn's own callbacks.


def scored_epochs(monitor):
    """Log of scikit-learn's monitor, the rows that are epochs."""
    return [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]


@pytest.mark.parametrize("early_stopping", [False, True])
def test_scoring_monitor(tumours, early_stopping):
    X, y = tumours
    monitor = ScoringMonitor(scoring=["accuracy", "roc_auc", "neg_log_loss"])
    estimator = net(early_stopping=early_stopping, n_iter_no_change=100)
    fitted = clone(estimator).set_callbacks(monitor).fit(X, y)
    rows = scored_epochs(monitor)
    assert [row["task_id"] for row in rows] == list(range(fitted.n_epochs_))
    assert rows[-1]["roc_auc"] > 0.95
    assert rows[0]["neg_log_loss"] < rows[-1]["neg_log_loss"]
    if not early_stopping:  # Each epoch is scored with its weights: those of a fit that ends there.
        for n_epochs in (1, 3, 5):
            expected = clone(estimator).set_params(max_epochs=n_epochs).fit(X, y).score(X, y)
            assert rows[n_epochs - 1]["accuracy"] == expected
    assert same_state(fitted.module_, estimator.fit(X, y).module_)  # It only looks on.


def test_scoring_monitor_with_dropout_weights_and_an_early_end(tumours):
    X, y = tumours
    weight = (np.arange(len(y)) % 4 > 0) * 2.0
    monitor = ScoringMonitor(scoring="accuracy")
    estimator = net(Dropping, n_iter_no_change=2, tol=10.0, max_epochs=50)
    fitted = clone(estimator).set_callbacks(monitor).fit(X, y, sample_weight=weight)
    assert fitted.n_epochs_ == len(scored_epochs(monitor)) == 3
    assert same_state(fitted.module_, estimator.fit(X, y, sample_weight=weight).module_)
    expected = fitted.score(X, y, sample_weight=weight)
    assert scored_epochs(monitor)[-1]["accuracy"] == pytest.approx(expected)


def test_a_stop_by_a_skorch_callback_is_told_to_scikit_learns(tumours):
    X, y = tumours
    monitor = ScoringMonitor(scoring="accuracy")
    fitted = net(callbacks=[Stop("epoch end")]).set_callbacks(monitor).fit(X, y)
    assert fitted.n_epochs_ == len(scored_epochs(monitor)) == 3


def test_scoring_monitor_in_a_pipeline(tumours):
    X, y = tumours
    monitor = ScoringMonitor(scoring="accuracy")
    pipeline = make_pipeline(StandardScaler(), net().set_callbacks(monitor)).fit(X, y)
    rows = scored_epochs(monitor)
    assert [row["task_id"] for row in rows] == [0, 1, 2, 3, 4]
    assert rows[-1]["accuracy"] == pipeline.score(X, y)
    # Root, step of the pipeline, epoch.
    assert all(len(row["task_id_path"]) == 3 for row in rows)
    assert monitor.get_logs().estimator_name == "Pipeline"


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_scoring_monitor_in_a_grid_search(tumours, n_jobs):
    X, y = tumours
    monitor = ScoringMonitor(scoring="accuracy")
    pipeline = make_pipeline(StandardScaler(), net(max_epochs=3).set_callbacks(monitor))
    search = GridSearchCV(pipeline, {"torchclassifier__lr": [1e-5, 0.02]}, cv=3, n_jobs=n_jobs)
    search.fit(X, y)
    log = monitor.get_logs()
    rows = scored_epochs(monitor)
    assert log.estimator_name == "GridSearchCV"
    assert len(rows) == (2 * 3 + 1) * 3  # candidates × folds, and the refit; three epochs each
    fits = {row["parent_task_id_path"] for row in rows}
    assert len(fits) == 7
    refit = max(rows, key=lambda row: (row["task_id_path"][:1] == (1,), row["task_id_path"]))
    assert refit["accuracy"] == search.score(X, y)


def test_sklearn_progress_bar_alone(tumours, capsys):
    X, y = tumours
    fitted = net().set_callbacks(SklearnProgressBar()).fit(X, y)
    printed = capsys.readouterr().out
    assert "TorchClassifier - fit" in printed
    assert "100%" in printed
    assert same_state(fitted.module_, net().fit(X, y).module_)


def test_sklearn_progress_bar_nested(tumours, capsys):
    X, y = tumours
    pipeline = make_pipeline(StandardScaler(), net(max_epochs=2))
    search = GridSearchCV(pipeline, {"torchclassifier__lr": [1e-5, 0.02]}, cv=2)
    search.set_callbacks(SklearnProgressBar(max_propagation_depth=None)).fit(X, y)
    printed = capsys.readouterr().out
    assert "GridSearchCV - fit" in printed
    assert "Pipeline - fit" in printed
    assert "TorchClassifier - fit" in printed
    assert search.best_params_ == {"torchclassifier__lr": 0.02}


class SklearnRecorder:
    """A callback as scikit-learn defines them; stops after some epochs."""

    def __init__(self, stop_after=None):
        self.stop_after, self.calls = stop_after, []

    def setup(self, estimator, context):
        self.calls.append("setup")

    def teardown(self, estimator, context):
        self.calls.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.calls.append(f"begin {context.task_name} {context.task_id} {context.max_subtasks}")

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator, metadata):
        self.calls.append(f"end {context.task_name} {context.task_id}")
        assert set(np.unique(y)) == {"malignant", "benign"}
        assert len(X) == len(y)
        if context.task_name == "epoch":
            assert fitted_estimator.n_epochs_ == context.task_id + 1
        return self.stop_after is not None and context.task_id + 1 >= self.stop_after


def test_epochs_are_subtasks_of_fit(tumours):
    X, y = tumours
    recorder = SklearnRecorder()
    net(max_epochs=2).set_callbacks(recorder).fit(X, y)
    assert recorder.calls == [
        "setup",
        "begin fit 0 2",
        "begin epoch 0 0",
        "end epoch 0",
        "begin epoch 1 0",
        "end epoch 1",
        "end fit 0",
        "teardown",
    ]
    recorder.calls.clear()
    net().set_callbacks(recorder).partial_fit(X, y, classes=np.unique(y))
    assert recorder.calls.count("end epoch 0") == 1
    assert recorder.calls[-1] == "teardown"


def test_a_sklearn_callback_that_asks_for_a_stop(tumours):
    X, y = tumours
    fitted = net().set_callbacks(SklearnRecorder(stop_after=3)).fit(X, y)
    assert fitted.n_epochs_ == 3
    assert same_state(fitted.module_, net(max_epochs=3).fit(X, y).module_)


def test_a_sklearn_callback_is_torn_down_when_fit_fails(tumours):
    X, y = tumours
    recorder = SklearnRecorder()
    with pytest.raises(ValueError, match="train_loss is"):
        net(lr=1e30, optimizer=torch.optim.SGD).set_callbacks(recorder).fit(X, y)
    assert recorder.calls[0] == "setup"
    assert recorder.calls[-1] == "teardown"
