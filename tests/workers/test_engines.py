"""Engines call functions on workers, with objects that are sent once."""

import os
import sys
from concurrent.futures import CancelledError

import joblib
import numpy as np
import pytest

from sktorch.workers.engines import ENGINES, Dask, Loky
from tests.workers.conftest import N_WORKERS


def places_of(values, *arguments, is_stopped=None):
    return os.getpid(), [value.sum() for value in values], arguments


def test_a_function_is_called_with_what_is_shared(over):
    engine = ENGINES[over](N_WORKERS)
    engine.share((np.arange(3.0), np.ones(2)))
    process, sums, arguments = engine.call(places_of, "a", 2)
    assert process != os.getpid()
    assert sums == [3.0, 2.0]
    assert arguments == ("a", 2)
    engine.forget()
    engine.share((np.ones(4),))
    assert engine.call(places_of)[1] == [4.0]
    engine.forget()


def test_number_of_workers_is_that_of_the_cluster(dask_client, ray_cluster):
    assert Dask().n_workers == ENGINES["ray"](None).n_workers == N_WORKERS
    assert Loky(1).n_threads >= Loky().n_threads == 1


@pytest.mark.parametrize(("name", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_a_package_that_is_not_installed_is_named_with_its_extra(name, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"over='{name}' needs {package}: .*sktorch\[{name}\]"):
        ENGINES[name](None)


def test_dask_needs_a_client(monkeypatch):
    distributed = pytest.importorskip("distributed")

    def no_client():
        raise ValueError("No global client found")

    monkeypatch.setattr(distributed, "get_client", no_client)
    with pytest.raises(ValueError, match=r"needs a Dask client.*distributed.Client\(n_workers=2"):
        Dask()


def test_joblib_s_own_processes_work_before_and_afterwards():
    for _ in range(2):
        engine = Loky(N_WORKERS)
        engine.share(())
        assert engine.call(places_of, 1)[2] == (1,)
        engine.forget()
        assert joblib.Parallel(n_jobs=2)(joblib.delayed(abs)(-n) for n in range(3)) == [0, 1, 2]


def test_work_does_not_begin_once_it_is_stopped():
    engine = Loky(N_WORKERS)
    engine.share(())
    engine.stop()
    with pytest.raises(CancelledError):
        engine.call(places_of)
    engine.forget()


def test_a_call_that_shares_nothing_yet_is_stopped(over):
    engine = ENGINES[over](N_WORKERS)
    engine.stop()
    engine.forget()
    engine.share((np.ones(4),))
    assert engine.call(places_of)[1] == [4.0]
    engine.forget()
