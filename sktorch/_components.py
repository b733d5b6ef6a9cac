"""Components as users give them: classes, functions or instances, and what is built of them."""

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

from torch import nn

from sktorch._state import deepcopied
from sktorch.losses.adapters import FunctionLoss, innermost

Parameters = Mapping[str, inspect.Parameter]


def module_factory(module: Any, parameters: dict[str, Any]) -> Callable[..., nn.Module]:
    """Return the class or function that skorch builds the module with; an instance is copied."""
    return _factory("module", module, parameters)


def criterion_factory(
    criterion: Any, parameters: dict[str, Any], adapter: Callable | None = None
) -> Callable[..., nn.Module]:
    """Return the class or function that skorch builds the loss with; ``adapter`` wraps the loss."""
    if isinstance(innermost(criterion), type) or isinstance(criterion, nn.Module):
        factory = _factory("criterion", criterion, parameters)
    else:  # a function of two tensors
        factory = partial(FunctionLoss, criterion)
    return factory if adapter is None else partial(_adapted, adapter, factory)


def _adapted(adapter: Callable, factory: Callable, **parameters: Any) -> nn.Module:
    return adapter(factory(**parameters))


def _factory(name: str, component: Any, parameters: dict[str, Any]) -> Callable[..., nn.Module]:
    if isinstance(component, nn.Module):
        if parameters:
            raise ValueError(
                f"{', '.join(f'{name}__{key}' for key in parameters)} given, but {name} is an "
                f"instance of {type_name(component)} and has its parameters. Pass the class "
                "instead."
            )
        return partial(deepcopied, component)
    if not callable(component):
        raise TypeError(
            f"{name} must be an nn.Module subclass, an instance, or a function that returns one, "
            f"got {component!r}."
        )
    return component


def parameters_of(function: Callable) -> Parameters | None:
    """Return a callable's parameters by name; None where Python can't tell them."""
    return _parameters_of_class(function) if isinstance(function, type) else _parameters(function)


def _parameters(function: Callable) -> Parameters | None:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None


# Every fit asks for the parameters of the same few classes, and reading one signature takes as long
# as a training step of a small net. Other callables are not cached, as a partial may hold data.
_parameters_of_class = lru_cache(maxsize=256)(_parameters)


def accepts(function: Callable, name: str) -> bool:
    """Say whether a callable has a parameter of this name."""
    return name in (parameters_of(function) or ())


def is_required(parameter: inspect.Parameter) -> bool:
    """Say whether a parameter has no default."""
    return parameter.default is inspect.Parameter.empty


def type_name(value: object) -> str:
    """Return the name of a value's class, for messages."""
    return type(value).__name__
