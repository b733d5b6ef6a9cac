"""Train several epochs at once, while nobody looks at the net between them."""

from collections import deque
from collections.abc import Callable, Iterable

from torch import nn

from sktorch.data.batches import Batches
from sktorch.data.structure import Batch
from sktorch.training.runner import Evaluated, Observer, Runner, RunnerAround, Trained, Trainee
from sktorch.training.step import demands_closure

# So much is done in some tens of milliseconds: nobody waits for an epoch to end. They are numbers,
# rather than a measured time, so that models meet alike in every run.
MAX_MULTIPLY_ADDS, MAX_STEPS, MAX_LAYER_CALLS = 2**30, 500, 3000


class AheadRunner(RunnerAround):
    """A runner that trains epochs ahead, and tells of them one by one as it is asked.

    Set `n_epochs` to how many epochs will follow, this one included, before anybody looks at the
    net. For small nets and data, what surrounds an epoch takes as long as its steps.
    """

    def __init__(self, runner: Runner) -> None:
        super().__init__(runner)
        self.n_epochs = 1
        self._trained: deque[Trained] = deque()

    def train(
        self,
        net: Trainee,
        batches: Iterable[Batch],
        observer: Observer | None = None,
        after_step: Callable[[], object] | None = None,
    ) -> Trained:
        """Fit the net to every batch once."""
        if not self._trained:
            n_epochs = 1
            if isinstance(batches, Batches):
                n_epochs = min(self.n_epochs, _max_epochs(net, batches))
                batches = batches.repeated(n_epochs) if n_epochs > 1 else batches
            losses, sizes = self._runner.train(net, batches, observer, after_step)
            n_batches = len(losses) // n_epochs
            for number in range(n_epochs):
                epoch = slice(number * n_batches, (number + 1) * n_batches)
                self._trained.append((losses[epoch], sizes[epoch]))
        return self._trained.popleft()

    def evaluate(
        self, net: Trainee, batches: Iterable[Batch], observer: Observer | None = None
    ) -> Evaluated:
        """Evaluate the net on every batch."""
        return self._runner.evaluate(net, batches, observer)


def _max_epochs(net: Trainee, batches: Batches) -> int:
    """Return how many epochs take no longer than a moment."""
    layers, n_batches = [*net.module_.modules()], max(len(batches), 1)
    if demands_closure(type(net.optimizer_)) or any(isinstance(x, nn.RNNBase) for x in layers):
        return 1  # A step calls the module many times, or a layer itself.
    work = max(net.work_.multiply_adds * len(batches.index), 1)
    limits = (
        MAX_MULTIPLY_ADDS / work,
        MAX_STEPS / n_batches,
        MAX_LAYER_CALLS / (n_batches * len(layers)),
    )
    return max(int(min(limits)), 1)
