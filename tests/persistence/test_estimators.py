"""Estimators in files: the same model, to the bit, also in another process."""

import copy
import pickle
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from skorch.callbacks import EarlyStopping, EpochScoring, Freezer, LRScheduler
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils.data import TensorDataset

import sktorch
from sktorch import TorchClassifier, TorchRegressor, load, save
from sktorch._saved_types import KNOWN
from sktorch.data import ChunkedDataset, SliceableDataset
from sktorch.modules import (
    MLP,
    ConvNet,
    Ensemble,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
    RecurrentNet,
    ScaleLayer,
    TabularMLP,
)
from tests.test_persistence import (
    ESTIMATORS,
    Dropping,
    build,
    net,
    run_in_fresh_process,
    same_state,
    smoothed,
)

OWN = [Dropping, build, smoothed]
TRUSTED = [f"{own.__module__}.{own.__name__}" for own in OWN]
# As two processes draw them.
X = np.random.default_rng(0).random((60, 4), dtype=np.float32)
pictures = np.random.default_rng(1).random((60, 1, 16, 16), dtype=np.float32)
y = np.array(["setosa", "versicolor", "virginica"])[np.arange(60) % 3]


@pytest.fixture
def saved(tmp_path):
    """Return a function that saves an estimator and loads it again."""

    def save_and_load(estimator, *, training_state=True, **options):
        save(estimator, tmp_path / "model.safetensors", training_state=training_state)
        return load(tmp_path / "model.safetensors", **options)

    return save_and_load


SAMPLES = TensorDataset(torch.from_numpy(X), torch.arange(60) % 3)
DATASETS = [SAMPLES, SliceableDataset(SAMPLES), ChunkedDataset([(X, np.arange(60) % 3)])]


@pytest.mark.parametrize("dataset", DATASETS)
def test_datasets_among_the_parameters_need_no_trust(dataset, saved):
    fitted = net(validation=dataset).fit(SAMPLES)
    loaded = saved(fitted)
    assert type(loaded.validation) is type(dataset)
    assert loaded.fit(SAMPLES).validation_scores_ == fitted.validation_scores_


@pytest.mark.parametrize("training_state", [True, False])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_loaded_estimator_is_the_same_model(name, training_state, saved):
    fitted = ESTIMATORS[name]().fit(X, y)
    other = saved(fitted, training_state=training_state, trusted=OWN)
    np.testing.assert_array_equal(other.predict_proba(X), fitted.predict_proba(X))
    np.testing.assert_array_equal(other.predict(X), fitted.predict(X))
    assert same_state(other.module_, fitted.module_)
    assert not other.module_.training
    assert list(other.classes_) == list(fitted.classes_)
    assert other.get_params().keys() == fitted.get_params().keys()
    if " at 0x" not in repr(fitted):
        assert repr(other) == repr(fitted)
    for name in ("n_epochs_", "loss_curve_", "validation_scores_", "best_epoch_"):
        assert getattr(other, name) == getattr(fitted, name)
    if training_state:
        assert other.history_.to_list() == fitted.history_.to_list()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_loaded_estimator_trains_on_alike(name, saved):
    fitted = ESTIMATORS[name]().fit(X, y)
    other = saved(fitted, trusted=OWN)
    before = copy.deepcopy(fitted.module_)
    other.partial_fit(X, y)
    assert same_state(fitted.module_, before)  # They share nothing.
    assert same_state(fitted.partial_fit(X, y).module_, other.module_)
    for estimator in (fitted, other):
        estimator.set_params(warm_start=True, max_epochs=2).fit(X, y)
    assert same_state(fitted.module_, other.module_)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_without_its_training_state_it_trains_on_with_a_new_optimizer(name, saved):
    other = saved(ESTIMATORS[name]().fit(X, y), training_state=False, trusted=OWN)
    assert not other.optimizer_.state
    before = copy.deepcopy(other.module_)
    other.partial_fit(X, y)
    assert other.n_epochs_ == 5
    assert not same_state(other.module_, before)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_loaded_estimator_that_was_not_fitted_fits_alike(name, saved):
    other = saved(ESTIMATORS[name](), trusted=OWN)
    assert not hasattr(other, "net_")
    if name == "lazy layers":  # They draw their weights when the first batch comes.
        other.fit(X, y)
        return
    if name == "instance":
        fitted = net(copy.deepcopy(other.module)).fit(X, y)
    else:
        fitted = ESTIMATORS[name]().fit(X, y)
    assert same_state(other.fit(X, y).module_, fitted.module_)


def test_files_are_read_by_a_fresh_process(tmp_path):
    fitted = {name: make().fit(X, y) for name, make in ESTIMATORS.items()}
    for name, estimator in fitted.items():
        save(estimator, tmp_path / name)
    np.save(tmp_path / "X.npy", X)
    run_in_fresh_process(
        """
import numpy, pathlib, torch, sktorch
torch.set_num_threads(1)
folder, trusted, names = pathlib.Path(sys.argv[1]), sys.argv[2].split(), sys.argv[3:]
X = numpy.load(folder / "X.npy")
loaded = {name: sktorch.load(folder / name, trusted=trusted) for name in names}
arrays = {name: estimator.predict_proba(X) for name, estimator in loaded.items()}
numpy.savez(folder / "predicted.npz", **arrays)
""",
        tmp_path,
        " ".join(TRUSTED),
        *fitted,
    )
    with np.load(tmp_path / "predicted.npz") as predicted:
        for name, estimator in fitted.items():
            np.testing.assert_array_equal(predicted[name], estimator.predict_proba(X), name)


class Steps(nn.Module):
    """Scores of three classes for each feature."""

    def __init__(self, n_features, n_outputs):
        super().__init__()
        self.output = nn.Linear(1, n_outputs)

    def forward(self, X):
        return self.output(X[..., None]).transpose(1, 2)


class OwnLoss(nn.CrossEntropyLoss):
    def predict_proba(self, output):
        return output.softmax(-1)


class Normed(nn.Module):
    def __init__(self, n_features, n_outputs, norm=parametrizations.weight_norm):
        super().__init__()
        self.output = norm(nn.Linear(n_features, n_outputs))
        self.tied = self.output
        self.unused = nn.LSTM(2, 2)

    def forward(self, X):
        return self.tied(X)


numbers = X @ np.arange(4) + 3
short = {"max_epochs": 2, "random_state": 0}
LAYERS = [
    ScaleLayer(4),
    PeriodicEmbedding(4, 3, 2, keep_inputs=False),
    PiecewiseLinearEmbedding([[0.0, 0.5, 1.0]] * 8, 2),
    nn.Linear(16, 3),
]
OTHERS = {
    "two classes": (TorchClassifier, {}, X, np.arange(60) % 2),
    "booleans": (TorchClassifier, {}, X, np.arange(60) % 2 == 0),
    "columns": (TorchClassifier, {}, X, np.stack([y, y[::-1]], 1)),
    "indicators": (TorchClassifier, {}, X, (X[:, :3] > 0.5).astype(int)),
    "steps": (TorchClassifier, {"module": Steps}, X, (X > 0.5).astype(int)),
    "object labels": (TorchClassifier, {}, X, y.astype(object)),
    "hinge": (TorchClassifier, {"criterion": "bce_with_logits"}, X, y),
    "own loss": (TorchClassifier, {"criterion": OwnLoss}, X, y),
    "class weights": (TorchClassifier, {"class_weight": {"setosa": 2.0}}, X, y),
    "numbers": (TorchRegressor, {}, X, numbers),
    "several numbers": (TorchRegressor, {}, X, np.stack([numbers, -numbers], 1)),
    "counts": (TorchRegressor, {"criterion": "poisson_nll"}, X, np.arange(60)),
    "Gaussian": (TorchRegressor, {"criterion": "gaussian_nll"}, X, numbers),
    "quantiles": (
        TorchRegressor,
        {"criterion": sktorch.losses.QuantileLoss([0.1, 0.9])},
        X,
        numbers,
    ),
    "weight norm": (TorchClassifier, {"module": Normed}, X, y),
    "orthogonal": (
        TorchClassifier,
        {"module": Normed, "module__norm": parametrizations.orthogonal},
        X,
        y,
    ),
    "images": (
        TorchClassifier,
        {"module": ConvNet},
        pictures,
        y,
    ),
    "sequences": (TorchClassifier, {"module": RecurrentNet}, X.reshape(60, 2, 2), y),
    "tables": (TorchClassifier, {"module": TabularMLP}, X, y),
    "embedded tables": (TorchClassifier, {"module": nn.Sequential(*LAYERS)}, X, y),
    "ensemble": (TorchClassifier, {"module": Ensemble, "module__module": MLP}, X, y),
    "ensemble of numbers": (
        TorchRegressor,
        {"module": Ensemble, "module__module": MLP},
        X,
        numbers,
    ),
    "several inputs": (TorchClassifier, {"module": nn.Bilinear(2, 2, 3)}, (X[:, :2], X[:, 2:]), y),
    "function of torch": (TorchClassifier, {"module__activation": nn.SiLU}, X, y),
    "schedule": (TorchClassifier, {"lr_schedule": "cosine"}, X, y),
    "initializer": (TorchClassifier, {"initializer": nn.init.xavier_uniform_}, X, y),
    "scoring": (TorchClassifier, {"scoring": ["f1_macro"], "early_stopping": True}, X, y),
    "rows to validate on": (TorchClassifier, {"validation": (X, y)}, X, y),
    "RMSprop": (TorchClassifier, {"optimizer": torch.optim.RMSprop}, X, y),
    "SGD": (TorchClassifier, {"optimizer": "sgd", "optimizer__momentum": 0.9}, X, y),
    "stop": (TorchClassifier, {"callbacks": [EarlyStopping("train_loss")]}, X, y),
    "rates": (TorchClassifier, {"callbacks": [LRScheduler("StepLR", step_size=1)]}, X, y),
    "scores": (TorchClassifier, {"callbacks": [EpochScoring("accuracy", on_train=True)]}, X, y),
    "freezer": (TorchClassifier, {"callbacks": [Freezer("*.bias")]}, X, y),
    "numpy's generator": (TorchClassifier, {"random_state": np.random.RandomState(3)}, X, y),
}


@pytest.mark.parametrize("name", OTHERS)
def test_every_kind_of_model(name, saved):
    kind, parameters, inputs, targets = OTHERS[name]
    fitted = kind(**short | parameters).fit(inputs, targets)
    for training_state in (True, False):
        other = saved(fitted, training_state=training_state, trusted=[Steps, OwnLoss, Normed])
        np.testing.assert_array_equal(other.predict(inputs), fitted.predict(inputs))
        if name != "quantiles":  # Several of them have no score.
            assert other.score(inputs, targets) == fitted.score(inputs, targets)
        if training_state:
            unpickled = pickle.loads(pickle.dumps(fitted)).partial_fit(inputs, targets)
            other.partial_fit(inputs, targets)
            np.testing.assert_array_equal(other.predict(inputs), unpickled.predict(inputs))


def test_tied_layers_stay_tied(saved):
    other = saved(net(Normed).fit(X, y), module=Normed)
    assert other.module_.tied is other.module_.output
    assert type(other.module_.output).__name__ == "ParametrizedLinear"


def test_feature_names_are_kept(saved):
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    other = saved(net().fit(frame, y))
    assert [*other.feature_names_in_] == ["a", "b", "c", "d"]
    with pytest.raises(ValueError, match="feature names"):
        other.predict(frame[["b", "a", "c", "d"]])


@pytest.mark.parametrize("epochs", [1, 100])
def test_a_file_without_training_state_is_about_as_large_as_the_weights(epochs, tmp_path):
    fitted = net(module__hidden=(64, 64), max_epochs=epochs).fit(X, y)
    save(fitted, tmp_path / "whole")
    save(fitted, tmp_path / "weights", training_state=False)
    weights = sum(tensor.nbytes for tensor in fitted.module_.state_dict().values())
    assert (tmp_path / "weights").stat().st_size <= 1.1 * weights + 10_000
    assert (tmp_path / "whole").stat().st_size > 3 * weights


def test_the_history_of_a_small_net_takes_little(tmp_path):
    stopping = {"early_stopping": True, "n_iter_no_change": np.inf}
    fitted = net(module__hidden=(16,), max_epochs=200, **stopping).fit(X, y)
    save(fitted, tmp_path / "weights", training_state=False)
    weights = sum(tensor.nbytes for tensor in fitted.module_.state_dict().values())
    numbers = 200 * (len(fitted.history_[-1]) - 1)
    assert (tmp_path / "weights").stat().st_size <= 1.1 * weights + 8 * numbers + 10_000
    for row, other in zip(fitted.history_, load(tmp_path / "weights").history_, strict=True):
        recorded = {key: value for key, value in row.items() if key != "batches"}
        assert {key: other[key] for key in recorded} == recorded
        assert all(type(other[key]) is type(value) for key, value in recorded.items())


def test_the_tensors_have_names_that_other_tools_read(tmp_path):
    fitted = net().fit(X, y)
    save(fitted, tmp_path / "model")
    tensors = load_file(tmp_path / "model")
    for name, tensor in fitted.module_.state_dict().items():
        assert torch.equal(tensors[f"module_.{name}"], tensor)


def test_names_in_files_stay():
    """A name may come, but none may go: files of every version have them."""
    expected = {
        *("TorchClassifier", "TorchRegressor", "modules.ConvNet", "modules.MLP"),
        *("modules.RecurrentNet", "modules.TabularMLP", "net.Batches", "net.ClassifierNet"),
        *("net.RandomStream", "net.RegressorNet", "net.Work", "net.adapted", "net.deepcopied"),
        *("losses.Arguments", "losses.ColumnsLoss", "losses.EntriesLoss", "losses.FunctionLoss"),
        *("losses.GaussianLoss", "losses.QuantileLoss", "losses.codes", "losses.plus_minus_one"),
        *("losses.zero_one", "targets.EntryLabels", "targets.Indicators", "targets.LabelColumns"),
        *("targets.Labels", "targets.Numbers", "targets.OwnLoss"),
        *("modules.Ensemble", "modules.PeriodicEmbedding", "modules.PiecewiseLinearEmbedding"),
        *("modules.ScaleLayer", "losses.MembersLoss"),
        *("targets.MemberLabels", "targets.MemberNumbers"),
    }
    assert {f"sktorch.{name}" for name in expected} <= KNOWN.keys()


def in_a_notebook():
    class Net(nn.Sequential):
        def __init__(self, n_features, n_outputs):
            super().__init__(nn.Linear(n_features, n_outputs))

    return Net


def test_classes_of_a_notebook_are_handed_over(tmp_path):
    fitted = net(in_a_notebook(), criterion=lambda o, t: smoothed(o, t)).fit(X, y)
    save(fitted, tmp_path / "model")
    with pytest.raises(
        ValueError, match=r"needs .*Net.* load\(path, module=\.\.\., criterion=\.\.\.\)"
    ):
        load(tmp_path / "model")
    with pytest.raises(ValueError, match=r"load\(path, criterion=\.\.\.\)"):
        load(tmp_path / "model", module=in_a_notebook())
    Other = in_a_notebook()
    other = load(tmp_path / "model", module=Other, criterion=smoothed)
    assert type(other.module_) is Other is other.module
    np.testing.assert_array_equal(other.predict_proba(X), fitted.predict_proba(X))


def test_what_is_handed_over_in_vain_is_told(tmp_path):
    save(net().fit(X, y), tmp_path / "model")
    with pytest.raises(ValueError, match=r"given module, but .*model wants nothing"):
        load(tmp_path / "model", module=Dropping)
    save(net(Dropping).fit(X, y), tmp_path / "model")
    with pytest.raises(ValueError, match=r"given criterion, but .*model wants only module"):
        load(tmp_path / "model", module=Dropping, criterion=smoothed)


@pytest.mark.parametrize(
    "name", ["nothing.Net", "tests.test_persistence.Nothing", "", "Net", "a..b"]
)
def test_trusted_names_that_are_not_there(name, tmp_path):
    save(net().fit(X, y), tmp_path / "model")
    with pytest.raises(ValueError, match="can't be imported"):
        load(tmp_path / "model", trusted=[name])


def with_extra(extra):
    module = nn.Linear(4, 3)
    module.extra = [extra]
    return net(module)


REFUSED = {
    "dict": (lambda: {}, "got dict; expected an estimator of sktorch"),
    "scripted": (lambda: net(torch.jit.script(nn.Linear(4, 3))), "TorchScript"),
    "iterator": (lambda: with_extra(iter("a")), r"module\.extra\.0 is of type builtins\."),
    "method": (
        lambda: with_extra(nn.Identity().forward),
        r"module\.extra\.0 is of type builtins\.",
    ),
    "file": (lambda: net(callbacks=[sys.__stderr__]), "TextIOWrapper"),
    "generator": (lambda: net(callbacks=(i for i in [])), "generator"),
}


# One of them is scripted, by a function that torch has and deprecates.
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_saved_is_told(make, message, tmp_path):
    with pytest.raises(TypeError, match=message):
        save(make(), tmp_path / "model")
    assert not [*tmp_path.iterdir()]


def test_two_classes_of_one_name_are_told(tmp_path):
    with pytest.raises(TypeError, match=r"Another one is called .*Net, too"):
        save(net(in_a_notebook(), criterion=in_a_notebook()), tmp_path / "model")


def test_safetensors_is_asked_for_where_it_is_missing(tmp_path):
    run_in_fresh_process(
        """
sys.modules["safetensors"] = None
import pytest, sktorch
for call in (lambda: sktorch.save(sktorch.TorchClassifier(), "a"), lambda: sktorch.load("a")):
    with pytest.raises(ImportError, match=r"pip install 'sktorch\\[safe\\]'"):
        call()
""",
    )


def test_a_device_that_is_gone_is_the_cpu(tmp_path):
    fitted = net().fit(X, y)
    fitted.net_.device = "cuda:77"  # as on a machine that had it
    save(fitted, tmp_path / "model")
    with pytest.warns(match="was on cuda:77, which is not available"):
        other = load(tmp_path / "model")
    fitted.net_.device = "cpu"
    np.testing.assert_array_equal(other.predict_proba(X), fitted.predict_proba(X))
    other.partial_fit(X, y)
