"""Programs of training steps, kept for all fits of the process."""

from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache

from sktorch.recording.record import Recording
from sktorch.recording.torchscript import forget_compiled

# A program of a small net takes some tens of kilobytes.
MAX_PROGRAMS = 64


@dataclass(eq=False)
class Program:
    """What is known about steps of one kind: a recording of them, or why there is none."""

    recording: Recording | None = None
    borrowed: Recording | None = None  # of batches of another length, to be tried
    used: list[bool] | None = None  # whether the loss depends on each parameter
    reason: str | None = None  # why these steps are never replayed
    is_faster: bool = False  # than an eager step, measured
    n_steps: int = 0  # made without a recording, in all fits
    seconds: float = float("inf")  # the time of one of them, the shortest


@lru_cache(MAX_PROGRAMS)
def program_of(kind: Hashable) -> Program:
    """Return the program of a kind of steps, the same one in every fit; at first it is empty.

    Programs that were not asked for lately are forgotten.
    """
    return Program()


def forget_programs() -> None:
    """Let all fits to come record anew, as in a new process."""
    program_of.cache_clear()
    forget_compiled()
