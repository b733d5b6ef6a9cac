"""Bad input gets a clear error, and loses nothing that was fitted before."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.exceptions import NotFittedError
from torch import nn

from sktorch import TorchClassifier
from sktorch.modules import MLP

# Numbers this large are doubted, too: rightly.
pytestmark = pytest.mark.filterwarnings("ignore:A column of X has a root mean square")

N_ROWS, N_FEATURES = 30, 4
NAMES = ["a", "b", "c", "d"]


def make_data():
    X = np.random.RandomState(0).randn(N_ROWS, N_FEATURES)
    return X, np.arange(N_ROWS) % 3


def with_value(array, value):
    array = np.array(array, dtype=float)
    array[17, ...] = value
    return array


class Tuple(nn.Linear):
    def forward(self, X):
        return super().forward(X), X


class NoTensor(nn.Linear):
    def forward(self, X):
        return super().forward(X).tolist()


class Transposed(nn.Linear):
    def forward(self, X):
        return super().forward(X).T


X, Y = make_data()
LATER_ROWS_HUGE = np.where(np.arange(N_ROWS)[:, None] < 20, X, 1.7e308)

# Data that are bad whatever the module is: name: (X, y, sample_weight, error, message).
BAD_DATA = {
    "NaN in X": (with_value(X, np.nan), Y, None, ValueError, "Input X contains NaN"),
    "inf in X": (with_value(X, np.inf), Y, None, ValueError, "Input X contains infinity"),
    "-inf in X": (with_value(X, -np.inf), Y, None, ValueError, "Input X contains infinity"),
    "NaN in a sparse X": (
        sparse.csr_array(with_value(X, np.nan)),
        Y,
        None,
        ValueError,
        "Input X contains NaN",
    ),
    "NaN in a tensor": (
        torch.from_numpy(with_value(X, np.nan)),
        Y,
        None,
        ValueError,
        "Input X contains NaN or infinity.*impute or drop",
    ),
    "no rows": (X[:0], Y[:0], None, ValueError, r"Found array with 0 sample\(s\)"),
    "no rows in a list": ([], [], None, ValueError, "Expected 2D array"),
    "no features": (X[:, :0], Y, None, ValueError, r"Found array with 0 feature\(s\)"),
    "X of rank 1": (X[:, 0], Y, None, ValueError, "Expected 2D array, got 1D array"),
    "X of rank 0": (3.0, Y, None, ValueError, "Expected 2D array, got scalar array"),
    "X of text": (X.astype(str), Y, None, ValueError, "bytes/strings"),
    "X complex": (X + 1j, Y, None, ValueError, "Complex data not supported"),
    "X None": (None, Y, None, ValueError, "Expected 2D array|got None|NoneType|contains NaN"),
    "ragged X": ([[1, 2], [3]] * 15, Y, None, ValueError, r"shape \(None,\)"),
    "y too short": (X, Y[:7], None, ValueError, r"inconsistent numbers of samples: \[30, 7\]"),
    "y too long": (X[:7], Y, None, ValueError, r"inconsistent numbers of samples: \[7, 30\]"),
    "y None": (X, None, None, ValueError, "y should be a 1d array|requires y"),
    "y of rank 3": (
        X,
        np.eye(3)[Y][:, None],
        None,
        ValueError,
        "classes in rows of shape .1, 3. expects|dim 3, while dim <= 2",
    ),
    "y of several numbers": (X, X, None, ValueError, "Unknown label type: continuous"),
    "y continuous": (X, Y + 0.5, None, ValueError, "Unknown label type: continuous"),
    "NaN in y": (X, with_value(Y, np.nan), None, ValueError, "Input y contains NaN"),
    "inf in y": (X, with_value(Y, np.inf), None, ValueError, "Input y contains infinity"),
    "negative weight": (X, Y, with_value(Y, -1), ValueError, "negative weights.*-1.0"),
    "weights all zero": (X, Y, 0 * Y, ValueError, "at least one non-zero number"),
    "weights too short": (
        X,
        Y,
        Y[:7],
        ValueError,
        r"sample_weight has shape \(7,\), expected \(30,\)",
    ),
    "weights of rank 2": (X, Y, X, ValueError, r"sample_weight has shape \(30, 4\)"),
    "NaN weight": (X, Y, with_value(Y, np.nan), ValueError, "sample_weight contains NaN"),
    "inf weight": (X, Y, with_value(Y, np.inf), ValueError, "sample_weight contains infinity"),
    "numbers too large": (
        LATER_ROWS_HUGE,
        Y,
        None,
        ValueError,
        r"train_loss is (nan|inf) in epoch \d+, batch 3 of 3\. Try a smaller lr.*scale X",
    ),
    "numbers too large, watched": (
        LATER_ROWS_HUGE,
        Y,
        Y + 1.0,
        ValueError,
        r"train_loss is (nan|inf) in epoch \d+, batch 3 of 3",
    ),
}

# Data that a fitted estimator can't go on with: the same columns.
OTHER_DATA = {
    "fewer features": (X[:, :3], Y, "X has 3 features, but TorchClassifier is expecting 4"),
    "more features": (np.c_[X, X], Y, "X has 8 features, but TorchClassifier is expecting 4"),
    "fewer features in a tensor": (torch.from_numpy(X[:, :3]), Y, "X has 3 features"),
    "another rank": (X[:, :, None], Y, r"samples of shape \(4, 1\).*fitted on.*\(4,\). Reshape X"),
    "another class": (X, Y + 1, r"previously unseen labels.*3"),
    "other names": (
        pd.DataFrame(X, columns=["a", "b", "c", "z"]),
        Y,
        "(?s)names unseen at fit time:.*z.*now missing:.*d",
    ),
    "names in another order": (
        pd.DataFrame(X, columns=NAMES[::-1]),
        Y,
        "must be in the same order as they were in fit",
    ),
}

# Parameters: name: (parameters, error, message); those of the second table count at every fit.
BAD_COMPONENTS = {
    "module an int": ({"module": 3}, TypeError, "module must be an nn.Module subclass.*got 3"),
    "module a text": ({"module": "MLP"}, TypeError, "module must be an nn.Module.*got 'MLP'"),
    "module makes no module": (
        {"module": lambda: 3},
        TypeError,
        "module=.*returned int; expected an nn.Module. Pass an nn.Module subclass",
    ),
    "module another class": ({"module": dict}, TypeError, "returned dict; expected an nn.Module"),
    "output too wide": (
        {"module": nn.Linear(4, 5)},
        ValueError,
        r"module returned an output of shape \(2, 5\).*CrossEntropyLoss.*3 classes.*3 column.*"
        "Change the module.*n_outputs",
    ),
    "output too narrow": (
        {"module": nn.Linear(4, 2)},
        ValueError,
        r"shape \(2, 2\).*expects 3 column",
    ),
    "output for another loss": (
        {"module": nn.Linear(4, 1), "criterion": nn.BCEWithLogitsLoss},
        ValueError,
        r"shape \(2, 1\).*BCEWithLogitsLoss\(\) on 3 classes expects 3 column",
    ),
    "output of rank 3": (
        {"module": nn.Sequential(nn.Linear(4, 12), nn.Unflatten(1, (4, 3)))},
        ValueError,
        r"output of shape \(2, 4, 3\)",
    ),
    "output without the rows": (
        {"module": nn.Sequential(nn.Linear(4, 6), nn.Flatten(0), nn.Unflatten(0, (4, 3)))},
        ValueError,
        r"output of shape \(4, 3\) for a batch of 2 rows",
    ),
    "output a tuple": (
        {"module": Tuple(4, 3)},
        TypeError,
        "module Tuple returned tuple; expected one tensor.*Return just that",
    ),
    "output a list": ({"module": NoTensor(4, 3)}, TypeError, "module NoTensor returned list"),
    "input of another width": (
        {"module": nn.Linear(5, 3)},
        ValueError,
        r"module Linear does not take a batch of shape \(2, 4\).*n_features.*filled in",
    ),
    "input of another rank": (
        {"module": nn.Sequential(nn.Conv2d(1, 3, 1), nn.Flatten())},
        ValueError,
        r"module Sequential does not take a batch of shape \(2, 4\).*Give X another shape",
    ),
    "criterion an int": ({"criterion": 3}, TypeError, "criterion must be an nn loss.*got 3"),
    "criterion a text": (
        {"criterion": "hinge"},
        ValueError,
        "criterion='hinge' is not known. Did you mean 'hinge_embedding'",
    ),
    "criterion None": ({"criterion": None}, TypeError, "criterion must be an nn loss.*got None"),
    "criterion a list": ({"criterion": [1]}, TypeError, r"criterion must be an nn loss.*got \[1\]"),
    "criterion another class": ({"criterion": dict}, TypeError, "criterion"),
    "criterion gives no tensor": (
        {"criterion": lambda output, target: 3.0},
        TypeError,
        "criterion.*(returned|float)",
    ),
    "criterion gives one per row": (
        {"criterion": lambda output, target: output.sum(1)},
        (TypeError, ValueError),
        r"criterion.*returned.*\(2,\)",
    ),
    "optimizer an int": ({"optimizer": 3}, TypeError, "optimizer must be.*got 3"),
    "optimizer a text": ({"optimizer": "adamm"}, ValueError, "Did you mean 'adam'"),
    "callbacks an int": ({"callbacks": 3}, (TypeError, ValueError), "callbacks.*3"),
    "too few rows to hold out": (
        {"early_stopping": True, "validation_fraction": 0.99},
        ValueError,
        "A hold-out of 30 rows is needed.*validation_fraction",
    ),
    "validation loss NaN": (
        {"module": lambda: NaNInEval(), "early_stopping": True},
        ValueError,
        r"valid_loss is nan in epoch 1, batch 1 of 1",
    ),
}
BAD_SETTINGS = {
    "batch size 0": ({"batch_size": 0}, ValueError, "batch_size must be a positive integer, got 0"),
    "minus one epoch": (
        {"max_epochs": -1},
        ValueError,
        "max_epochs must be a non-negative integer, got -1",
    ),
    "lr 0": ({"lr": 0}, ValueError, "lr must be a positive number, got 0. Change lr"),
    "unknown device": (
        {"device": "nowhere"},
        ValueError,
        "device='nowhere' can't be used.*Expected 'auto', 'cpu'.*Change device",
    ),
    "device a number out of range": (
        {"device": "cuda:77"},
        ValueError,
        "device='cuda:77' can't be",
    ),
    "device no device": ({"device": 3.5}, ValueError, "device=3.5 can't be used"),
    "device without memory": ({"device": "meta"}, ValueError, "device='meta' can't be used"),
    "class weight of no class": ({"class_weight": {9: 1}}, ValueError, r"class_weight names \[9\]"),
    "class weight negative": ({"class_weight": {0: -1}}, ValueError, "no negative one"),
    "class weights all zero": (
        {"class_weight": dict.fromkeys(range(3), 0)},
        ValueError,
        "at least one non-zero",
    ),
    "class weight a word": ({"class_weight": "even"}, ValueError, "class_weight.*'even'"),
    "random_state a text": ({"random_state": "x"}, ValueError, "random_state|seed"),
}


class NaNInEval(nn.Linear):
    """Gives numbers in training, and NaN when it is evaluated."""

    def __init__(self):
        super().__init__(4, 3)

    def forward(self, X):
        output = super().forward(X)
        return output if self.training else output * torch.nan


METHODS = ["fit", "partial_fit", "warm start"]


def quick(**parameters):
    settings = {
        "module": MLP,  # The default module takes numbers of any size.
        "max_epochs": 2,
        "batch_size": 10,
        "device": "cpu",
        "random_state": 0,
        "iterator_train__shuffle": False,
    }
    return TorchClassifier(**(settings | parameters))


def train(estimator, method, X, y, sample_weight=None):
    if method == "partial_fit":
        first = {} if hasattr(estimator, "net_") else {"classes": [0, 1, 2]}
        return estimator.partial_fit(X, y, sample_weight=sample_weight, **first)
    estimator.set_params(warm_start=method == "warm start")
    return estimator.fit(X, y, sample_weight=sample_weight)


def state(estimator):
    """Everything that a failure must leave as it was, comparable."""
    training = estimator.module_.training  # before a prediction switches it
    X, _ = make_data()
    X = pd.DataFrame(X, columns=NAMES) if hasattr(estimator, "feature_names_in_") else X
    return {
        "probabilities": estimator.predict_proba(X).tolist(),
        "classes": estimator.classes_.tolist(),
        "n_features_in": estimator.n_features_in_,
        "input_shape": estimator.input_shape_,
        "names": getattr(estimator, "feature_names_in_", np.array([])).tolist(),
        "n_epochs": estimator.n_epochs_,
        "history": [
            {key: value for key, value in row.items() if key != "batches"}
            for row in estimator.history_.to_list()
        ],
        "best_epoch": estimator.best_epoch_,
        "lr": [group["lr"] for group in estimator.optimizer_.param_groups],
        "steps": [
            {key: torch.as_tensor(value).tolist() for key, value in entry.items()}
            for entry in estimator.optimizer_.state_dict()["state"].values()
        ],
        "training": training,
        "attributes": sorted(name for name in vars(estimator) if name.endswith("_")),
    }


def assert_unfitted(estimator):
    X, _ = make_data()
    for method in ("predict", "predict_proba", "decision_function"):
        with pytest.raises(NotFittedError, match="not fitted yet"):
            getattr(estimator, method)(X)
    left = [name for name in vars(estimator) if name.endswith("_") and not name.endswith("__")]
    assert not left


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data_in_a_first_fit(name, method):
    X, y, weight, error, message = BAD_DATA[name]
    estimator = quick()
    with pytest.raises(error, match=message):
        train(estimator, method, X, y, weight)
    assert_unfitted(estimator)
    train(estimator, method, *make_data())
    assert estimator.predict(make_data()[0]).shape == (N_ROWS,)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data_after_a_fit(name, method):
    X, y, weight, error, message = BAD_DATA[name]
    estimator = quick().fit(*make_data())
    before = state(estimator)
    with pytest.raises(error, match=message):
        train(estimator, method, X, y, weight)
    assert state(estimator) == before


@pytest.mark.parametrize("method", METHODS[1:])
@pytest.mark.parametrize("name", OTHER_DATA)
def test_data_that_a_fitted_estimator_can_not_go_on_with(name, method):
    X, y, message = OTHER_DATA[name]
    given, labels = make_data()
    given = pd.DataFrame(given, columns=NAMES) if isinstance(X, pd.DataFrame) else given
    estimator = quick().fit(given, labels)
    before = state(estimator)
    with pytest.raises(ValueError, match=message):
        train(estimator, method, X, y)
    assert state(estimator) == before


@pytest.mark.parametrize("name", [name for name in OTHER_DATA if name != "another class"])
def test_data_that_a_fitted_estimator_can_not_predict(name):
    X, _, message = OTHER_DATA[name]
    given, labels = make_data()
    given = pd.DataFrame(given, columns=NAMES) if isinstance(X, pd.DataFrame) else given
    estimator = quick().fit(given, labels)
    before = state(estimator)
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        with pytest.raises(ValueError, match=message):
            getattr(estimator, method)(X)
    with pytest.raises(ValueError, match=message):
        estimator.score(X, labels)
    assert state(estimator) == before


@pytest.mark.parametrize(
    "name", [name for name, row in BAD_DATA.items() if "X" in name and row[2] is None]
)
def test_bad_data_can_not_be_predicted(name):
    X, _, _, error, message = BAD_DATA[name]
    estimator = quick().fit(*make_data())
    with pytest.raises(error, match=message):
        estimator.predict(X)


@pytest.mark.parametrize(
    ("name", "method"),
    [
        (name, method)
        for name, (parameters, *_) in (BAD_COMPONENTS | BAD_SETTINGS).items()
        for method in METHODS
        if not (method == "partial_fit" and "early_stopping" in parameters)  # holds nothing out
    ],
)
def test_bad_parameters_in_a_first_fit(name, method):
    parameters, error, message = (BAD_COMPONENTS | BAD_SETTINGS)[name]
    estimator = quick(**parameters)
    with pytest.raises(error, match=f"(?s){message}"):
        train(estimator, method, *make_data())
    assert_unfitted(estimator)


@pytest.mark.parametrize("name", BAD_COMPONENTS | BAD_SETTINGS)
def test_bad_parameters_after_a_fit(name):
    parameters, error, message = (BAD_COMPONENTS | BAD_SETTINGS)[name]
    estimator = quick().fit(*make_data())
    before = state(estimator)
    estimator.set_params(**parameters)
    with pytest.raises(error, match=f"(?s){message}"):
        estimator.fit(*make_data())
    estimator.set_params(criterion=nn.CrossEntropyLoss)  # so that state can ask
    assert state(estimator) == before


@pytest.mark.parametrize("method", METHODS[1:])
@pytest.mark.parametrize("name", [name for name in BAD_SETTINGS if name != "random_state a text"])
def test_bad_settings_before_training_goes_on(name, method):
    parameters, error, message = BAD_SETTINGS[name]
    estimator = quick().fit(*make_data())
    before = state(estimator)
    estimator.set_params(**parameters)
    with pytest.raises(error, match=message):
        train(estimator, method, *make_data())
    assert state(estimator) == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for CUDA where there is none")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", torch.device("cuda")])
def test_cuda_that_is_not_there(device):
    estimator = quick(device=device)
    with pytest.raises(ValueError, match=r"(?s)device=.*cuda.* can't be used.*'auto' takes what"):
        estimator.fit(*make_data())
    assert_unfitted(estimator)


def test_the_batch_in_which_the_loss_turns_is_named():
    X, y = make_data()
    estimator = quick(max_epochs=50, lr=1e100, optimizer=torch.optim.SGD)
    with pytest.raises(
        ValueError, match=r"in epoch \d+, batch \d of 3.*Try a smaller lr \(now 1e\+100\)"
    ):
        estimator.fit(1e100 * X, y)
    assert_unfitted(estimator)


def test_a_failure_in_a_later_epoch_takes_the_earlier_ones_back():
    class Failing(nn.Linear):
        failing = False
        calls = 0

        def forward(self, X):
            Failing.calls += self.training
            if Failing.failing and Failing.calls > 4:
                raise RuntimeError("out of order")
            return super().forward(X)

    X, y = make_data()
    estimator = quick(module=Failing(4, 3).double(), warm_start=True).fit(X, y)
    before = state(estimator)
    Failing.failing, Failing.calls = True, 0
    with pytest.raises(RuntimeError, match="out of order"):
        estimator.fit(X, y)
    Failing.failing = False
    assert state(estimator) == before
    again = quick(module=Failing(4, 3).double(), warm_start=True)
    assert estimator.fit(X, y).n_epochs_ == 4
    assert again.fit(X, y).n_epochs_ == 2


def test_training_after_a_failure_is_training_without_it():
    X, y = make_data()
    undisturbed = quick().fit(X, y).partial_fit(X, y)
    estimator = quick().fit(X, y)
    with pytest.raises(ValueError, match="train_loss is"):
        estimator.partial_fit(LATER_ROWS_HUGE, y)
    estimator.partial_fit(X, y)
    assert estimator.loss_curve_ == undisturbed.loss_curve_
    np.testing.assert_array_equal(estimator.predict_proba(X), undisturbed.predict_proba(X))


@pytest.mark.parametrize(
    "changed",
    [
        {"lr": 0.5},
        {"optimizer": torch.optim.SGD},
        {"optimizer": torch.optim.SGD, "optimizer__momentum": 0.9},
        {"optimizer__weight_decay": 0.25},
    ],
)
def test_a_failure_under_another_optimizer_leaves_the_old_one(changed):
    X, y = make_data()
    estimator = quick().fit(X, y)
    before, groups = state(estimator), optimizer_groups(estimator)
    estimator.set_params(**changed)
    with pytest.raises(ValueError, match="train_loss is"):
        estimator.partial_fit(LATER_ROWS_HUGE, y)
    assert type(estimator.optimizer_) is torch.optim.AdamW
    assert state(estimator) == before
    assert optimizer_groups(estimator) == groups
    undisturbed = quick().fit(X, y).set_params(**changed).partial_fit(X, y)
    estimator.partial_fit(X, y)
    np.testing.assert_array_equal(estimator.predict_proba(X), undisturbed.predict_proba(X))


def optimizer_groups(estimator):
    groups = estimator.optimizer_.param_groups
    return [{key: group[key] for key in group if key != "params"} for group in groups]


def test_a_failed_fit_under_other_classes_and_features_leaves_the_old_ones():
    estimator = quick().fit(pd.DataFrame(X, columns=NAMES), Y)
    before = state(estimator)
    with pytest.raises(ValueError, match="train_loss is"):
        estimator.fit(np.c_[(LATER_ROWS_HUGE,) * 3], np.array(list("abcde"))[np.arange(N_ROWS) % 5])
    assert state(estimator) == before


def test_images_of_another_size_name_the_module():
    X = np.random.RandomState(0).randn(12, 1, 4, 4)
    estimator = quick().fit(X, np.arange(12) % 2)
    with pytest.raises(ValueError, match=r"\(1, 4, 5\).*\(1, 4, 4\)|module.*shape"):
        estimator.predict(np.zeros((3, 1, 4, 5)))


@pytest.mark.parametrize(
    "name", ["predict", "predict_proba", "predict_log_proba", "decision_function", "score"]
)
def test_an_unfitted_estimator_says_so(name):
    X, y = make_data()
    arguments = (X, y) if name == "score" else (X,)
    with pytest.raises(NotFittedError, match="This TorchClassifier instance is not fitted yet"):
        getattr(quick(), name)(*arguments)


@pytest.mark.parametrize("name", ["module_", "optimizer_", "history_", "device_", "loss_curve_"])
def test_an_unfitted_estimator_has_no_fitted_attributes(name):
    assert not hasattr(quick(), name)
    assert hasattr(quick().fit(*make_data()), name)
