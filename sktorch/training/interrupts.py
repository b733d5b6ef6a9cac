"""Undo what has to be undone, whichever instruction Ctrl-C comes at.

KeyboardInterrupt is raised between any two instructions: after `__enter__` has changed something,
before the `with` block begins, or within a `finally`. So what must not stay is undone by functions
that call a function, rather than by context managers, and in a `finally` inside of a block that
undoes it again after any error: perhaps an interrupt that broke the first one off.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any, NamedTuple, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


class Setting(NamedTuple):
    """A setting of the thread or the process: how it is read, and how it is set."""

    read: Callable[[], Any]
    write: Callable[[Any], object]


def exclusively(lock: Any, function: Callable, *args: Any) -> Any:
    """Call a function while this thread holds an `RLock`, which it does not hold yet."""
    try:
        try:
            lock.acquire()
            return function(*args)
        finally:
            _release(lock)
    except BaseException:
        _release(lock)
        raise


def undone_on_failure(undo: Callable[[], object], function: Callable[[], Any]) -> Any:
    """Call a function; undo what it has done if it fails or is interrupted."""
    try:
        try:
            return function()
        except BaseException:
            undo()
            raise
    except BaseException:
        undo()
        raise


def leaves_as_found(*settings: Setting) -> Callable[[Function], Function]:
    """Return a decorator for functions after which settings are what they were before."""

    def decorate(function: Function) -> Function:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            found = [setting.read() for setting in settings]
            try:
                try:
                    return function(*args, **kwargs)
                finally:
                    _restore(settings, found)
            except BaseException:  # perhaps an interrupt that broke that off
                _restore(settings, found)
                raise

        return call  # type: ignore[return-value]

    return decorate


def _restore(settings: tuple[Setting, ...], found: list[Any]) -> None:
    if [setting.read() for setting in settings] != found:
        for setting, value in zip(settings, found, strict=True):
            setting.write(value)


def _release(lock: Any) -> None:
    with suppress(RuntimeError):  # An RLock that this thread does not hold, or no longer.
        lock.release()
