"""What trains together, what trains alone, and what changes between two epochs."""

from functools import partial

import joblib
import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score, cross_validate
from skorch.callbacks import Callback
from skorch.helper import SliceDict
from torch import nn

from sktorch.data import SliceableDataset
from sktorch.fused import trial
from sktorch.modules import RecurrentNet
from tests.fused.searches import Watching, both, classifier, grid_search

pytestmark = pytest.mark.usefixtures("no_step_is_large")


@pytest.mark.parametrize("name", ["bfloat16", "dict", "sparse", "groups", "amsgrad"])
def test_what_stacks(iris, name, monkeypatch, capsys):
    monkeypatch.setattr(trial, "MAX_TIME_RATIO", float("inf"))
    X, y = iris
    inputs = {"dict": SliceDict(left=X[:, :2], right=X[:, 2:]), "sparse": sparse.csr_array(X)}
    parameters = {
        "bfloat16": {"precision": "bfloat16"},
        "dict": {"module": TwoInputs},
        "groups": {"optimizer__param_groups": [("*.bias", {"weight_decay": 0, "lr": 0.1})]},
        "amsgrad": {"optimizer__amsgrad": True, "optimizer__foreach": True},
    }
    model = classifier(**parameters.get(name, {}))

    def probabilities():
        data = inputs.get(name, X)
        return cross_val_predict(model, data, y, method="predict_proba", verbose=1)

    alone, together = both(probabilities)
    atol = {"bfloat16": 0.02, "dict": 1e-5}.get(name, 1e-9)
    np.testing.assert_allclose(together, alone, atol=atol)
    assert "train together" in capsys.readouterr().out


class TwoInputs(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.left, self.right = nn.Linear(2, 5), nn.Linear(2, n_outputs)
        self.head = nn.Linear(5, n_outputs)

    def forward(self, left, right):
        return self.head(self.left(left).relu()) + self.right(right)


def test_ragged_sequences_and_datasets_train_alone(iris, met):
    X, y = iris
    rows = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(y))
    ragged = [row[: 2 + number % 3, None].astype("float32") for number, row in enumerate(X)]
    recurrent = classifier(module=RecurrentNet, max_epochs=2)
    for model, data in ((classifier(), SliceableDataset(rows)), (recurrent, ragged)):
        alone, together = both(lambda m=model, d=data: cross_val_score(m, d, y, cv=3))
        np.testing.assert_array_equal(together, alone)
    assert met == []


ALONE = {
    "callbacks": {"callbacks": [Watching()]},
    "accumulation": {"gradient_accumulation": 2},
    "loader": {"iterator_train__sampler": None, "iterator_train__num_workers": 0},
    "lbfgs": {"optimizer": "lbfgs", "optimizer__max_iter": 3},
    "float16": {"precision": "float16"},
    "dropout": {"module__dropout": 0.5, "batch_size": 1000},
}


@pytest.mark.parametrize("name", ALONE)
def test_what_does_not_stack_trains_alone_beside_the_others(iris, name):
    def scores():
        return cross_validate(classifier(**ALONE[name]), *iris, cv=3)["test_score"]

    alone, together = both(scores)
    np.testing.assert_allclose(together, alone, atol=0.1 if name == "dropout" else 0)


def dropout_scores(X, y):
    model = classifier(module__dropout=0.5)
    grid = {"lr": [0.001, 0.01], "callbacks": [None, [Watching()]]}
    return GridSearchCV(model, grid, cv=4, refit=False).fit(X, y).cv_results_["mean_test_score"]


def test_masks_of_dropout_come_again(iris, monkeypatch):
    monkeypatch.setattr(trial, "MAX_TIME_RATIO", float("inf"))
    with joblib.parallel_config("sktorch"):
        np.testing.assert_array_equal(dropout_scores(*iris), dropout_scores(*iris))


class Freezing(Callback):
    """Trains the first layer for two epochs only."""

    def on_epoch_begin(self, net, **kwargs):
        net.module_.get_submodule("1").requires_grad_(len(net.history) <= 2)


def test_what_a_callback_changes_between_epochs_holds(iris):
    alone, together = both(lambda: grid_search(*iris, callbacks=[Freezing()], max_epochs=5))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


class Annealing(nn.Linear):
    """Its own way into train mode lowers a temperature."""

    temperature = 1.0

    def train(self, mode=True):
        self.temperature = self.temperature * 0.8 if mode else self.temperature
        return super().train(mode)

    def forward(self, X):
        return super().forward(X) / self.temperature


def freezing_scorer(estimator, X, y):
    estimator.net_.module_.get_submodule("1").requires_grad_(False)
    return 0.0


class FreezingMonitor:
    """A callback of scikit-learn's that is handed the net."""

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        if context.task_name == "epoch":
            fitted_estimator.net_.module_.get_submodule("1").requires_grad_(False)

    def teardown(self, estimator, context):
        pass


@pytest.mark.parametrize(
    "parameters",
    [{"module": partial(Annealing, 4, 3)}, {"scoring": {"none": freezing_scorer}}],
)
def test_what_others_change_between_epochs_holds(iris, parameters):
    alone, together = both(lambda: grid_search(*iris, max_epochs=5, **parameters))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_what_callbacks_of_scikit_learn_change_between_epochs_holds(iris):
    def fit():
        model = classifier(max_epochs=5).set_callbacks(FreezingMonitor())
        return [cross_val_predict(model, *iris, method="predict_proba", cv=4)]

    alone, together = both(fit)
    np.testing.assert_allclose(alone[0], together[0], atol=1e-5)
    assert not np.allclose(
        alone[0],
        cross_val_predict(classifier(max_epochs=5), *iris, method="predict_proba", cv=4),
        atol=1e-5,
    )


@pytest.mark.parametrize(
    "parameters",
    [
        {"module__normalization": "batch", "gradient_clip": 0.1},
        {"lr_schedule": "cosine", "early_stopping": True},
        {"early_stopping": True, "n_iter_no_change": 2, "max_epochs": 10},
        {"optimizer__param_groups": [("*.bias", {"weight_decay": 0.1, "lr": 0.1})]},
        {"batch_size": 41},
    ],
    ids=["norm", "schedule", "stopping", "groups", "short"],
)
def test_widths_of_a_search_are_padded(iris, parameters, monkeypatch, capsys):
    monkeypatch.setattr(trial, "MAX_TIME_RATIO", float("inf"))
    X, y = iris
    widths = {"module__hidden": [(5, 7), (8, 6), (6, 6), (9, 5)]}

    def search():
        found = GridSearchCV(classifier(**parameters), widths, cv=3, scoring="neg_log_loss")
        return found.fit(X, y).cv_results_["mean_test_score"]

    alone = search()
    with joblib.parallel_config("sktorch", verbose=1):
        together = search()
    np.testing.assert_allclose(together, alone, rtol=1e-9)
    assert "train padded together" in capsys.readouterr().out


@pytest.mark.usefixtures("one_epoch_at_a_time")
@pytest.mark.parametrize("optimizer", ["AdamW", "SGD"])
@pytest.mark.parametrize("n_rows", [(64, 70), (64, 64, 64, 70), (40, 70, 100)])
def test_a_model_that_ends_its_epochs_alone_keeps_what_its_optimizer_learns_there(
    iris, optimizer, n_rows
):
    X, y = (part[::-1] for part in iris)
    momentum = {"optimizer__momentum": 0.9} if optimizer == "SGD" else {}

    def weights(n_rows):
        model = classifier(optimizer=optimizer, max_epochs=5, **momentum)
        module = model.fit(X[:n_rows], y[:n_rows]).module_
        return torch.cat([p.detach().flatten() for p in module.parameters()])

    def of_all():
        return joblib.Parallel()(joblib.delayed(weights)(n) for n in n_rows)

    of_all()  # From now on a step alone is a replay, in which torch counts no writes.
    for alone, together in zip(*both(of_all), strict=True):
        torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)
