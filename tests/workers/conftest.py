"""Local clusters of two processes; without one where the package has no wheel for this Python."""

import pytest

N_WORKERS = 2


@pytest.fixture(scope="session")
def dask_client():
    distributed = pytest.importorskip("distributed")
    client = distributed.Client(
        n_workers=N_WORKERS, threads_per_worker=1, dashboard_address=":0", silence_logs=50
    )
    yield client
    client.close()
    client.cluster.close()


@pytest.fixture(scope="session")
def ray_cluster():
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=N_WORKERS, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()


@pytest.fixture(params=["loky", "dask", "ray"])
def over(request):
    """The name of an engine whose workers are there."""
    fixtures = {"dask": "dask_client", "ray": "ray_cluster"}
    if request.param in fixtures:
        request.getfixturevalue(fixtures[request.param])
    return request.param
