"""The arguments that a loss of a user's own asks for by name."""

import inspect
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from torch import nn

# Beside output and target: the inputs of the batch, and the module that is trained.
CONTEXT = ("X", "module")


class Arguments(NamedTuple):
    """What a loss takes beside the output: a target or none, and entries of `CONTEXT`."""

    has_target: bool = True
    context: tuple[str, ...] = ()


def arguments_of(loss: Any, given: Iterable[str] = ()) -> Arguments:
    """Return the arguments of a class, module or function; ``given`` are those set before."""
    if isinstance(loss, type):
        return _of_class(loss)
    if isinstance(loss, nn.Module):
        loss_class: Any = type(loss)
        replaced = vars(loss).get("forward")
        return _of_class(loss_class) if replaced is None else _of_function(replaced, 1)
    return _of_function(loss, 1, frozenset(given))


# Every epoch asks for those of its criterion. Functions are read anew, as a partial may hold data.
@lru_cache(maxsize=256)
def _of_class(loss_class: Any) -> Arguments:
    forward = getattr(loss_class, "forward", None)
    if forward is None or loss_class.__module__.startswith("torch.nn."):
        return Arguments()
    return _of_function(forward, 2)


def _of_function(function: Callable, first: int, given: frozenset[str] = frozenset()) -> Arguments:
    """Return what a function takes after its ``first`` arguments."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # Python can't tell them.
        return Arguments()
    beside = [p for p in [*parameters][first:] if p.name not in given]
    may_be_target = [p for p in beside if p.kind not in (p.KEYWORD_ONLY, p.VAR_KEYWORD)]
    return Arguments(
        has_target=any(p.name not in CONTEXT for p in may_be_target)
        or any(p.kind is p.VAR_POSITIONAL for p in parameters),
        context=tuple(p.name for p in beside if p.name in CONTEXT),
    )
