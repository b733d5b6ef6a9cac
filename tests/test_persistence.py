"""Copies, files, other processes, and random numbers: the same model, to the bit."""

import copy
import math
import pickle
import random
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.base import clone
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import EpochScoring, GradientNormClipping, LRScheduler
from torch import nn

from sktorch import TorchClassifier


class Dropping(nn.Module):
    """Draws random numbers in every way a module does: initialisation, dropout, own noise."""

    def __init__(self, n_features, n_outputs, width=16):
        super().__init__()
        self.hidden = nn.Linear(n_features, width)
        self.norm = nn.BatchNorm1d(width)
        self.drop = nn.Dropout(0.5)
        self.output = nn.Linear(width, n_outputs)
        with torch.no_grad():  # Draws from numpy's and Python's generators, as users' modules do.
            self.output.bias += float(np.random.rand()) + random.random()

    def forward(self, X):
        return self.output(self.drop(self.norm(self.hidden(X)).relu()))


def build(n_features, n_outputs):
    return nn.Sequential(nn.Linear(n_features, 8), nn.ReLU(), nn.Linear(8, n_outputs))


def smoothed(output, target, smoothing=0.2):
    return F.cross_entropy(output, target, label_smoothing=smoothing)


def net(module=None, **parameters):
    defaults = {"lr": 0.02, "max_epochs": 4, "batch_size": 32, "random_state": 0}
    return TorchClassifier(module, **(defaults | parameters))


# Estimators as different as they come; all are importable, as pickling asks.
ESTIMATORS = {
    "default": lambda: net(),
    "own module": lambda: net(Dropping, module__width=8),
    "function": lambda: net(build),
    "instance": lambda: net(build(4, 3)),
    "lazy layers": lambda: net(nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(3))),
    "early stopping": lambda: net(Dropping, early_stopping=True, verbose=0),
    "component parameters": lambda: net(
        module__hidden=(8, 8),
        module__dropout=0.1,
        criterion__label_smoothing=0.1,
        optimizer=torch.optim.SGD,
        optimizer__momentum=0.9,
        optimizer__param_groups=[("*.bias", {"weight_decay": 0.0})],
        iterator_train__drop_last=True,
    ),
    "loss function": lambda: net(criterion=smoothed, criterion__smoothing=0.1),
    "loss instance": lambda: net(criterion=nn.CrossEntropyLoss(label_smoothing=0.1)),
    "callbacks": lambda: net(
        early_stopping=True,
        callbacks=[
            ("clip", GradientNormClipping(1.0)),
            EpochScoring("accuracy", lower_is_better=False, name="accuracy"),
            LRScheduler("StepLR", step_size=2),
        ],
        callbacks__clip__gradient_clip_value=0.5,
    ),
    "loader": lambda: net(iterator_train__sampler=None, iterator_train__timeout=0),
    "generator": lambda: net(random_state=np.random.RandomState(0)),
}


@pytest.fixture
def names(iris):
    """Standardised irises with names for labels."""
    X, y = iris
    return X, np.array(["setosa", "versicolor", "virginica"])[y]


def same_state(one, other):
    """Whether two modules hold the same numbers, to the bit."""
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def dumped_with_joblib(estimator, tmp_path):
    joblib.dump(estimator, tmp_path / "estimator.joblib")
    return joblib.load(tmp_path / "estimator.joblib")


COPIES = {
    "copy": lambda estimator, tmp_path: copy.copy(estimator),
    "deepcopy": lambda estimator, tmp_path: copy.deepcopy(estimator),
    "pickle": lambda estimator, tmp_path: pickle.loads(pickle.dumps(estimator)),
    "joblib": dumped_with_joblib,
}


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_copies_predict_the_same_bits(names, tmp_path, name, copied):
    X, y = names
    fitted = ESTIMATORS[name]().fit(X, y)
    other = COPIES[copied](fitted, tmp_path)
    np.testing.assert_array_equal(other.predict(X), fitted.predict(X))
    np.testing.assert_array_equal(other.predict_proba(X), fitted.predict_proba(X))
    assert same_state(other.module_, fitted.module_)
    assert other.n_epochs_ == fitted.n_epochs_
    assert other.loss_curve_ == fitted.loss_curve_
    assert other.best_epoch_ == fitted.best_epoch_
    assert list(other.classes_) == list(fitted.classes_)
    assert other.get_params().keys() == fitted.get_params().keys()


def test_a_pickle_knows_that_its_settings_have_not_changed(names):
    # A scheduler's learning rate stands until the user sets another.
    X, y = names
    scheduler = LRScheduler("ExponentialLR", gamma=0.5)
    fitted = net(callbacks=[scheduler]).fit(X, y)
    other = pickle.loads(pickle.dumps(fitted))
    rates = [
        estimator.partial_fit(X, y).optimizer_.param_groups[0]["lr"]
        for estimator in (fitted, other)
    ]
    assert rates[0] == rates[1]


@pytest.mark.parametrize("copied", ["deepcopy", "pickle", "joblib"])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_copies_train_on_alike(names, tmp_path, name, copied):
    X, y = names
    fitted = ESTIMATORS[name]().fit(X, y)
    other = COPIES[copied](fitted, tmp_path)
    before = copy.deepcopy(fitted.module_)
    other.partial_fit(X, y)
    assert same_state(fitted.module_, before)  # They share nothing.
    fitted.partial_fit(X, y)
    assert not same_state(fitted.module_, before)
    assert same_state(fitted.module_, other.module_)
    assert fitted.n_epochs_ == other.n_epochs_


@pytest.mark.parametrize("name", ESTIMATORS)
def test_clone_is_unfitted_and_fits_alike(names, name):
    X, y = names
    estimator = ESTIMATORS[name]()
    unfitted = clone(estimator)
    fitted = estimator.fit(X, y)
    for cloned in (unfitted, clone(fitted)):
        assert not hasattr(cloned, "classes_")
        assert not hasattr(cloned, "module_")
        assert cloned.get_params().keys() == fitted.get_params().keys()
        if name == "generator":
            continue  # A generator goes on where it stopped, as everywhere in scikit-learn.
        cloned.fit(X, y)
        assert same_state(cloned.module_, fitted.module_)
        np.testing.assert_array_equal(cloned.predict_proba(X), fitted.predict_proba(X))


def run_in_fresh_process(code, *arguments):
    """Run code, with this module importable, in a new interpreter; return what it prints."""
    root = Path(__file__).parents[__name__.count(".")]
    preamble = f"import sys; sys.path.insert(0, {str(root)!r})\n"
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", preamble + code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_files_are_read_by_a_fresh_process(names, tmp_path):
    X, y = names
    fitted = {name: make().fit(X, y) for name, make in ESTIMATORS.items()}
    fitted["pipeline"] = make_pipeline(StandardScaler(), net(Dropping)).fit(X, y)
    joblib.dump(fitted, tmp_path / "fitted.joblib")
    (tmp_path / "fitted.pickle").write_bytes(pickle.dumps(fitted))
    np.save(tmp_path / "X.npy", X)
    run_in_fresh_process(
        """
import joblib, pickle, numpy, pathlib, torch
torch.set_num_threads(1)
folder = pathlib.Path(sys.argv[1])
X = numpy.load(folder / "X.npy")
loaded = joblib.load(folder / "fitted.joblib")
unpickled = pickle.loads((folder / "fitted.pickle").read_bytes())
arrays = {}
for name in loaded:
    arrays[name + " joblib"] = loaded[name].predict_proba(X)
    arrays[name + " pickle"] = unpickled[name].predict_proba(X)
    arrays[name + " labels"] = loaded[name].predict(X)
numpy.savez(folder / "predicted.npz", **arrays)
""",
        tmp_path,
    )
    with np.load(tmp_path / "predicted.npz") as predicted:
        for name, estimator in fitted.items():
            expected = estimator.predict_proba(X)
            np.testing.assert_array_equal(predicted[name + " joblib"], expected, name)
            np.testing.assert_array_equal(predicted[name + " pickle"], expected, name)
            np.testing.assert_array_equal(predicted[name + " labels"], estimator.predict(X), name)


def test_a_fresh_process_fits_the_same_model(names, tmp_path):
    X, y = names
    np.savez(tmp_path / "data.npz", X=X, y=y)
    run_in_fresh_process(
        """
import importlib, numpy, torch, pathlib
torch.set_num_threads(1)
folder, module = pathlib.Path(sys.argv[1]), importlib.import_module(sys.argv[2])
data = numpy.load(folder / "data.npz")
fitted = {n: module.ESTIMATORS[n]().fit(data["X"], data["y"]) for n in sys.argv[3:]}
numpy.savez(folder / "p.npz", **{n: e.predict_proba(data["X"]) for n, e in fitted.items()})
""",
        tmp_path,
        __name__,
        # "instance" and "lazy layers" begin with weights that the user has drawn.
        *(here := [name for name in ESTIMATORS if name not in ("instance", "lazy layers")]),
    )
    with np.load(tmp_path / "p.npz") as there:
        for name in here:
            expected = ESTIMATORS[name]().fit(X, y).predict_proba(X)
            np.testing.assert_array_equal(there[name], expected, name)


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, torch.optim.SGD])
def test_random_state_fixes_every_bit(names, optimizer, early_stopping):
    X, y = names
    settings = {"optimizer": optimizer, "early_stopping": early_stopping}
    first = net(Dropping, **settings).fit(X, y)
    torch.manual_seed(99), np.random.seed(99), random.seed(99)  # Must not matter.
    again = net(Dropping, **settings).fit(X, y)
    other = net(Dropping, random_state=1, **settings).fit(X, y)
    assert same_state(first.module_, again.module_)
    assert first.loss_curve_ == again.loss_curve_
    assert first.validation_scores_ == again.validation_scores_
    assert not same_state(first.module_, other.module_)

    refitted = first.fit(X, y)
    assert same_state(refitted.module_, again.module_)


def test_no_random_state_is_another_model_every_time(names):
    X, y = names
    torch.manual_seed(0), np.random.seed(0)
    one = net(random_state=None).fit(X, y)
    torch.manual_seed(0), np.random.seed(0)
    other = net(random_state=None).fit(X, y)
    assert not same_state(one.module_, other.module_)


@pytest.mark.parametrize("name", ["own module", "early stopping", "component parameters"])
def test_jobs_do_not_change_a_bit(names, name):
    X, y = names
    p = [
        cross_val_predict(ESTIMATORS[name](), X, y, cv=3, method="predict_proba", n_jobs=n_jobs)
        for n_jobs in (1, 2)
    ]
    np.testing.assert_array_equal(p[0], p[1])


def global_random_states():
    name, keys, position, *rest = np.random.get_state()
    return torch.get_rng_state().tolist(), (name, keys.tolist(), position, rest), random.getstate()


def predict_all(estimator, X, y):
    estimator.predict(X), estimator.predict_proba(X), estimator.decision_function(X)
    estimator.score(X, y)


@pytest.mark.parametrize("random_state", [None, 0])
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"module": Dropping},
        {"module": Dropping, "early_stopping": True},
        {"module": Dropping, "iterator_train__num_workers": 0, "iterator_train__timeout": 0},
        {"module": Dropping, "callbacks": [EpochScoring("accuracy", on_train=True)]},
    ],
    ids=["default", "dropout", "early-stopping", "loader", "callbacks"],
)
def test_global_generators_are_left_as_they_were_found(names, parameters, random_state):
    X, y = names
    torch.manual_seed(3), np.random.seed(3), random.seed(3)
    before = global_random_states()
    estimator = net(**parameters, random_state=random_state)
    assert global_random_states() == before
    estimator.fit(X, y)
    assert global_random_states() == before
    predict_all(estimator, X, y)
    assert global_random_states() == before
    estimator.partial_fit(X, y)
    assert global_random_states() == before
    estimator.set_params(warm_start=True).fit(X, y)
    assert global_random_states() == before


def test_global_generators_survive_a_failed_fit(names):
    X, y = names
    before = global_random_states()
    with pytest.raises(ValueError, match="train_loss is"):
        net(Dropping, lr=1e30, optimizer=torch.optim.SGD).fit(X, y)
    assert global_random_states() == before


def test_predicting_draws_nothing_from_the_training_stream(names):
    X, y = names
    quiet, asked = net(Dropping).fit(X, y), net(Dropping).fit(X, y)
    predict_all(asked, X, y)
    quiet.partial_fit(X, y)
    asked.partial_fit(X, y)
    assert same_state(quiet.module_, asked.module_)


@pytest.mark.parametrize("name", ["instance", "lazy layers"])
def test_a_module_instance_is_never_trained_in_place(names, name):
    X, y = names
    estimator = ESTIMATORS[name]()
    instance, before = estimator.module, copy.deepcopy(estimator.module)
    losses = []
    for _ in range(2):
        estimator.fit(X, y)
        losses.append(estimator.loss_curve_)
        assert estimator.module is instance
        assert estimator.module_ is not instance
    assert repr(instance) == repr(before)  # Lazy layers have not materialised either.
    assert instance.training
    for parameter, as_before in zip(instance.parameters(), before.parameters(), strict=True):
        assert parameter.grad is None
        if name == "instance":
            assert torch.equal(parameter, as_before)
    assert losses[0] == losses[1]
    assert losses[0][-1] < losses[0][0]
    if name == "instance":  # A fit starts from the instance's weights whatever the seed.
        start = [
            net(before, lr=1e-12, max_epochs=1, random_state=seed).fit(X, y).module_
            for seed in (0, 1)
        ]
        for module in start:
            for one, other in zip(module.parameters(), before.parameters(), strict=True):
                torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


def test_a_loss_instance_is_never_used_in_place(names):
    X, y = names
    # Its weights are float32 and X, so the default module, is float64.
    criterion = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 1.0, 3.0]))
    estimator = net(criterion=criterion).fit(X, y)
    assert estimator.criterion is criterion
    assert estimator.net_.criterion_ is not criterion
    assert criterion.weight.dtype is torch.float32
    by_label = net(class_weight={"virginica": 3.0}).fit(X, y)
    assert estimator.score(X, y) > 0.6
    assert list(estimator.predict(X)).count("virginica") > 50
    assert list(by_label.predict(X)).count("virginica") > 50


COMPONENTS = {
    "module__hidden": (7, 5),
    "module__dropout": 0.25,
    "criterion__label_smoothing": 0.05,
    "optimizer__weight_decay": 0.003,
    "iterator_train__drop_last": True,
    "iterator_valid__batch_size": 64,
    "callbacks__epoch_timer": None,
}
ROUND_TRIPS = {
    "clone": clone,
    "pickle": lambda estimator: pickle.loads(pickle.dumps(estimator)),
    "deepcopy": copy.deepcopy,
    "set_params": lambda estimator: TorchClassifier().set_params(**estimator.get_params()),
    "constructor": lambda estimator: TorchClassifier(**estimator.get_params()),
    # What repr prints is code that builds the same estimator.
    "repr": lambda estimator: eval(repr(estimator), {"TorchClassifier": TorchClassifier}),
    "clone of a clone": lambda estimator: clone(clone(estimator)),
}


@pytest.mark.parametrize("round_trip", ROUND_TRIPS)
def test_component_parameters_survive(round_trip):
    estimator = TorchClassifier(lr=0.5, **COMPONENTS)
    other = ROUND_TRIPS[round_trip](estimator)
    assert other is not estimator
    assert {name: other.get_params()[name] for name in COMPONENTS} == COMPONENTS
    assert other.get_params() == estimator.get_params()
    assert repr(other) == repr(estimator)
    printed = "".join(repr(other).split())  # repr breaks its lines where it likes.
    for name, value in COMPONENTS.items():
        assert f"{name}={value}".replace(" ", "") in printed


def test_component_parameters_in_the_html_repr():
    assert "module__hidden" in TorchClassifier(module__hidden=(7,))._repr_html_()


NEW_VALUES = {
    "module": Dropping,
    "module__hidden": (3,),
    "module__dropout": 0.9,
    "criterion": nn.MultiMarginLoss,
    "optimizer": torch.optim.SGD,
    "optimizer__weight_decay": 0.5,
    "lr": 123.0,
    "max_epochs": 1,
    "batch_size": 1,
    "device": "cpu",
    "early_stopping": True,
    "class_weight": "balanced",
    "callbacks": [GradientNormClipping(1.0)],
    "warm_start": True,
    "random_state": 7,
    "n_iter_no_change": math.inf,
    "verbose": 1,
    "criterion__label_smoothing": 0.9,
    "iterator_train__drop_last": True,
}


@pytest.mark.parametrize("name", NEW_VALUES)
def test_set_params_leaves_a_fitted_model_alone(names, name):
    X, y = names
    estimator = net().fit(X, y)
    module, weights = estimator.module_, copy.deepcopy(estimator.module_)
    outputs = [estimator.predict_proba(X), estimator.predict(X), estimator.decision_function(X)]
    history = copy.deepcopy(list(estimator.history_))

    estimator.set_params(**{name: NEW_VALUES[name]})
    assert estimator.module_ is module
    assert same_state(module, weights)
    assert list(estimator.history_) == history
    after = [estimator.predict_proba(X), estimator.predict(X), estimator.decision_function(X)]
    for one, other in zip(outputs, after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_set_params_counts_at_the_next_fit(names):
    X, y = names
    estimator = net().fit(X, y)
    estimator.set_params(module__hidden=(3,), max_epochs=2).fit(X, y)
    assert [tuple(p.shape) for p in estimator.module_.parameters()] == [(3, 4), (3,), (3, 3), (3,)]
    assert estimator.n_epochs_ == 2
    assert same_state(estimator.module_, net(module__hidden=(3,), max_epochs=2).fit(X, y).module_)


def test_a_rejected_set_params_changes_nothing(names):
    X, y = names
    estimator = net().fit(X, y)
    before = estimator.get_params()
    with pytest.raises(ValueError, match="module__hidden"):
        estimator.set_params(lr=9.0, module__hiden=(3,))
    assert estimator.get_params() == before


def test_an_unfitted_estimator_pickles():
    for name, make in ESTIMATORS.items():
        estimator = make()
        other = pickle.loads(pickle.dumps(estimator))
        assert other.get_params().keys() == estimator.get_params().keys(), name
        assert not hasattr(other, "module_")
