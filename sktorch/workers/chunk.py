"""What a worker does: it runs the tasks of a chunk side by side, as one program."""

import pickle
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import joblib

from sktorch.fused.backend import two_at_least
from sktorch.fused.belongings import Package
from sktorch.fused.host_memory import give_back_memory
from sktorch.fused.rendezvous import TaskHandle, current_task
from sktorch.workers.chunks import Call
from sktorch.workers.pickling import dumps
from sktorch.workers.shared import fill_in

# Whether a task succeeded, and what its calls returned or the error of one.
Outcome = tuple[bool, Any]
STOP_INTERVAL = 1.0  # seconds between two questions whether to stop


def run_chunk(
    shared: Sequence[Any],
    chunk: list[tuple[list[Call], Package | None]],
    n_jobs: int | None,
    n_threads: int,
    is_stopped: Callable[[], bool] | None = None,
) -> list[tuple[Outcome, Package | None]]:
    """Run the tasks of a chunk under the backend "sktorch"; return the outcomes and belongings.

    Tasks end with `sktorch.fused.rendezvous.Cancelled` once they are stopped: an engine that can't
    kill its workers says so.
    """
    handles: list[TaskHandle] = []

    def run(task: list[Call], package: Package | None) -> tuple[Outcome, Package | None]:
        handle = current_task()
        assert handle is not None  # A task of the backend has one.
        handles.append(handle)
        with nullcontext() if package is None else package.opened():
            outcome = _outcome([fill_in(call, shared) for call in task])
        return outcome, package

    backend = joblib.parallel_config("sktorch", inner_max_num_threads=n_threads)
    with backend, _cancelling(handles, is_stopped):
        parallel = joblib.Parallel(n_jobs=two_at_least(n_jobs), pre_dispatch="all")
        returned = parallel(joblib.delayed(run)(*task) for task in chunk)
    give_back_memory()  # loky ends processes that grow, and a new one takes seconds.
    return returned


@contextmanager
def _cancelling(handles: list[TaskHandle], is_stopped: Callable[[], bool] | None) -> Iterator[None]:
    """Cancel tasks as soon as they are stopped."""
    if is_stopped is None:
        yield
        return
    has_ended = threading.Event()

    def watch() -> None:
        while not has_ended.wait(STOP_INTERVAL):
            if is_stopped():
                for handle in [*handles]:
                    handle.cancel()

    watcher = threading.Thread(target=watch, name="sktorch watcher")
    watcher.start()
    try:
        yield
    finally:
        has_ended.set()
        watcher.join()


def _outcome(calls: list[Call]) -> Outcome:
    try:
        return True, [function(*arguments, **keywords) for function, arguments, keywords in calls]
    except Exception as error:  # It is raised where the task was submitted.
        return False, _portable(error)


def _portable(error: Exception) -> Exception:
    """Return an error that can be sent, with its traceback as a note, which would be lost."""
    note = f"Raised in a worker:\n{''.join(traceback.format_exception(error))}"
    error.add_note(note)
    try:
        pickle.loads(dumps(error))
    except Exception:  # of whatever the class does when it is made again
        error = RuntimeError(f"{type(error).__name__}: {error}")
        error.add_note(note)
    return error
