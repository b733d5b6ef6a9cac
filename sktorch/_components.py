"""Components as users give them: classes, functions or instances, and what is built of them."""

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

from torch import nn

from sktorch._state import deepcopied
from sktorch.data.source import Shape, n_inputs
from sktorch.losses.adapters import FunctionLoss, innermost

Parameters = Mapping[str, inspect.Parameter]

# Constructor parameters of a module that the data decide.
STATISTICS = ("input_mean", "input_scale")  # of the training rows, computed only if asked for
FILLED_IN = ("n_features", "n_outputs", "input_shape", "cardinalities", "dtype", *STATISTICS)


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
    return factory if adapter is None else partial(adapted, adapter, factory)


def adapted(adapter: Callable, factory: Callable, **parameters: Any) -> nn.Module:
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
    return _cached_parameters(function) if isinstance(function, type) else _parameters(function)


def _parameters(function: Callable) -> Parameters | None:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None


# Every fit asks for the parameters of the same few classes, and reading one signature takes as long
# as a training step of a small net. Other callables are not cached, as a partial may hold data.
_cached_parameters = lru_cache(maxsize=256)(_parameters)


def accepts(function: Callable, name: str) -> bool:
    """Say whether a callable has a parameter of this name."""
    return name in (parameters_of(function) or ())


def defaults_of(function: Callable) -> dict[str, Any]:
    """Return the parameters of a callable that have defaults, with these."""
    parameters = (parameters_of(function) or {}).items()
    return {name: p.default for name, p in parameters if not is_required(p)}


def is_required(parameter: inspect.Parameter) -> bool:
    """Say whether a parameter has no default."""
    return parameter.default is inspect.Parameter.empty


def forward_parameters(module: Any) -> list[inspect.Parameter] | None:
    """Return what the ``forward`` of a module class or instance takes; None for a function."""
    component = innermost(module)
    if isinstance(component, nn.Module):
        component = None if "forward" in vars(component) else type(component)
    if not isinstance(component, type) or not issubclass(component, nn.Module):
        return None
    forward = getattr(component, "forward", None)  # Traced modules have it by instance.
    parameters = None if forward is None else _cached_parameters(forward)
    return None if parameters is None else [*parameters.values()][1:]  # less self


def forward_arguments(module: Any) -> tuple[str, ...] | None:
    """Return the names of the arguments of ``forward``; None where it takes any, or isn't known."""
    parameters = forward_parameters(module)
    if parameters is None or any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
        return None
    return tuple(parameter.name for parameter in parameters)


def check_number_of_inputs(module: Any, shape: Shape) -> None:
    """Raise if ``forward`` can't be called with inputs of these names, or with so many."""
    is_dict = isinstance(shape, dict)
    if not (is_dict or n_inputs(shape) > 1):
        return
    parameters = forward_parameters(module)
    if parameters is None:
        return
    args, kwargs = ((), shape) if is_dict else (shape, {})
    try:
        signature = inspect.Signature(parameters)
        signature.bind_partial(*args, **kwargs)  # Names an input too many before one too few.
        signature.bind(*args, **kwargs)
    except TypeError as error:
        component = innermost(module)
        name = component.__name__ if isinstance(component, type) else type_name(component)
        raise ValueError(
            f"module {name} does not take a batch of {len(shape)} inputs "
            f"({', '.join(shape) if is_dict else shape}): {error}. Its forward takes "
            f"({', '.join(p.name for p in parameters)}). Pass just these, or choose a module that "
            "takes several inputs. Where samples of a dataset hold their targets, leave y out: "
            "with y, every part is an input."
        ) from error


def check_constructor(module: Callable, given: dict[str, Any]) -> None:
    """Raise if the module's constructor needs parameters that neither data nor user give."""
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    missing = [
        name
        for name, parameter in (parameters_of(module) or {}).items()
        if is_required(parameter) and parameter.kind not in variadic and name not in given
    ]
    if missing:
        raise TypeError(
            f"module {getattr(module, '__name__', module)} needs {', '.join(missing)}. Pass "
            f"{', '.join(f'module__{name}=...' for name in missing)}. Only parameters named "
            f"{', '.join(FILLED_IN)} are filled in from the data."
        )


def type_name(value: object) -> str:
    """Return the name of a value's class, for messages."""
    return type(value).__name__
