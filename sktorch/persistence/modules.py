"""Modules of torch as objects: what a new module would have anyway is left out."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils import parametrize

from sktorch._private.torch import renew_lazy_hooks, without_hook_of_weight_norm, without_lazy_hooks
from sktorch.persistence.nodes import NotPlain
from sktorch.persistence.objects import Adapter, Reduced, fill


def parametrized(layer_class: type[nn.Module], names: list[str]) -> nn.Module:
    """Return a layer with placeholders for parametrizations, which its attributes replace."""
    layer = layer_class.__new__(layer_class)
    nn.Module.__init__(layer)
    for name in names:
        layer.register_parameter(name, nn.Parameter(torch.zeros(1)))
        parametrize.register_parametrization(layer, name, nn.Identity(), unsafe=True)
    return layer


def _reduce(module: nn.Module) -> Reduced:
    if isinstance(module, torch.jit.ScriptModule):
        raise NotPlain("It is compiled to TorchScript; save what it was made of")
    new, cls = vars(nn.Module()), type(module)
    args: tuple = ()
    if parametrize.is_parametrized(module):  # Its own state is an error of torch.
        layers: Any = module.parametrizations
        cls, args = parametrize.type_before_parametrizations(module), ([*layers],)
        state = without_hook_of_weight_norm(vars(module))
    else:
        state = module.__getstate__()
    if isinstance(module, LazyModuleMixin):
        state = without_lazy_hooks(state)
    if not isinstance(state, Mapping):
        return Reduced(cls, args, state)
    changed = {key: value for key, value in state.items() if key not in new or new[key] != value}
    return Reduced(cls, args, changed)


def _make(cls: type[nn.Module], names: list[str] | None = None) -> nn.Module:
    if names is not None:
        return parametrized(cls, names)
    module = cls.__new__(cls)
    nn.Module.__init__(module)
    return module


def _fill(module: nn.Module, state: Any) -> None:
    whole = {**vars(module), **state} if isinstance(state, Mapping) else state
    fill(module, whole)
    if isinstance(module, LazyModuleMixin):
        renew_lazy_hooks(module)


def _reduce_lazy(tensor: Any) -> Reduced:
    return Reduced(type(tensor), (tensor.requires_grad, tensor.device, tensor.dtype))


MODULE = Adapter(_reduce, _make, _fill)
LAZY_TENSOR = Adapter(_reduce_lazy, lambda cls, *args: cls(*args), fill)
