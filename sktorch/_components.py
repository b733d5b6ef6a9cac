"""Components as users give them: classes, functions or instances, built and tried."""

import copy
import inspect
from functools import lru_cache, partial
from typing import Any

import torch
from torch import nn

from sktorch.data.structure import tree_map
from sktorch.data.tensors import as_tensors, is_integer
from sktorch.losses.adapters import FunctionLoss, innermost
from sktorch.training.cost import Work, measure_work


def module_factory(module, parameters):
    """What skorch calls to build the module: a class or function, or a copy of an instance.

    Raises
    ------
    TypeError
        If ``module`` can't be called and is no module.
    ValueError
        If parameters are given for an instance, which has its own.
    """
    return _factory("module", module, parameters)


def criterion_factory(criterion, parameters, adapter=None):
    """As `module_factory`; a function of ``(output, target)`` becomes a loss module.

    ``adapter``, if there is one, is called with the loss and returns the one to train with.
    """
    if isinstance(innermost(criterion), type) or isinstance(criterion, nn.Module):
        factory = _factory("criterion", criterion, parameters)
    else:
        factory = partial(FunctionLoss, criterion)
    return factory if adapter is None else partial(_adapted, adapter, factory)


def _adapted(adapter, factory, **parameters):
    return adapter(factory(**parameters))


def _factory(name, component, parameters):
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


def parameters_of(function):
    """A callable's parameters by name; None where they can't be told."""
    return _parameters_of_class(function) if isinstance(function, type) else _parameters(function)


def _parameters(function):
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None


# Every fit asks for those of the same few classes, and to look at one takes as long as a small
# net's step. Only classes: a partial function may hold data, which would be kept.
_parameters_of_class = lru_cache(maxsize=256)(_parameters)


def takes(function, name):
    """Whether a callable has a parameter of this name."""
    return name in (parameters_of(function) or ())


def is_required(parameter):
    """Whether a parameter has no default."""
    return parameter.default is inspect.Parameter.empty


@torch.no_grad()
def try_module(module: nn.Module, example: Any) -> tuple[torch.dtype, torch.Tensor, Work]:
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
    if not isinstance(output, torch.Tensor):
        raise TypeError(
            f"module {type_name(module)} returned {type_name(output)}; expected one tensor "
            "of logits, of shape (n_rows, n_outputs). Return just that from its forward."
        )
    return dtype, output.cpu(), work


def _unfit(module: nn.Module, example: Any, error: Exception) -> ValueError:
    return ValueError(
        f"module {type_name(module)} does not take a batch of shape "
        f"{tree_map(lambda x: tuple(x.shape), example)}: {error}. "
        "Give X another shape or change the module; a constructor parameter named n_features or "
        "input_shape is filled in from X."
    )


def type_name(value):
    """The name of a value's class, for messages."""
    return type(value).__name__
