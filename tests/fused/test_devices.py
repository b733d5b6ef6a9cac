"""Tasks are spread over devices; two of the CPU pass for two GPUs."""

import threading

import joblib
import numpy as np
import pytest
import torch
from sklearn.ensemble import BaggingClassifier
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score, cross_validate
from skorch.callbacks import Callback
from torch import nn

from sktorch import TabularClassifier
from sktorch.fused.fuser import Fuser
from sktorch.model_selection import HalvingSearchCV
from tests.fused.epochs import CPU, EpochBatches, model_of, task_of
from tests.fused.searches import classifier
from tests.fused.training import mlp

pytestmark = pytest.mark.usefixtures("no_step_is_large")

TWO = ["cpu:0", "cpu:1"]
LRS = [0.001, 0.003, 0.01, 0.03]


class Placed(Callback):
    """Notes the learning rate and the device of every fit."""

    def __init__(self, seen):
        self.seen = seen

    def __deepcopy__(self, memo):  # The copy that a fit trains notes in the same list.
        return Placed(self.seen)

    def __sklearn_clone__(self):
        return self

    def on_train_begin(self, net, **kwargs):
        self.seen.append((net.lr, net.device))


@pytest.fixture
def seen():
    return []


def searched(iris, seen, devices, **parameters):
    search = GridSearchCV(
        classifier(callbacks=[Placed(seen)], **parameters), {"lr": LRS}, cv=KFold(3)
    )
    with joblib.parallel_config("sktorch", devices=devices):
        return search.fit(*iris)


def test_candidates_take_turns(iris, seen):
    expected = searched(iris, [], None).cv_results_["mean_test_score"]
    search = searched(iris, seen, TWO)
    *fits, refit = seen
    assert sorted(fits) == [(lr, TWO[n % 2]) for n, lr in enumerate(LRS) for _ in range(3)]
    assert refit[1] == "cpu:0"
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], expected)
    assert search.best_estimator_.device_ == torch.device("cpu:0")


def test_one_device_has_all(iris, seen):
    searched(iris, seen, ["cpu:1"])
    assert {device for _, device in seen} == {"cpu:1"}


def test_a_fit_that_names_its_device_keeps_it(iris, seen):
    searched(iris, seen, TWO, device="cpu")
    assert {device for _, device in seen} == {"cpu"}


def test_tasks_of_other_calls_take_turns(iris, seen):
    with joblib.parallel_config("sktorch", devices=[torch.device("cpu", 0), "cpu:1"]):
        cross_val_score(classifier(callbacks=[Placed(seen)]), *iris, cv=4)
    assert sorted(device for _, device in seen) == ["cpu:0", "cpu:0", "cpu:1", "cpu:1"]


def test_tasks_inside_of_tasks_take_turns(iris, seen):
    bag = BaggingClassifier(classifier(callbacks=[Placed(seen)]), n_estimators=2, n_jobs=2)
    with joblib.parallel_config("sktorch", devices=TWO):
        cross_validate(bag, *iris, cv=3)
    assert sorted(device for _, device in seen) == ["cpu:0"] * 3 + ["cpu:1"] * 3


def test_a_rung_goes_on_wherever_it_is(iris):
    X, y = iris
    search = HalvingSearchCV(
        classifier(max_epochs=9), {"lr": LRS}, cv=2, min_resources=3, factor=2, random_state=0
    )
    expected = search.fit(X, y).cv_results_["mean_test_score"]
    with joblib.parallel_config("sktorch", devices=TWO):
        np.testing.assert_allclose(search.fit(X, y).cv_results_["mean_test_score"], expected)


def test_raw_tables_take_turns(iris):
    tables = TabularClassifier(max_epochs=1, random_state=0)
    with joblib.parallel_config("sktorch", devices=TWO):
        scores = cross_validate(tables, *iris, cv=2, return_estimator=True)
    devices = [next(fit.module_.parameters()).device for fit in scores["estimator"]]
    assert devices == [CPU, CPU]


class MeetingBatches(EpochBatches):
    """Batches that are there when those of the other device are asked for, too."""

    def __init__(self, batches, barrier):
        super().__init__(batches)
        self.barrier = barrier

    def example(self, number):
        return self._batches[number]

    def block(self, number):
        self.barrier.wait()
        return super().block(number)


def test_devices_work_side_by_side():
    barrier = threading.Barrier(2, timeout=60)
    batch = torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64), None
    tasks = []
    for device in TWO:
        module = nn.Linear(2, 2)
        optimizer = torch.optim.SGD(module.parameters())
        model = model_of(module, optimizer, device=torch.device(device))
        tasks.append(task_of(model, MeetingBatches([batch] * 3, barrier)))
    Fuser(1).run(tasks)
    assert [task.error for task in tasks] == [None, None]
    assert [len(task.losses) for task in tasks] == [3, 3]


def test_a_stack_is_of_one_device():
    lines, tasks = [], []
    for number in range(8):
        module = mlp().double()
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        model = model_of(module, optimizer, device=torch.device("cpu", number % 2))
        X = torch.randn(60, 16, dtype=torch.float64)
        batch = X, torch.zeros(60, dtype=torch.int64), None
        tasks.append(task_of(model, EpochBatches([batch] * 3)))
    Fuser(1, report=lines.append).run(tasks)
    assert [task.error for task in tasks] == [None] * 8
    assert any(line.startswith("4 × ") for line in lines), lines


@pytest.mark.parametrize(
    ("devices", "error", "words"),
    [
        ([], ValueError, r"devices=\[\] names no device"),
        ("cuda:0", TypeError, "devices='cuda:0' is no list of devices"),
        (torch.device("cpu"), TypeError, "is no list of devices"),
        (2, TypeError, "devices=2 is no list of devices"),
        (["gpu"], ValueError, r"devices=\['gpu'\] can't be used, as device='gpu'"),
        (["cpu", "cuda:99"], ValueError, "device='cuda:99' can't be used"),
        ([None], ValueError, "device=None can't be used"),
    ],
)
def test_devices_that_there_are_not(devices, error, words):
    with pytest.raises(error, match=words):
        joblib.parallel_config("sktorch", devices=devices)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
@pytest.mark.parametrize("devices", [None, ["cuda:0", "cuda:1"]])
def test_a_search_uses_two_gpus(iris, seen, devices):
    expected = searched(iris, [], ["cuda:0"]).cv_results_["mean_test_score"]
    search = searched(iris, seen, devices)
    assert {device for _, device in seen[:-1]} >= {"cuda:0", "cuda:1"}
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], expected, atol=0.05)
