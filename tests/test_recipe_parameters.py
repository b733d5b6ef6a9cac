"""Schedules and initialisers through the estimators."""

import math
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold
from skorch.callbacks import Callback
from torch import nn
from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset

from sktorch import TorchClassifier, TorchRegressor
from sktorch.modules import initialize
from tests.standardized import standardized_mlp

EPOCHS, BATCH_SIZE, LR = 6, 32, 0.05


def classifier(**parameters):
    defaults = {
        "lr": LR,
        "max_epochs": EPOCHS,
        "batch_size": BATCH_SIZE,
        "n_iter_no_change": math.inf,
        "random_state": 0,
        "device": "cpu",
    }
    return TorchClassifier(**(defaults | parameters))


# Schedules: the name, its parameters, torch's scheduler, and whether it steps after each batch.
N_BATCHES = 5  # of the irises
SCHEDULES = [
    ("constant", {}, lambda o: lr_scheduler.ConstantLR(o, 1.0), False),
    ("cosine", {}, lambda o: lr_scheduler.CosineAnnealingLR(o, EPOCHS), False),
    ("cosine", {"eta_min": 0.01}, lambda o: lr_scheduler.CosineAnnealingLR(o, EPOCHS, 0.01), False),
    (
        "cosine_warm_restarts",
        {"T_0": 2},
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 2),
        False,
    ),
    ("exponential", {"gamma": 0.5}, lambda o: lr_scheduler.ExponentialLR(o, 0.5), False),
    ("linear", {}, lambda o: lr_scheduler.LinearLR(o, 1.0, 0.0, EPOCHS), False),
    ("multi_step", {"milestones": [2, 3]}, lambda o: lr_scheduler.MultiStepLR(o, [2, 3]), False),
    ("polynomial", {"power": 2}, lambda o: lr_scheduler.PolynomialLR(o, EPOCHS, 2), False),
    ("step", {"step_size": 2}, lambda o: lr_scheduler.StepLR(o, 2), False),
    (lr_scheduler.StepLR, {"step_size": 2}, lambda o: lr_scheduler.StepLR(o, 2), False),
    (
        "one_cycle",
        {},
        lambda o: lr_scheduler.OneCycleLR(o, LR, total_steps=EPOCHS * N_BATCHES),
        True,
    ),
    (
        "cyclic",
        {"step_size_up": 4},
        lambda o: lr_scheduler.CyclicLR(o, LR / 4, LR, 4),
        True,
    ),
    (
        lambda optimizer, drop: lr_scheduler.LambdaLR(optimizer, lambda epoch: drop**epoch),
        {"drop": 0.9},
        lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 0.9**epoch),
        False,
    ),
]


def hand_written(X, y, make_scheduler, by_batch):
    """The learning rate at the start of each epoch, its losses, and the trained module."""
    torch.manual_seed(0)
    module = standardized_mlp(X.numpy(), 3)
    optimizer = torch.optim.SGD(module.parameters(), lr=LR, momentum=0.9, fused=True)
    scheduler = make_scheduler(optimizer)
    loader = DataLoader(TensorDataset(X, y), batch_size=BATCH_SIZE, shuffle=True)
    lrs, losses, n_steps = [], [], 0
    for _ in range(EPOCHS):
        lrs.append(optimizer.param_groups[0]["lr"])
        total = 0.0
        for batch, target in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(module(batch), target)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
            n_steps += 1
            if by_batch and n_steps < EPOCHS * N_BATCHES:
                scheduler.step()
        losses.append(total / len(X))
        if not by_batch:
            scheduler.step()
    return lrs, losses, module


@pytest.mark.parametrize(("name", "parameters", "make_scheduler", "by_batch"), SCHEDULES)
def test_a_schedule_is_that_of_a_loop_by_hand(iris, name, parameters, make_scheduler, by_batch):
    X, y = iris[0].astype("float32"), iris[1]
    lrs, losses, module = hand_written(
        torch.from_numpy(X), torch.from_numpy(y), make_scheduler, by_batch
    )
    fitted = classifier(
        optimizer="sgd",
        optimizer__momentum=0.9,
        lr_schedule=name,
        **{f"lr_schedule__{key}": value for key, value in parameters.items()},
    ).fit(X, y)
    np.testing.assert_allclose(fitted.history_[:, "lr"], lrs, rtol=1e-9)
    assert fitted.loss_curve_ == losses
    for ours, theirs in zip(fitted.module_.parameters(), module.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert fitted.optimizer_.param_groups[0]["lr"] == LR  # as it was given, for what comes next


def test_a_warm_up_rises_batch_by_batch(iris):
    seen = []

    class Listening(Callback):
        def on_batch_end(self, net, training, **kwargs):
            if training:
                seen.append(net.optimizer_.param_groups[0]["lr"])

    classifier(lr_schedule="cosine", lr_schedule__warm_up=2, callbacks=[Listening()]).fit(*iris)
    rising = LR * np.arange(1, 2 * N_BATCHES + 1) / (2 * N_BATCHES + 1)
    np.testing.assert_allclose(seen[: 2 * N_BATCHES], rising)
    assert max(seen) == pytest.approx(LR)
    assert seen[-1] < seen[2 * N_BATCHES]


@pytest.mark.parametrize(
    ("parameters", "monitored", "mode"),
    [
        ({}, "train_loss", "min"),
        ({"early_stopping": True}, "valid_acc", "max"),
        ({"early_stopping": True, "monitor": "valid_loss"}, "valid_loss", "min"),
        ({"scoring": "f1_macro", "monitor": "train_f1_macro"}, "train_f1_macro", "max"),
    ],
)
def test_plateau_looks_at_what_is_monitored(iris, parameters, monitored, mode):
    settings = {"patience": 1, "factor": 0.5}
    fitted = classifier(
        lr_schedule="plateau",
        max_epochs=25,
        **{f"lr_schedule__{key}": value for key, value in settings.items()},
        **parameters,
    ).fit(*iris)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=LR)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, mode, **settings)
    expected = []
    for value in fitted.history_[:, monitored]:
        expected.append(optimizer.param_groups[0]["lr"])
        scheduler.step(value)
    assert fitted.history_[:, "lr"] == expected
    assert expected[-1] < LR or monitored == "train_loss"


def test_a_warm_start_begins_the_schedule_anew(iris):
    fitted = classifier(lr_schedule="cosine", warm_start=True).fit(*iris)
    first = fitted.history_[:, "lr"]
    fitted.fit(*iris)
    assert fitted.history_[:, "lr"] == first * 2
    assert fitted.set_params(lr_schedule=None).fit(*iris).n_epochs_ == 3 * EPOCHS
    assert fitted.optimizer_.param_groups[0]["lr"] == LR


@pytest.mark.parametrize(
    "ignored",
    [
        *({"lr_schedule": name} for name in ("cosine", "one_cycle", "plateau")),
        {"scoring": ["accuracy", "train_f1_macro", "valid_accuracy"]},
        {"monitor": "valid_loss"},
        {"early_stopping": True, "monitor": "valid_acc", "scoring": "f1_macro"},
        {"validation": KFold(3)},
    ],
)
def test_partial_fit_is_a_further_epoch_without_schedule_scores_and_validation(iris, ignored):
    given, plain = classifier(**ignored), classifier()
    for _ in range(3):
        for estimator in (given, plain):
            estimator.partial_fit(*iris, classes=[0, 1, 2])
    assert given.loss_curve_ == plain.loss_curve_
    assert given.history_[-1].keys() == plain.history_[-1].keys()
    assert given.optimizer_.param_groups[0]["lr"] == LR
    np.testing.assert_array_equal(given.predict_proba(iris[0]), plain.predict_proba(iris[0]))


def test_copies_go_on_with_a_schedule(iris):
    fitted = classifier(lr_schedule="one_cycle", warm_start=True).fit(*iris)
    copied = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(
        copied.fit(*iris).predict_proba(iris[0]), fitted.fit(*iris).predict_proba(iris[0])
    )
    assert clone(fitted).fit(*iris).history_[:, "lr"] == fitted.history_[:EPOCHS, "lr"]


def test_schedules_are_searched_by_name(iris):
    grid = [
        {"lr_schedule": [None, "cosine", "one_cycle"]},
        {"lr_schedule": ["step"], "lr_schedule__step_size": [1, 3], "lr_schedule__gamma": [1e-6]},
    ]
    search = GridSearchCV(classifier(), grid, cv=3, n_jobs=1).fit(*iris)
    scores = search.cv_results_["mean_test_score"]
    assert len(scores) == 5
    assert scores[:3].min() > 0.9
    assert scores[3] < scores[:3].min()  # stopped after one epoch
    regressor = TorchRegressor(max_epochs=2)
    names = {"lr_schedule": ["exponential"], "lr_schedule__gamma": [0.9]}
    assert GridSearchCV(regressor, names, cv=3).fit(iris[0], iris[0][:, 0]).best_params_


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"lr_schedule": "cosin"}, "lr_schedule='cosin' is not known. Did you mean 'cosine'"),
        (
            {"lr_schedule": "step", "lr_schedule__step_sise": 2},
            "no parameter 'lr_schedule__step_sise'. Did you mean 'lr_schedule__step_size'",
        ),
        ({"lr_schedule": StepLR}, "needs its parameter step_size. Give lr_schedule__step_size"),
        ({"lr_schedule": "cosine", "lr_schedule__warm_up": 9}, "warm_up=9 must be .* less"),
        ({"lr_schedule": 3}, "lr_schedule must be None, a name"),
        ({"lr_schedule": "cosine", "lr_schedule__T_max": "x"}, "can't be made|unsupported"),
    ],
)
def test_wrong_schedules(iris, parameters, message):
    with pytest.raises((ValueError, TypeError), match=message):
        classifier(**parameters).fit(*iris)


# Initialisers


def halves(tensor):
    return nn.init.constant_(tensor, 0.5)


def untrained(iris, **parameters):
    """The module as it begins: a learning rate so small that nothing moves."""
    settings = {"lr": 1e-30, "max_epochs": 1, "optimizer": "sgd", "module__activation": "tanh"}
    return classifier(**(settings | parameters)).fit(*iris).module_


@pytest.mark.parametrize(
    "initializer",
    ["xavier_uniform", "kaiming_normal", "orthogonal", "zeros", halves, {"1.*": "ones"}],
)
def test_an_initializer_is_that_of_a_loop_by_hand(iris, initializer):
    torch.manual_seed(0)
    expected = standardized_mlp(iris[0], 3, activation="tanh", dtype=torch.float64)
    initialize(expected, initializer)
    found = untrained(iris, initializer=initializer)
    assert found.state_dict().keys() == expected.state_dict().keys()
    for name, value in expected.named_parameters():
        torch.testing.assert_close(found.get_parameter(name), value, rtol=0, atol=1e-25)
    for name, value in expected.named_buffers():
        torch.testing.assert_close(found.get_buffer(name), value)


def test_an_orthogonal_start_is_orthogonal(iris):
    weight = untrained(iris, initializer="orthogonal")[1].weight
    gain = nn.init.calculate_gain("tanh")
    torch.testing.assert_close(weight.T @ weight, gain**2 * torch.eye(4).double())


def test_patterns_of_names(iris):
    patterns = {"1.weight": halves, "*.weight": None, "*.bias": "zeros"}
    module, plain = untrained(iris, initializer=patterns), untrained(iris)
    assert (module[1].weight == 0.5).all()
    assert torch.equal(module[3].weight, plain[3].weight)
    assert max(module[i].bias.abs().max() for i in (1, 3)) < 1e-25


def test_lazy_modules_are_initialised_once_they_have_a_shape(iris):
    lazy = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(3)).double()
    fitted = classifier(module=lazy, initializer=halves, lr=1e-30, max_epochs=1).fit(*iris)
    assert fitted.module_[0].weight.shape == (8, 4)
    assert (fitted.module_[0].weight - 0.5).abs().max() < 1e-9
    assert isinstance(lazy[0], nn.LazyLinear)  # the user's own stays as it was


def test_the_seed_decides_and_nothing_global_changes(iris):
    state = torch.get_rng_state()
    one, two = (untrained(iris, initializer="xavier_normal") for _ in range(2))
    other = untrained(iris, initializer="xavier_normal", random_state=1)
    assert torch.equal(one[1].weight, two[1].weight)
    assert not torch.equal(one[1].weight, other[1].weight)
    assert torch.equal(torch.get_rng_state(), state)


def test_an_instance_with_weights_of_its_own_is_initialised_in_its_copy(iris):
    own = nn.Linear(4, 3).double()
    before = own.weight.clone()
    fitted = classifier(module=own, initializer="zeros", lr=1e-30, max_epochs=1).fit(*iris)
    assert fitted.module_.weight.abs().max() < 1e-9
    assert torch.equal(own.weight, before)


def test_a_warm_start_and_partial_fit_keep_what_is_learnt(iris):
    fitted = classifier(initializer="zeros", module__hidden=(), warm_start=True).fit(*iris)
    loss = fitted.loss_curve_[-1]
    assert fitted.fit(*iris).loss_curve_[EPOCHS] < loss
    assert fitted.partial_fit(*iris).loss_curve_[-1] < loss


@pytest.mark.parametrize("normalization", ["batch", "layer"])
@pytest.mark.parametrize("name", ["orthogonal", "kaiming_normal"])
def test_patterns_leave_the_vectors_of_normalization_layers(iris, name, normalization):
    patterns = {"*.weight": name, "*.bias": "zeros"}
    settings = {"module__hidden": (8, 8), "module__normalization": normalization}
    module = untrained(iris, initializer=patterns, **settings)
    plain = untrained(iris, **settings)
    for own, (key, expected) in zip(module.parameters(), plain.named_parameters(), strict=True):
        if key in ("2.weight", "5.weight"):
            torch.testing.assert_close(own, torch.ones(8).double(), rtol=0, atol=1e-25)
        elif key.endswith("bias"):
            assert own.abs().max() < 1e-25
        else:
            assert own.ndim == 2
            assert not torch.equal(own, expected)


def test_initializers_are_searched_by_name(iris):
    # From zeros alone, nothing but the bias of the output ever learns.
    grid = {"initializer": [{"*": "zeros"}, "kaiming_uniform", None]}
    search = GridSearchCV(classifier(), grid, cv=3).fit(*iris)
    zeros, *others = search.cv_results_["mean_test_score"]
    assert zeros < 0.5
    assert min(others) > 0.9


@pytest.mark.parametrize(
    ("initializer", "message"),
    [
        ("xavier", "(?i)xavier.*known|initializer='xavier'"),
        ({"encoder.*": "zeros"}, r"encoder\.\*"),
        (3, "initializer must be None, a name"),
        ({"1.*": 3}, "(?i)initializer|3"),
    ],
)
def test_wrong_initializers(iris, initializer, message):
    estimator = classifier(initializer=initializer)
    with pytest.raises((ValueError, TypeError), match=message):
        estimator.fit(*iris)
    assert not hasattr(estimator, "net_")
