"""Engines that call functions on workers: loky, Dask and Ray, each behind four methods.

They start processes or find a cluster, move data, hand out work as workers become free, and begin
again what a worker has left that died. Nothing of that is done here.
"""

import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import joblib

# joblib takes any processes of its copy of loky for those that this function has started.
from joblib.executor import get_memmapping_executor

from sktorch.workers.mapped_file import read, write

# So many times work is begun whose worker dies, as when it takes too much memory.
MAX_TRIES = 3
SECONDS_FOR_A_WORKER = 120  # in which Dask has started one, or one again that died
IDLE_SECONDS = 300  # for which a process of loky waits for work before it ends; joblib's default


class Engine(Protocol):
    """Calls functions of shared objects and further arguments on its workers."""

    n_workers: int
    n_threads: int  # that a worker may compute with

    def share(self, values: tuple[Any, ...]) -> None:
        """Send the objects that the calls share, from where each worker takes them once."""

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return what a function of the shared objects and further arguments returns."""

    def stop(self) -> None:
        """End the calls that are under way, as far as the engine can."""

    def forget(self) -> None:
        """Forget what was shared."""


class Loky:
    """Processes of this machine, which joblib starts."""

    def __init__(self, n_workers: int | None = None) -> None:
        self.n_workers = n_workers or joblib.cpu_count()
        self.n_threads = max(joblib.cpu_count() // self.n_workers, 1)
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._is_stopped, self._lock = False, threading.Lock()

    def share(self, values: tuple[Any, ...]) -> None:
        """Write objects to a file, whose arrays the processes map."""
        self._is_stopped = False
        self._folder = tempfile.TemporaryDirectory(prefix="sktorch-", ignore_cleanup_errors=True)
        write(self._path(), values)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function in a process, and again in another one if that process dies."""
        work = partial(_call_with_file, function, self._path(), *arguments)
        for n_tries_left in reversed(range(MAX_TRIES)):
            try:
                return self._begun(work).result()
            except BrokenExecutor:  # If one process dies, loky gives up the others, too.
                if self._is_stopped or not n_tries_left:
                    raise

    def _begun(self, work: Callable[[], Any]) -> Any:
        """Return the future of work; begin none once it is stopped, as nothing would end that."""
        with self._lock:
            if self._is_stopped:
                raise CancelledError
            return self._processes().submit(work)

    def _path(self) -> Path:
        assert self._folder is not None
        return Path(self._folder.name) / "shared"

    def _processes(self) -> Any:
        """Return joblib's processes, which outlive a call for some minutes, or new ones."""
        environment = {"OMP_NUM_THREADS": str(self.n_threads)}
        return get_memmapping_executor(
            self.n_workers, timeout=IDLE_SECONDS, env=environment, max_nbytes=None
        )

    def stop(self) -> None:
        """Kill the processes."""
        with self._lock:
            self._is_stopped = True
            self._processes().shutdown(kill_workers=True)

    def forget(self) -> None:
        """Delete the file."""
        folder, self._folder = self._folder, None
        if folder is not None:
            folder.cleanup()


def _call_with_file(function: Callable[..., Any], path: Path, *arguments: Any) -> Any:
    return function(read(path), *arguments)


class Dask:
    """The workers of the Dask client that is there."""

    n_threads = 1  # One of a worker's threads makes one call.

    def __init__(self, n_workers: int | None = None) -> None:
        self._distributed = _imported("distributed", "dask")
        try:
            self._client = self._distributed.get_client()
        except ValueError as error:
            raise ValueError(
                "over='dask' needs a Dask client. Start one first, for example: "
                "client = distributed.Client(n_workers=2, threads_per_worker=1)"
            ) from error
        self.n_workers = n_workers or sum(self._client.ncores().values())
        self._futures: list[Any] = []
        self._stop = self._distributed.Event(client=self._client)  # of the call that is under way

    def share(self, values: tuple[Any, ...]) -> None:
        """Send the objects to every worker, so that they outlive a worker that dies."""
        self._stop, self._values = self._distributed.Event(client=self._client), values
        self._scattered = self._scatter()

    def _scatter(self) -> Any:
        self._client.wait_for_workers(1, timeout=SECONDS_FOR_A_WORKER)
        (future,) = self._client.scatter([self._values], broadcast=True, hash=False)
        return future

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function on a worker; the scheduler does so again if that dies."""
        for n_tries_left in reversed(range(MAX_TRIES)):
            future = self._client.submit(
                _call_until, self._stop.name, function, self._scattered, *arguments, pure=False
            )
            self._futures.append(future)
            try:
                return future.result()
            except CancelledError:  # The last worker that had the objects has died.
                if self._stop.is_set() or not n_tries_left:
                    raise
                self._scattered = self._scatter()
            finally:
                self._futures.remove(future)

    def stop(self) -> None:
        """Cancel the calls, and tell the workers, which Dask does not kill."""
        self._stop.set()
        self._client.cancel([*self._futures])

    def forget(self) -> None:
        """Let Dask forget the objects."""
        self._scattered, self._values = None, ()


def _call_until(event: str, function: Callable[..., Any], *arguments: Any) -> Any:
    distributed = _imported("distributed", "dask")
    # Another thread will ask, which has no client of its own.
    stop = distributed.Event(event, client=distributed.get_client())
    return function(*arguments, is_stopped=stop.is_set)


class Ray:
    """The workers of the Ray cluster that is there, or of one that Ray starts on this machine."""

    n_threads = 1  # Ray gives a call one core.

    def __init__(self, n_workers: int | None = None) -> None:
        self._ray = _imported("ray", "ray")
        if not self._ray.is_initialized():
            self._ray.init()
        self.n_workers = n_workers or int(self._ray.cluster_resources()["CPU"])
        self._references: list[Any] = []

    def share(self, values: tuple[Any, ...]) -> None:
        """Put the objects in Ray's store, of which each machine gets a copy."""
        self._shared = self._ray.put(values)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function on a worker; Ray does so again if that dies."""
        remote = self._ray.remote(max_retries=MAX_TRIES - 1)(function)
        reference = remote.remote(self._shared, *arguments)
        self._references.append(reference)
        try:
            return self._ray.get(reference)
        finally:
            self._references.remove(reference)

    def stop(self) -> None:
        """Kill the workers that are at it."""
        for reference in [*self._references]:
            self._ray.cancel(reference, force=True)

    def forget(self) -> None:
        """Let Ray forget the objects."""
        self._shared = None


def _imported(name: str, extra: str) -> Any:
    """Import a package, or say which extra brings it."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(
            f"over={extra!r} needs {name}: pip install 'sktorch[{extra}]', or set over='loky'."
        ) from error


ENGINES: dict[str, Callable[[int | None], Engine]] = {"loky": Loky, "dask": Dask, "ray": Ray}
