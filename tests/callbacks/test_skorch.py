"""skorch's callbacks act as they do on skorch's own nets."""

import copy

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import log_loss, make_scorer
from sklearn.model_selection import GridSearchCV
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

from tests.callbacks.shared import Dropping, held_out, net, same_state


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
