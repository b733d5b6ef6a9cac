"""Components as users give them: classes, functions or instances, built and tried."""

import copy
import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

import torch
from torch import nn

from sktorch.data.structure import Outputs, tree_leaves, tree_map
from sktorch.data.tensors import as_tensors, is_integer
from sktorch.losses.adapters import FunctionLoss, innermost
from sktorch.training.cost import Work, measure_work

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
        return partial(copy.deepcopy, component)
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


@torch.no_grad()
def try_module(module: nn.Module, example: Any) -> tuple[torch.dtype, Outputs, Work]:
    """Return the input dtype, output and cost of a module, called on a few rows in eval mode."""
    tensors = [*module.parameters(), *module.buffers()]
    dtype = next((t.dtype for t in tensors if t.is_floating_point()), torch.get_default_dtype())
    device = tensors[0].device if tensors else torch.device("cpu")
    was_training = module.training
    module.eval()
    try:
        output, work = measure_work(module, as_tensors(example, dtype, device, copy=True))
    except (RuntimeError, TypeError, IndexError) as error:
        # Integers stay integers only where the module takes nothing else: an embedding.
        if isinstance(example, dict | tuple) or not is_integer(example):
            raise _unfit(module, example, error) from error
        dtype = torch.int64
        try:
            output, work = measure_work(module, as_tensors(example, dtype, device))
        except RuntimeError:
            raise _unfit(module, example, error) from error
    module.train(was_training)
    if not all(isinstance(part, torch.Tensor) for part in tree_leaves(output)):
        raise TypeError(
            f"module {type_name(module)} returned {type_name(output)}; expected one tensor "
            "of logits, of shape (n_rows, n_outputs), or a tuple or dict of tensors where the "
            "criterion has a method predict(output). Return just that from its forward."
        )
    return dtype, tree_map(torch.Tensor.cpu, output), work


def _unfit(module: nn.Module, example: Any, error: Exception) -> ValueError:
    return ValueError(
        f"module {type_name(module)} does not take a batch of shape "
        f"{tree_map(lambda x: tuple(x.shape), example)}: {error}. "
        "Give X another shape or change the module; a constructor parameter named n_features or "
        "input_shape is filled in from X."
    )


def type_name(value: object) -> str:
    """Return the name of a value's class, for messages."""
    return type(value).__name__
