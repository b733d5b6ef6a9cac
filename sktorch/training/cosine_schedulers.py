"""Learning-rate schedulers of tabular recipes, written as torch's own are."""

import math
from numbers import Real

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


class FlatCosineLR(LambdaLR):
    """A scheduler that keeps the learning rate, then lets it fall to zero along half a cosine.

    After a share t of the training it is ``lr * (1 + cos(pi * max(0, (t - f) / (1 - f)))) / 2``,
    with the fraction f that is flat: half of the training for the dropout and weight decay of
    RealMLP (Holzmüller, Grinsztajn and Steinwart, "Better by Default", 2024, appendix A).
    """

    def __init__(
        self,
        optimizer: Optimizer,
        total_iters: int,
        flat_fraction: float = 0.5,
        last_epoch: int = -1,
    ) -> None:
        if not (isinstance(flat_fraction, Real) and 0 <= flat_fraction < 1):
            raise ValueError(
                f"flat_fraction={flat_fraction!r} must be a number from 0 to less than 1, the "
                "share of the training before the learning rate falls. Change it."
            )
        super().__init__(optimizer, _FlatCosine(_checked(total_iters), flat_fraction), last_epoch)


class CosineLogLR(LambdaLR):
    """A scheduler whose learning rate rises and falls several times, each as long as all before.

    After a share t of the training it is ``lr * (1 - cos(2 * pi * log2(1 + (2**n - 1) * t))) / 2``
    for n cycles: "coslog4" of RealMLP (Holzmüller, Grinsztajn and Steinwart, "Better by Default",
    2024, section 3). It is zero before the first step. An ``offset`` of half a step takes t in the
    middle of each step, for steps as long as an epoch, of which the first would train nothing.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        total_iters: int,
        n_cycles: float = 4,
        offset: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        if not (isinstance(n_cycles, Real) and 0 < n_cycles < math.inf):
            raise ValueError(f"n_cycles={n_cycles!r} must be a positive number. Change it.")
        factor = _CosineLog(_checked(total_iters), n_cycles, offset)
        super().__init__(optimizer, factor, last_epoch)


def flat_cosine(done: float, flat_fraction: float) -> float:
    """Return the factor of the learning rate after a share of the training."""
    falling = max(0.0, (done - flat_fraction) / (1 - flat_fraction))
    return 0.5 * (1 + math.cos(math.pi * falling))


class _FlatCosine:
    """A function of the number of steps done; an object, which is pickled as a lambda is not."""

    def __init__(self, n_steps: int, flat_fraction: float) -> None:
        self.n_steps, self.flat_fraction = n_steps, flat_fraction

    def __call__(self, step: int) -> float:
        return flat_cosine(min(step / self.n_steps, 1), self.flat_fraction)


class _CosineLog:
    """A function of the number of steps done."""

    def __init__(self, n_steps: int, n_cycles: float, offset: float) -> None:
        self.n_steps, self.n_cycles, self.offset = n_steps, n_cycles, offset

    def __call__(self, step: int) -> float:
        done = min((step + self.offset) / self.n_steps, 1)
        cycles = math.log2(1 + (2**self.n_cycles - 1) * done)
        return 0.5 * (1 - math.cos(2 * math.pi * cycles))


def _checked(total_iters: int) -> int:
    """Raise if a number of steps is none."""
    if not (isinstance(total_iters, Real) and total_iters > 0):
        raise ValueError(f"total_iters={total_iters!r} must be a positive number of steps.")
    return total_iters
