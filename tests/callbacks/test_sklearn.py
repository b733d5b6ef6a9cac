"""scikit-learn's callbacks see the epochs of a fit."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.callback import ProgressBar as SklearnProgressBar
from sklearn.callback import ScoringMonitor
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.callbacks.shared import Dropping, Stop, net, same_state


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
