"""Trainings that are broken off and go on from their checkpoint: the same model, to the bit."""

import math
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.ensemble import BaggingClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, EarlyStopping, EpochScoring, Freezer, LRScheduler
from torch import nn
from torch.optim import lr_scheduler
from torch.utils.data import Dataset, IterableDataset, RandomSampler, TensorDataset

from sktorch import TorchClassifier, TorchRegressor
from sktorch.data import SliceableDataset
from sktorch.modules import MLP, Ensemble, RecurrentNet
from sktorch.training.programs import forget_programs


class BrokenOffError(Exception):
    pass


class BreakOff:
    """A callback of scikit-learn, which changes nothing, that fails at the end of an epoch."""

    def __init__(self, after):
        self.after = after

    def setup(self, estimator, context):
        self.left = self.after

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        if context.task_name == "epoch":
            self.left -= 1
            if self.left < 0:
                raise BrokenOffError


class Dropping(nn.Module):
    """Draws from all generators, has batch statistics, and counts its calls."""

    def __init__(self, n_features, n_outputs, width=16):
        super().__init__()
        self.hidden = nn.Linear(n_features, width)
        self.norm = nn.BatchNorm1d(width)
        self.drop = nn.Dropout(0.5)
        self.output = nn.Linear(width, n_outputs)
        self.register_buffer("hidden_mean", torch.zeros(width), persistent=False)
        self.n_calls, self.scale = 0, torch.ones(())

    def forward(self, X):
        hidden = self.norm(self.hidden(X)).relu()
        if self.training:
            self.n_calls += 1
            self.hidden_mean += hidden.mean(0).detach()
            self.scale = self.scale * 1.01
            hidden = hidden * (1 + 0.1 * random.random() + 0.1 * np.random.rand())
        noise = self.hidden_mean.sin() * 0.01 * self.scale
        return self.output(self.drop(hidden + noise + 0.001 * math.sin(self.n_calls)))


class Tied(nn.Module):
    def __init__(self, n_features, n_outputs):
        super().__init__()
        self.first, self.last = nn.Linear(n_features, n_features), nn.Linear(n_features, n_outputs)
        self.second = nn.Linear(n_features, n_features)
        self.second.weight = self.first.weight

    def forward(self, X):
        return self.last(self.second(self.first(X).relu()).relu())


class Learnt(nn.Module):
    """A loss with a parameter and a buffer of its own."""

    def __init__(self):
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, output, target):
        loss = nn.functional.cross_entropy(output * self.log_scale.exp(), target)
        self.mean.mul_(0.9).add_(loss.detach())
        return loss + 0.1 * self.mean * self.log_scale


class Flowers(IterableDataset):
    """A stream that shuffles by a generator and by a count of its own."""

    def __init__(self, X, y):
        self.X, self.y = torch.tensor(X), torch.tensor(y)
        self.generator, self.epoch = np.random.default_rng(0), 0

    def __iter__(self):
        self.epoch += 1
        order = np.roll(self.generator.permutation(len(self.y)), self.epoch)
        return ((self.X[i], self.y[i]) for i in order)


class Jittered(Dataset):
    """Samples that are drawn anew in every epoch, from a generator and a global one."""

    def __init__(self, X, y):
        self.X, self.y, self.generator = X, y, random.Random(0)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        noise = 0.1 * self.generator.gauss(0, 1) + 0.1 * torch.randn(()).item()
        return torch.tensor(self.X[i] + noise), int(self.y[i])


class Remembering(Callback):
    """Counts in containers, and changes the training by what it has counted."""

    def __init__(self, log):
        self.log = log

    def on_train_begin(self, net, **kwargs):
        self.seen_, self.losses_, self.generator_ = Counter(), {}, np.random.RandomState(0)

    def on_epoch_end(self, net, **kwargs):
        self.seen_[len(net.history) % 2] += 1
        self.losses_[len(net.history)] = np.float64(net.history[-1, "train_loss"])
        self.log.append(len(net.history))
        for group in net.optimizer_.param_groups:
            group["lr"] *= 1 - 0.1 * self.generator_.rand() / self.seen_.total()


def jitter(X):
    return X + 0.1 * torch.randn_like(X) + 0.1 * float(np.random.rand())


def watched_jitter(X):
    sys.audit("test.training")
    return jitter(X)


def watched_score(estimator, X, y):
    sys.audit("test.validation")
    return estimator.score(X, y)


def by_hand(optimizer, rate=0.9):
    return lr_scheduler.SequentialLR(
        optimizer,
        [
            lr_scheduler.LambdaLR(optimizer, lambda epoch: rate**epoch),
            lr_scheduler.MultiStepLR(optimizer, [1, 3]),
        ],
        milestones=[3],
    )


def net(module=Dropping, **parameters):
    defaults = {"lr": 0.02, "max_epochs": 7, "batch_size": 32, "random_state": 0}
    return TorchClassifier(module, **(defaults | parameters))


def numbers(**parameters):
    defaults = {"lr": 0.02, "max_epochs": 7, "batch_size": 32, "random_state": 0}
    return TorchRegressor(Dropping, **(defaults | parameters))


CYCLE = LRScheduler(lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=50, step_every="batch")
STOPPING = {"early_stopping": True}
CASES = {
    "default module": lambda: net(None),
    "own module": lambda: net(),
    "early stopping": lambda: net(**STOPPING),
    "stopped early": lambda: net(None, tol=math.inf, n_iter_no_change=6, max_epochs=20),
    "tied weights": lambda: net(Tied, **STOPPING),
    "learnt loss": lambda: net(criterion=Learnt),
    "deep": lambda: net(None, module__hidden=(8, 8), module__dropout=0.3),
    "sgd": lambda: net(optimizer="sgd", optimizer__momentum=0.9, optimizer__nesterov=True),
    "groups": lambda: net(optimizer__param_groups=[("*.bias", {"lr": 0.1, "weight_decay": 0.0})]),
    "factors": lambda: net(
        optimizer__param_groups=[("*.bias", {"lr_factor": 0.1})], lr_schedule="cosine"
    ),
    "ensemble": lambda: net(Ensemble, module__module=MLP, module__n_members=3, **STOPPING),
    "rmsprop": lambda: net(optimizer=torch.optim.RMSprop, optimizer__centered=True),
    "adamax": lambda: net(optimizer=torch.optim.Adamax),
    "adafactor": lambda: net(optimizer=torch.optim.Adafactor),
    "asgd": lambda: net(optimizer=torch.optim.ASGD),
    "rprop": lambda: net(optimizer=torch.optim.Rprop),
    "lbfgs": lambda: net(None, optimizer=torch.optim.LBFGS, lr=0.1),
    "accumulation": lambda: net(gradient_accumulation=3, gradient_clip=0.5),
    "float16": lambda: net(None, precision="float16"),
    "bfloat16": lambda: net(None, precision="bfloat16"),
    "cosine": lambda: net(lr_schedule="cosine", lr_schedule__warm_up=2.5),
    "flat cosine": lambda: net(lr_schedule="flat_cosine", lr_schedule__warm_up=1),
    "cosine log": lambda: net(lr_schedule="cosine_log"),
    "one cycle": lambda: net(lr_schedule="one_cycle"),
    "cyclic": lambda: net(lr_schedule="cyclic", optimizer="sgd", optimizer__momentum=0.9),
    "plateau": lambda: net(lr_schedule="plateau", lr_schedule__patience=0, **STOPPING),
    "restarts": lambda: net(lr_schedule="cosine_warm_restarts", lr_schedule__T_0=2),
    "exponential": lambda: net(lr_schedule=lr_scheduler.ExponentialLR, lr_schedule__gamma=0.8),
    "multi step": lambda: net(lr_schedule="multi_step", lr_schedule__step_every="batch"),
    "own schedule": lambda: net(lr_schedule=by_hand, lr_schedule__rate=0.8),
    "augmented": lambda: net(None, augment=jitter),
    "scoring": lambda: net(
        scoring=["f1_macro", "train_accuracy"], monitor="valid_f1_macro", **STOPPING
    ),
    "loader": lambda: net(None, iterator_train__timeout=0),
    "generator": lambda: net(None, iterator_train__generator=torch.Generator().manual_seed(3)),
    "sampler": lambda: net(
        None,
        iterator_train__sampler=RandomSampler(
            range(150), generator=torch.Generator().manual_seed(3)
        ),
    ),
    "callbacks": lambda: net(
        callbacks=[
            EpochScoring("accuracy", lower_is_better=False, name="own_accuracy", on_train=True),
            ("stop", EarlyStopping("valid_loss", patience=20, load_best=True)),
            LRScheduler("StepLR", step_size=2),
            Freezer("hidden.*", at=2),
            Remembering([]),
        ],
        **STOPPING,
    ),
    "batch schedule": lambda: net(callbacks=[CYCLE]),
    "class weights": lambda: net(class_weight={0: 1.0, 1: 2.0, 2: 0.5}),
    "regression": lambda: numbers(**STOPPING),
    "gaussian": lambda: numbers(criterion="gaussian_nll"),
}


def data_of(name, iris):
    X, y = iris
    if name == "stream":
        return Flowers(X, y), None
    return X, y


def assert_same(one, other):
    """Two estimators hold the same numbers to the bit, and train on alike."""
    a, b = one.module_.state_dict(), other.module_.state_dict()
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name
    torch.testing.assert_close(
        one.optimizer_.state_dict(), other.optimizer_.state_dict(), rtol=0, atol=0
    )
    assert one.best_epoch_ == other.best_epoch_
    rows = [
        [{k: v for k, v in row.items() if k != "dur"} for row in estimator.history_.to_list()]
        for estimator in (one, other)
    ]
    np.testing.assert_equal(*rows)


def load_scaled_iris():
    X, y = load_iris(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def broken_off(estimator, after, *data):
    """Fit, but fail at the end of an epoch, after so many whole ones."""
    estimator.set_callbacks(BreakOff(after))
    with pytest.raises(BrokenOffError):
        estimator.fit(*data)


@pytest.mark.parametrize("after", [1, 4])
@pytest.mark.parametrize("name", CASES)
def test_a_training_goes_on_to_the_bit(iris, tmp_path, name, after):
    make, path = CASES[name], tmp_path / "net.checkpoint"
    whole = make().fit(*iris)
    broken_off(make().set_params(checkpoint=path), after, *iris)
    resumed = make().set_params(checkpoint=path).fit(*iris)
    assert_same(resumed, whole)
    if name != "callbacks":  # One monitors rows that partial_fit does not hold out.
        assert_same(resumed.partial_fit(*iris), whole.partial_fit(*iris))
    assert [file.name for file in tmp_path.iterdir()] == ["net.checkpoint"]


def weights(y):
    return np.where(y == 1, 0.0, 1.0 + np.arange(len(y)) % 3)


# Data of every kind, made anew as by another process: arguments of fit, and parameters.
DATA = {
    "sample weights": lambda X, y: ((X, y, weights(y)), STOPPING),
    "groups": lambda X, y: ((X, y, None, np.arange(len(y)) // 5), STOPPING),
    "tensors": lambda X, y: ((torch.tensor(X), torch.tensor(y)), {}),
    "dataset": lambda X, y: ((Jittered(X, y),), {}),
    "sliced dataset": lambda X, y: ((SliceableDataset(Jittered(X, y))[::2], y[::2]), STOPPING),
    "workers": lambda X, y: (
        (TensorDataset(torch.tensor(X), torch.tensor(y)),),
        {"iterator_train__num_workers": 1},
    ),
    "stream": lambda X, y: ((Flowers(X, y),), {"validation": Flowers(X, y), **STOPPING}),
    "validation": lambda X, y: ((X, y), {"validation": (X[::2], y[::2]), **STOPPING}),
    "validation dataset": lambda X, y: ((X, y), {"validation": Jittered(X, y)}),
    "sequences": lambda X, y: (
        (X[:, :, None], y),
        {"module": RecurrentNet, "module__cell": "lstm", "module__n_layers": 2, **STOPPING},
    ),
    "labels": lambda X, y: ((X, np.array(["a", "b", "c"])[y]), {}),
    "float32": lambda X, y: ((X.astype("float32"), y), {"data_placement": "source"}),
}


@pytest.mark.parametrize("name", DATA)
def test_data_of_every_kind_go_on(iris, tmp_path, name):
    def data():
        arguments, parameters = DATA[name](*iris)
        return net(**({"module": None, "module__dropout": 0.2} | parameters)), arguments

    path = tmp_path / "net.checkpoint"
    whole, arguments = data()
    whole.fit(*arguments)
    begun, arguments = data()
    broken_off(begun.set_params(checkpoint=path), 3, *arguments)
    resumed, arguments = data()
    assert_same(resumed.set_params(checkpoint=path).fit(*arguments), whole)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_replayed_steps_go_on_as_replays(iris, tmp_path, dropout):
    def make(**parameters):
        return net(None, module__dropout=dropout, max_epochs=30, tol=-math.inf, **parameters)

    whole = make().fit(*iris)
    forget_programs()
    broken_off(make(checkpoint=tmp_path / "net.checkpoint"), 15, *iris)
    forget_programs()
    resumed = make(checkpoint=tmp_path / "net.checkpoint").fit(*iris)
    assert whole.eager_reason_ is None
    assert resumed.eager_reason_ is None
    assert_same(resumed, whole)


def test_state_in_persistent_workers_is_told(iris, tmp_path):
    estimator = net(
        None,
        max_epochs=2,
        checkpoint=tmp_path / "net.checkpoint",
        iterator_train__num_workers=1,
        iterator_train__persistent_workers=True,
    )
    with pytest.warns(UserWarning, match="persistent_workers=True, a checkpoint can't hold"):
        estimator.fit(Jittered(*iris))
    (tmp_path / "net.checkpoint").unlink()
    estimator.fit(*iris)  # Rows of an array keep nothing.


def test_without_random_state_the_seed_is_that_of_the_checkpoint(iris, tmp_path):
    path = tmp_path / "net.checkpoint"
    begun = net(random_state=None, checkpoint=path, **STOPPING)
    broken_off(begun, 3, *iris)
    first = net(random_state=None, checkpoint=path, **STOPPING).fit(*iris)
    again = net(random_state=None, checkpoint=path, **STOPPING).fit(*iris)
    assert_same(first, again)
    assert first.n_epochs_ == 7
    path.unlink()
    assert first.loss_curve_ != first.fit(*iris).loss_curve_


def test_a_generator_as_random_state_draws_the_same_seed(iris, tmp_path):
    path = tmp_path / "net.checkpoint"
    broken_off(net(random_state=np.random.RandomState(3), checkpoint=path), 3, *iris)
    resumed = net(random_state=np.random.RandomState(3), checkpoint=path).fit(*iris)
    assert_same(resumed, net(random_state=np.random.RandomState(3)).fit(*iris))
    with pytest.raises(ValueError, match="other random_state, and"):
        net(random_state=np.random.RandomState(4), checkpoint=path).fit(*iris)


def test_a_finished_training_is_loaded_at_once(iris, tmp_path):
    path = tmp_path / "net.checkpoint"
    whole = net(checkpoint=path, **STOPPING).fit(*iris)
    loaded = net(checkpoint=path, **STOPPING).set_callbacks(BreakOff(0)).fit(*iris)
    assert_same(loaded, whole)


def shifted(output, target, reduction="mean"):
    return nn.functional.cross_entropy(output, target, reduction=reduction, label_smoothing=0.1)


def other_shifted(output, target, reduction="mean"):
    return nn.functional.cross_entropy(output, target, reduction=reduction, label_smoothing=0.2)


other_shifted.__qualname__ = other_shifted.__name__ = "shifted"  # as after an edit

DIFFERENCES = {
    "X": ({}, lambda X, y: (X + 1e-9, y)),
    "y": ({}, lambda X, y: (X, np.roll(y, 1))),
    "labels": ({}, lambda X, y: (X, y + 1)),
    "sample_weight": ({}, lambda X, y: (X, y, np.ones(len(y)))),
    "groups": ({}, lambda X, y: (X, y, None, np.arange(len(y)))),
    "lr": ({"lr": 0.03}, None),
    "module": ({"module": Tied}, None),
    "module__width": ({"module__width": 17}, None),
    "criterion": ({"criterion": other_shifted}, None),
    "batch_size": ({"batch_size": 31}, None),
    "random_state": ({"random_state": 1}, None),
    "early_stopping": ({"early_stopping": True}, None),
    "callbacks and max_epochs": ({"callbacks": [Freezer("hidden.*")], "max_epochs": 9}, None),
    "lr_schedule and max_epochs": ({"lr_schedule": "cosine", "max_epochs": 9}, None),
    "max_epochs": ({"max_epochs": 2}, None),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_other_data_or_parameters_are_told(iris, tmp_path, name):
    path = tmp_path / "net.checkpoint"
    broken_off(net(criterion=shifted, checkpoint=path), 3, *iris)
    before = path.read_bytes()
    parameters, change = DIFFERENCES[name]
    other = net(criterion=shifted, checkpoint=path).set_params(**parameters)
    told = "y" if name == "labels" else name
    with pytest.raises(ValueError, match=f"of a training with other {told}, and can't.*Delete"):
        other.fit(*(iris if change is None else change(*iris)))
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda rows: rows | {"X_val": rows["X_val"] + 1e-9}, "X_val"),
        (lambda rows: rows | {"y_val": np.roll(rows["y_val"], 1)}, "y_val"),
        (lambda rows: rows | {"sample_weight_val": np.ones(30)}, "sample_weight_val"),
        (lambda rows: {}, "X_val and y_val"),
    ],
)
def test_other_rows_to_validate_on_are_told(iris, tmp_path, change, told):
    X, y = iris
    rows = {"X_val": X[::5], "y_val": y[::5]}
    classifier = net(checkpoint=tmp_path / "net.checkpoint").fit(X, y, **rows)
    again = net(checkpoint=tmp_path / "net.checkpoint").fit(X, y, **rows)
    assert_same(again, classifier)
    with pytest.raises(ValueError, match=f"of a training with other {told}, and can't"):
        net(checkpoint=tmp_path / "net.checkpoint").fit(X, y, **change(rows))


def test_what_does_not_change_the_model_need_not_match(iris, tmp_path):
    path = tmp_path / "net.checkpoint"
    broken_off(net(checkpoint=path), 3, *iris)
    moved = tmp_path / "moved"
    path.rename(moved)
    resumed = net(checkpoint=moved, checkpoint_every=3, verbose=1, warm_start=True).fit(*iris)
    assert_same(resumed, net().fit(*iris))


def test_a_training_goes_on_for_more_epochs(iris, tmp_path):
    path = tmp_path / "net.checkpoint"
    net(checkpoint=path, **STOPPING).fit(*iris)
    longer = net(checkpoint=path, max_epochs=12, **STOPPING).fit(*iris)
    assert_same(longer, net(max_epochs=12, **STOPPING).fit(*iris))


@pytest.mark.parametrize(("every", "expected"), [(1, 5), (2, 4), (4, 4), (7, None)])
def test_checkpoints_come_every_few_epochs_and_at_the_end(iris, tmp_path, every, expected):
    path = tmp_path / "net.checkpoint"
    make = lambda: net(checkpoint=path, checkpoint_every=every)  # noqa: E731
    broken_off(make(), 5, *iris)
    assert path.exists() == (expected is not None)
    resumed = make()
    counted = BreakOff(math.inf)
    assert_same(resumed.set_callbacks(counted).fit(*iris), net().fit(*iris))
    assert path.exists()


def test_warm_start_goes_on_from_its_own_weights(iris, tmp_path):
    path = tmp_path / "net.checkpoint"
    plain = net(warm_start=True, max_epochs=3).fit(*iris).fit(*iris)
    kept = net(warm_start=True, max_epochs=3, checkpoint=path).fit(*iris).fit(*iris)
    assert_same(kept, plain)
    assert kept.n_epochs_ == 6
    with pytest.raises(ValueError, match="other weights to go on from, and"):
        net(max_epochs=3, checkpoint=path).fit(*iris)


def test_a_further_training_that_was_broken_off_goes_on(iris, tmp_path):
    path = tmp_path / "net.checkpoint"
    plain = net(warm_start=True, max_epochs=3).fit(*iris).fit(*iris)
    kept = net(warm_start=True, max_epochs=3, checkpoint=path).fit(*iris)
    broken_off(kept, 2, *iris)  # A fit that fails leaves the estimator as it was.
    assert kept.n_epochs_ == 3
    assert_same(kept.set_callbacks().fit(*iris), plain)


def test_partial_fit_neither_reads_nor_writes(iris, tmp_path):
    path = tmp_path / "net.checkpoint"
    net(checkpoint=path).partial_fit(*iris, classes=[0, 1, 2])
    assert not path.exists()
    path.write_bytes(b"something else")
    net(checkpoint=path).partial_fit(*iris, classes=[0, 1, 2])
    assert path.read_bytes() == b"something else"


class Interrupting(Callback):
    def __init__(self, flag):
        self.flag = flag

    def on_batch_begin(self, net, training, **kwargs):
        if len(net.history) == 4 and not self.flag.exists():
            self.flag.touch()
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_keeps_the_last_checkpoint(iris, tmp_path):
    def make():
        return net(checkpoint=tmp_path / "net.checkpoint", callbacks=[Interrupting(flag)])

    flag = tmp_path / "flag"
    with pytest.warns(UserWarning, match="interrupted in epoch 4 of 7"):
        first = make().fit(*iris)
    assert first.n_epochs_ == 3
    whole = net(callbacks=[Interrupting(flag)]).fit(*iris)
    assert_same(make().fit(*iris), whole)


class Unkept(Callback):
    def on_epoch_end(self, net, **kwargs):
        self.best_ = object()
        net.history.record("object", len)


def test_what_a_callback_keeps_beside_plain_values_is_told_once(iris, tmp_path):
    estimator = net(checkpoint=tmp_path / "net.checkpoint", callbacks=[Unkept()])
    with pytest.warns(UserWarning, match="can't hold") as told:
        estimator.fit(*iris)
    texts = [str(warning.message) for warning in told]
    assert "can't hold object of the history, a builtin_function_or_method" in texts[0]
    assert "can't hold best_ of the callback Unkept, a object" in texts[1]
    assert len(texts) == 2


def test_a_folder_that_cannot_be_written_is_told_and_training_goes_on(iris, tmp_path):
    (tmp_path / "file").touch()
    estimator = net(checkpoint=tmp_path / "file" / "net.checkpoint")
    with pytest.warns(UserWarning, match="can't be written: .*Training goes on") as told:
        estimator.fit(*iris)
    assert len(told) == 1
    assert_same(estimator, net().fit(*iris))


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"something else",
        lambda content: content[:-9],
        lambda content: content[: len(content) // 2],
        lambda content: content[:9],
    ],
)
def test_a_torn_or_foreign_file_is_told(iris, tmp_path, damage):
    path = tmp_path / "net.checkpoint"
    broken_off(net(checkpoint=path), 3, *iris)
    path.write_bytes(damage(path.read_bytes()))
    before = path.read_bytes()
    for random_state in (0, None):
        with pytest.raises(ValueError, match=r"net\.checkpoint"):
            net(checkpoint=path, random_state=random_state).fit(*iris)
    assert path.read_bytes() == before


def search(folder, **parameters):
    grid = {"lr": [0.01, 0.02], "module__width": [4, 8]}
    return GridSearchCV(net(checkpoint=folder, max_epochs=4, **STOPPING), grid, cv=3, **parameters)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_search_that_was_broken_off_goes_on(iris, tmp_path, n_jobs):
    whole = search(None).fit(*iris)
    folder = tmp_path / "search"
    half = search(folder)
    half.estimator.set_callbacks(BreakOff(2))
    half.set_params(error_score="raise")
    with pytest.raises(BrokenOffError):
        half.fit(*iris)
    assert len([*folder.iterdir()]) == 1
    resumed = search(folder, n_jobs=n_jobs).fit(*iris)
    assert_same(resumed.best_estimator_, whole.best_estimator_)
    np.testing.assert_array_equal(
        resumed.cv_results_["mean_test_score"], whole.cv_results_["mean_test_score"]
    )
    assert len([*folder.iterdir()]) == 4 * 3 + 1
    again = search(folder)
    again.estimator.set_callbacks(BreakOff(0))  # Nothing is trained any more.
    assert_same(again.fit(*iris).best_estimator_, whole.best_estimator_)


def test_fused_fits_have_a_checkpoint_each(iris, tmp_path):
    folder = tmp_path / "search"
    with joblib.parallel_config("sktorch", n_jobs=4):
        whole = search(folder).fit(*iris)
        again = search(folder)
        again.estimator.set_callbacks(BreakOff(0))
        again.fit(*iris)
    assert len([*folder.iterdir()]) == 4 * 3 + 1
    assert_same(again.best_estimator_, whole.best_estimator_)


def test_fused_fits_that_were_broken_off_go_on(iris, tmp_path):
    def fused(folder):
        grid = {"lr": [0.01, 0.02, 0.03]}
        return GridSearchCV(net(None, checkpoint=folder), grid, cv=2, error_score="raise")

    with joblib.parallel_config("sktorch", n_jobs=4):
        whole = fused(None).fit(*iris)
        half = fused(tmp_path)
        half.estimator.set_callbacks(BreakOff(3))
        with pytest.raises(BrokenOffError):
            half.fit(*iris)
        assert [*tmp_path.iterdir()]
        resumed = fused(tmp_path).fit(*iris)
    # A stack of other models may round otherwise.
    np.testing.assert_allclose(
        resumed.predict_proba(iris[0]), whole.predict_proba(iris[0]), rtol=1e-3, atol=1e-5
    )


def test_members_of_an_ensemble_have_a_checkpoint_each(iris, tmp_path):
    def ensemble(**parameters):
        return BaggingClassifier(net(**parameters), n_estimators=3, random_state=0)

    whole = ensemble().fit(*iris)
    for _ in range(2):
        kept = ensemble(checkpoint=tmp_path).fit(*iris)
        np.testing.assert_array_equal(kept.predict_proba(iris[0]), whole.predict_proba(iris[0]))
        assert len([*tmp_path.iterdir()]) == 3


def test_several_fits_need_a_folder_and_a_seed(iris, tmp_path):
    path = tmp_path / "net.checkpoint"
    net(checkpoint=path).fit(*iris)
    scores = {"cv": 2, "error_score": "raise"}
    with pytest.raises(ValueError, match="is a file, and this fit is one of several"):
        cross_val_score(net(checkpoint=path), *iris, **scores)
    with pytest.raises(ValueError, match="set random_state"):
        cross_val_score(net(checkpoint=tmp_path / "f", random_state=None), *iris, **scores)


def test_a_folder_holds_the_fits_of_the_user_too(iris, tmp_path):
    for seed in (0, 1, 0):
        net(checkpoint=tmp_path, random_state=seed).fit(*iris)
    assert len([*tmp_path.iterdir()]) == 2


def watched(path):
    return net(augment=watched_jitter, scoring=watched_score, checkpoint=path, **STOPPING)


def run_in_another_process(code, *arguments):
    """Run code with this module in a new interpreter; return how it ended, and what it wrote."""
    root = Path(__file__).parents[__name__.count(".")]
    preamble = (
        "import importlib, os, resource, signal, sys; sys.path.insert(0, sys.argv[1])\n"
        "import torch; torch.set_num_threads(1)\n"
        "here, path = importlib.import_module(sys.argv[2]), sys.argv[3]\n"
    )
    command = [sys.executable, "-c", preamble + code, str(root), __name__, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


KILL = """
def kill(event, arguments, left=[int(sys.argv[5])]):
    file = os.path.basename(path)
    if event == sys.argv[4] and (event.startswith("test.") or file in str(arguments[0])):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(kill)
here.watched(path).fit(*here.load_scaled_iris())
"""
# Python tells of the first before a temporary file is opened, of the second when it is written.
MOMENTS = [
    ("open", 4),
    ("os.rename", 3),
    ("test.training", 2),
    ("test.training", 24),
    ("test.validation", 4),
]


@pytest.mark.parametrize(("event", "number"), MOMENTS)
def test_a_killed_training_goes_on_to_the_bit(tmp_path, event, number):
    path, data = tmp_path / "net.checkpoint", load_scaled_iris()
    assert run_in_another_process(KILL, path, event, number).returncode == -signal.SIGKILL
    resumed = watched(path).fit(*data)
    assert_same(resumed, watched(None).fit(*data))
    assert [*tmp_path.iterdir()] == [path]


FULL = """
resource.setrlimit(resource.RLIMIT_FSIZE, (2**12, 2**12))  # as a full disk
fitted = here.net(checkpoint=path).fit(*here.load_scaled_iris())
print(fitted.loss_curve_)
"""


def test_on_a_full_disk_training_goes_on_and_the_last_checkpoint_is_kept(tmp_path):
    path, data = tmp_path / "net.checkpoint", load_scaled_iris()
    broken_off(net(checkpoint=path), 3, *data)
    before = path.read_bytes()
    ended = run_in_another_process(FULL, path)
    assert ended.stdout.strip() == str(net().fit(*data).loss_curve_), ended.stderr
    assert ended.stderr.count("can't be written: [Errno 27]") == 1
    assert path.read_bytes() == before
    assert [*tmp_path.iterdir()] == [path]
