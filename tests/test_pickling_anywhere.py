"""A fitted estimator travels by any pickler, with modules and losses written in a notebook."""

import copy
import io
import pickle

import cloudpickle
import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import EpochScoring
from torch import nn
from torch.nn.utils import parametrizations

from sktorch import TorchClassifier, TorchRegressor

X = np.random.default_rng(0).random((60, 4), dtype=np.float32)
y = np.arange(60) % 2


def in_a_notebook():
    """Classes that no other process can import, as those of a notebook."""

    class Net(nn.Module):
        def __init__(self, n_features, n_outputs):
            super().__init__()
            self.output = nn.Linear(n_features, n_outputs)

        def forward(self, X):
            return self.output(X)

    class Loss(nn.CrossEntropyLoss):
        pass

    return Net, Loss


def net(**parameters):
    defaults = {"max_epochs": 2, "random_state": 0, "batch_size": 20}
    return TorchClassifier(**defaults | parameters)


def notebook_net(**parameters):
    Net, Loss = in_a_notebook()
    return net(module=Net, criterion=Loss, **parameters)


def dumped_by_joblib(fitted):
    file = io.BytesIO()
    joblib.dump(fitted, file)
    file.seek(0)
    return joblib.load(file)


COPIES = {
    "cloudpickle": lambda fitted: cloudpickle.loads(cloudpickle.dumps(fitted)),
    "deepcopy": copy.deepcopy,
}
PLAIN_COPIES = COPIES | {
    "pickle": lambda fitted: pickle.loads(pickle.dumps(fitted)),
    "pickle, oldest protocol": lambda fitted: pickle.loads(pickle.dumps(fitted, protocol=0)),
    "joblib": dumped_by_joblib,
}
NOTEBOOK = {
    "module": lambda: {"module": in_a_notebook()[0]},
    "module instance": lambda: {"module": in_a_notebook()[0](4, 2)},
    "module function": lambda: {"module": lambda n_features, n_outputs: nn.Linear(4, 2)},
    "loss class": lambda: {"criterion": in_a_notebook()[1]},
    "loss instance": lambda: {"criterion": in_a_notebook()[1]()},
    "loss lambda": lambda: {"criterion": lambda o, t: nn.functional.cross_entropy(o, t)},
    "optimizer": lambda: {"optimizer": type("Own", (torch.optim.SGD,), {})},
    "optimizer function": lambda: {"optimizer": lambda p, lr: torch.optim.SGD(p, lr)},
    "schedule": lambda: {
        "lr_schedule": lambda optimizer: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda e: 1.0)
    },
    "initializer": lambda: {"initializer": lambda tensor: nn.init.constant_(tensor, 0.1)},
    "augment": lambda: {"augment": lambda X: X + 0.0},
    "scoring": lambda: {"scoring": {"own": lambda estimator, X, y: 0.5}},
    "callback": lambda: {"callbacks": [EpochScoring(lambda net, X, y: 0.5, name="own")]},
}


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES.keys())
@pytest.mark.parametrize("what", NOTEBOOK)
@pytest.mark.filterwarnings("ignore:.*unsupported.*")
def test_a_fit_with_what_a_notebook_defines_is_copied(what, copied):
    fitted = net(**NOTEBOOK[what]()).fit(X, y)
    other = copied(fitted)
    np.testing.assert_array_equal(other.predict_proba(X), fitted.predict_proba(X))
    assert other.score(X, y) == fitted.score(X, y)


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES.keys())
def test_a_copy_goes_on_as_the_fit_would(copied):
    fitted = notebook_net(optimizer="sgd", optimizer__momentum=0.9).fit(X, y)
    other = copied(fitted)
    np.testing.assert_array_equal(
        other.partial_fit(X, y).predict_proba(X), fitted.partial_fit(X, y).predict_proba(X)
    )
    assert other.n_epochs_ == fitted.n_epochs_ == 3


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES.keys())
def test_a_copy_is_another_model(copied):
    fitted = notebook_net().fit(X, y)
    before = fitted.predict_proba(X)
    copied(fitted).partial_fit(X, y)
    np.testing.assert_array_equal(fitted.predict_proba(X), before)


METHODS = {
    "Voting": lambda: VotingClassifier(
        [("net", notebook_net()), ("other", LogisticRegression())], voting="soft"
    ),
    "Stacking": lambda: StackingClassifier([("net", notebook_net())], cv=2),
    "OneVsRest": lambda: OneVsRestClassifier(notebook_net()),
    "Calibrated": lambda: CalibratedClassifierCV(notebook_net(), cv=2),
    "Bagging": lambda: BaggingClassifier(notebook_net(), n_estimators=2, random_state=0),
    "Pipeline": lambda: make_pipeline(StandardScaler(), notebook_net()),
    "GridSearchCV": lambda: GridSearchCV(notebook_net(), {"lr": [0.1, 0.01]}, cv=2),
}


@pytest.mark.parametrize("method", METHODS)
def test_an_ensemble_of_notebook_nets_is_pickled_as_joblib_does(method):
    fitted = METHODS[method]().fit(X, y)
    other = cloudpickle.loads(cloudpickle.dumps(fitted))
    np.testing.assert_array_equal(other.predict_proba(X), fitted.predict_proba(X))


def test_other_processes_fit_nets_of_a_notebook():
    alone = BaggingClassifier(notebook_net(), n_estimators=2, random_state=0).fit(X, y)
    with joblib.parallel_config("loky", n_jobs=2):
        bagging = BaggingClassifier(notebook_net(), n_estimators=2, random_state=0, n_jobs=2)
        together = bagging.fit(X, y)
        results = cross_validate(
            notebook_net(), X, y, cv=2, return_estimator=True, error_score="raise"
        )
    np.testing.assert_allclose(together.predict_proba(X), alone.predict_proba(X), atol=1e-6)
    assert all(fitted.predict(X).shape == y.shape for fitted in results["estimator"])


class Importable(nn.Module):
    def __init__(self, n_features, n_outputs):
        super().__init__()
        self.output = nn.Linear(n_features, n_outputs)

    def forward(self, X):
        return self.output(X)


class Parametrized(Importable):
    def __init__(self, n_features, n_outputs, constraint=parametrizations.weight_norm):
        super().__init__(n_features, n_outputs)
        self.hidden = nn.Linear(n_features, n_features)
        constraint(self.hidden)

    def forward(self, X):
        return self.output(self.hidden(X).relu())


CONSTRAINTS = {
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
}


@pytest.mark.parametrize("copied", PLAIN_COPIES.values(), ids=PLAIN_COPIES.keys())
@pytest.mark.parametrize("kind", [TorchClassifier, TorchRegressor])
def test_a_fit_of_importable_parts_is_copied(copied, kind):
    fitted = kind(Importable, max_epochs=2, random_state=0).fit(X, y)
    np.testing.assert_array_equal(copied(fitted).predict(X), fitted.predict(X))


@pytest.mark.parametrize("copied", PLAIN_COPIES.values(), ids=PLAIN_COPIES.keys())
@pytest.mark.parametrize("constraint", CONSTRAINTS.values(), ids=CONSTRAINTS.keys())
def test_a_parametrized_module_is_copied(copied, constraint):
    fitted = net(module=Parametrized, module__constraint=constraint).fit(X, y)
    other = copied(fitted)
    np.testing.assert_array_equal(other.predict_proba(X), fitted.predict_proba(X))
    assert other.partial_fit(X, y).n_epochs_ == 3
    assert type(other.module_.hidden).__name__ == type(fitted.module_.hidden).__name__


@pytest.mark.parametrize("constraint", CONSTRAINTS.values(), ids=CONSTRAINTS.keys())
def test_a_parametrized_instance_is_fitted_and_copied(constraint):
    fitted = net(module=Parametrized(4, 2, constraint)).fit(X, y)
    other = cloudpickle.loads(cloudpickle.dumps(fitted))
    np.testing.assert_array_equal(other.predict_proba(X), fitted.predict_proba(X))


@pytest.mark.parametrize("copied", PLAIN_COPIES.values(), ids=PLAIN_COPIES.keys())
def test_an_estimator_that_is_not_fitted_is_copied(copied):
    other = copied(clone(net(module=Importable)))
    assert other.get_params()["module"] is Importable
    assert not hasattr(other, "net_")


def test_tensors_are_seen_by_the_pickler_itself():
    """No pickle within a pickle: a pickler of one's own meets each tensor of the weights."""
    fitted = net(module=Importable).fit(X, y)
    seen = []

    class Noting(cloudpickle.CloudPickler):
        def reducer_override(self, value):
            if isinstance(value, torch.Tensor | np.ndarray):
                seen.append(tuple(value.shape))
            return super().reducer_override(value)

    Noting(io.BytesIO()).dump(fitted)
    assert (2, 4) in seen


def test_the_rows_are_not_pickled_along():
    sizes = []
    for times in (1, 20):
        fitted = notebook_net(batch_size=1200).fit(np.tile(X, (times, 1)), np.tile(y, times))
        sizes.append(len(cloudpickle.dumps(fitted)))
    assert sizes[1] < sizes[0] + 1000
