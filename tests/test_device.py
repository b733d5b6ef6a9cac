"""The device that a fit trains on."""

import multiprocessing

import pytest
import torch
from joblib import Parallel, delayed

from sktorch._device import on_device, training_device, worker_number

ONE, OTHER = torch.device("cpu", 0), torch.device("cpu", 1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("MainProcess", None),
        ("SpawnProcess-1", None),
        ("LokyProcess-1", 1),
        ("LokyProcess-12", 12),
        ("LokyProcess-2:3", 3),
        ("ForkPoolWorker-4", 4),
        ("SpawnPoolWorker-2", 2),
    ],
)
def test_a_worker_process_has_a_number(name, expected):
    assert worker_number(name) == expected


def name_of_process():
    return multiprocessing.current_process().name


@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_joblib_names_its_processes_so(backend):
    names = Parallel(n_jobs=2, backend=backend)(delayed(name_of_process)() for _ in range(4))
    assert all(worker_number(name) is not None for name in names), names


def test_a_task_decides_where_no_device_is_named():
    assert on_device(OTHER, lambda: training_device("auto")) == OTHER
    assert on_device(OTHER, lambda: training_device("cpu")) == torch.device("cpu")
    assert on_device(OTHER, lambda: training_device("cpu:0")) == ONE
    assert on_device(OTHER, lambda: on_device(ONE, lambda: training_device("auto"))) == ONE
    assert training_device("auto").index is None


def test_a_task_that_fails_leaves_its_device():
    with pytest.raises(ZeroDivisionError):
        on_device(OTHER, lambda: 1 / 0)
    assert training_device("auto") != OTHER


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_a_gpu_without_a_number_is_that_of_the_task():
    second = torch.device("cuda", 1)
    assert on_device(second, lambda: training_device("cuda")) == second
    assert on_device(second, lambda: training_device("cuda:0")) == torch.device("cuda", 0)
