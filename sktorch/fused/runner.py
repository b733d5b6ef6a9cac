"""The engine for many: an epoch goes along with those of other tasks, wherever it can."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext

from sktorch.data.batches import Batches
from sktorch.data.structure import Batch, concatenated
from sktorch.fused.epoch import EpochTask
from sktorch.fused.model import Model
from sktorch.fused.pruner import is_contested
from sktorch.fused.rendezvous import TaskHandle, current_task, detached
from sktorch.fused.sharing import SharedData
from sktorch.training.engine import Engine
from sktorch.training.randomness import draws_by_stream
from sktorch.training.runner import Evaluated, Observer, Runner, SeededRunner, Trained, Trainee

# Many models fetch rows at once. With a quarter of this, what surrounds a block takes a tenth of
# the time of its steps; with twice as much, blocks leave the caches before they are used.
BLOCK_BYTES_TOGETHER = 2**19


def choose_runner(engine: Engine, *, user_code: bool = True) -> Runner:
    """Return the engine for many inside a task of a search, or else the engine for one."""
    task, alone = current_task(), SeededRunner(engine, user_code=user_code)
    return alone if task is None else FusedRunner(engine, alone, task)


class FusedRunner:
    """The runner of one task among many; what can't go along runs alone."""

    def __init__(self, engine: Engine, alone: Runner, task: TaskHandle) -> None:
        self._engine, self._alone, self._task = engine, alone, task
        self._model: Model | None = None
        self._data: dict[int, SharedData] = {}

    @property
    def eager_reason(self) -> str | None:
        """The engine's reason why steps are not replayed from a CUDA graph."""
        return self._engine.eager_reason

    @property
    def n_threads(self) -> int:
        """The share of a task in the threads that compute."""
        return self._task.rendezvous.threads_per_task

    def train(
        self,
        net: Trainee,
        batches: Iterable[Batch],
        observer: Observer | None = None,
        after_step: Callable[[], object] | None = None,
    ) -> Trained:
        """Fit a net to every batch once."""
        if type(batches) is Batches and self._can_run_together(batches, observer):
            epoch = self._run(net, batches, training=True, after_step=after_step)
            return epoch.losses, epoch.sizes
        with _apart():
            return self._alone.train(net, batches, observer, after_step)

    def evaluate(
        self, net: Trainee, batches: Iterable[Batch], observer: Observer | None = None
    ) -> Evaluated:
        """Evaluate a net on every batch."""
        if type(batches) is Batches and self._can_run_together(batches, observer):
            epoch = self._run(net, batches, training=False)
            return epoch.losses, epoch.sizes, concatenated(epoch.outputs)
        with _apart():
            return self._alone.evaluate(net, batches, observer)

    def _can_run_together(self, batches: Batches, observer: Observer | None) -> bool:
        """Say whether an epoch is one step of the module itself for each batch, and unobserved."""
        settings = self._engine.settings
        return (
            observer is None
            and settings.gradient_accumulation == 1
            and not settings.is_compiled
            and len(batches) > 0
            # A fit inside a fit (of a callback) would wait for others, which wait to draw random
            # numbers until the outer fit lets them.
            and not draws_by_stream()
        )

    def _run(
        self,
        net: Trainee,
        batches: Batches,
        *,
        training: bool,
        after_step: Callable[[], object] | None = None,
    ) -> EpochTask:
        """Wait until the epoch is over, in which the other tasks take part."""
        if self._model is None or self._model.net is not net:
            self._model = Model(net, self._engine)
        drawn = net.stream_.run_in_torch(batches.epoch, BLOCK_BYTES_TOGETHER)
        epoch = EpochTask(
            self._model,
            drawn,
            training,
            after_step,
            cancelled=self._task.is_cancelled,
            order=self._task.order,
        )
        if batches.rows.is_whole:
            epoch.data_key = self._shared(batches).key(drawn.seed)
        self._task.rendezvous.run(epoch)
        return epoch

    def _shared(self, batches: Batches) -> SharedData:
        """Return the digests of batches; on a device equal data of all tasks are kept once."""
        key = id(batches.index)  # The data keep it; batches of several epochs share it.
        if key not in self._data:
            self._data[key] = SharedData(batches)
            if self._engine.device.type != "cpu":
                self._data[key].share(self._task.rendezvous.tensors)
        return self._data[key]


def _apart() -> AbstractContextManager:
    """Let other tasks not wait for this one, unless the search compares them with it."""
    return nullcontext() if is_contested() else detached()
