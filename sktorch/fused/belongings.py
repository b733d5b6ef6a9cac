"""What tasks find in the process that submits them, and leave there, though they run in another."""

from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, Protocol


class Package(Protocol):
    """The belongings of one task, which can be pickled."""

    def opened(self) -> AbstractContextManager[None]:
        """Return a context in which this thread's task finds them, and leaves what it makes."""
        ...


class Belongings(Protocol):
    """What the tasks of a call find and leave, by their numbers."""

    def pack(self, number: int) -> Package:
        """Return what belongs to a task."""
        ...

    def unpack(self, number: int, package: Any) -> None:
        """Take back what a task has left."""


# Of the calls that are made here; tasks of this process need no packing.
belongings: ContextVar[Belongings | None] = ContextVar("belongings", default=None)
