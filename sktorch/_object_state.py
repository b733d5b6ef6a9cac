"""The state of objects as a tree of plain values: what they keep from one epoch to the next.

The state of a generator is the generator's. An object with `state_dict` and `load_state_dict`, as
torch's optimizers and schedulers, is asked. Of any other object the attributes count that hold
plain values, or such a generator or object.
"""

import random
from array import array
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Container, Iterator
from contextlib import suppress
from copy import copy
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from sktorch._private.torch import tree_leaves
from sktorch.training.schedule import Schedule

State = dict[str, Any]
_SCALARS = (type(None), bool, int, float, str)
_SEQUENCES = (list, tuple, set, frozenset)
# Containers that a file does not know, and what they are made of.
_OTHERS: dict[type, type] = {deque: list, Counter: dict}
_NAMES = {kind.__name__: kind for kind in (*_OTHERS, tuple)}
_MANY = 100  # As one array, the 625 integers of Python's generator take a tenth of the time.
_TAG = "__kind__"  # of a dict that stands for something else


class NotPlain(TypeError):
    """A value is more than a tree of numbers, texts and arrays."""


class _Generator(NamedTuple):
    read: Callable[[Any], Any]
    write: Callable[[Any, Any], object]


_GENERATORS: dict[type, _Generator] = {
    torch.Generator: _Generator(torch.Generator.get_state, torch.Generator.set_state),
    np.random.RandomState: _Generator(
        np.random.RandomState.get_state, np.random.RandomState.set_state
    ),
    np.random.Generator: _Generator(
        lambda generator: generator.bit_generator.state,
        lambda generator, state: setattr(generator.bit_generator, "state", state),
    ),
    random.Random: _Generator(random.Random.getstate, random.Random.setstate),
}


def encoded(value: Any) -> Any:
    """Return a value as a tree of plain values, arrays and tensors; raise `NotPlain`."""
    kind = type(value)
    if kind in _SCALARS or isinstance(value, np.generic):
        return value
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return np.asarray(value)
    if isinstance(value, Tensor) and _is_free(value):
        return value.detach()
    if kind is tuple and len(value) > _MANY and {*map(type, value)} == {int}:
        with suppress(OverflowError):
            return {_TAG: "tuple", "of": array("q", value)}
    if kind in _SEQUENCES:
        return kind(map(encoded, value))
    if kind in (dict, OrderedDict) and _TAG not in value:
        return kind((encoded(key), encoded(entry)) for key, entry in value.items())
    if kind in _OTHERS:
        return {_TAG: kind.__name__, "of": encoded(_OTHERS[kind](value))}
    raise NotPlain(f"a {kind.__name__} is no plain value")  # The text of a tensor takes its time.


def _is_free(tensor: Tensor) -> bool:
    """Say whether a tensor can be kept by its values alone: a parameter belongs to a layer."""
    return tensor.layout is torch.strided and not isinstance(tensor, nn.Parameter)


def decoded(tree: Any) -> Any:
    """Return the value that a tree stands for."""
    if type(tree) in _SEQUENCES:
        return type(tree)(map(decoded, tree))
    if type(tree) not in (dict, OrderedDict):
        return tree
    if _TAG in tree:
        return _NAMES[tree[_TAG]](decoded(tree["of"]))
    return type(tree)((decoded(key), decoded(entry)) for key, entry in tree.items())


def copied(tree: Any) -> Any:
    """Return a tree whose tensors, arrays and containers are nobody else's.

    It takes a quarter of the time of a deep copy, which keeps account of every tensor's storage.
    """
    kind = type(tree)
    if isinstance(tree, Tensor):
        return tree.detach().clone()
    if kind in _SEQUENCES:
        return kind(map(copied, tree))
    if kind in (dict, OrderedDict):
        return kind((key, copied(entry)) for key, entry in tree.items())
    return copy(tree)


def state_of(owner: Any, *, is_data: bool = False) -> State:
    """Return the state of an object; of data, which may be large, only numbers and generators.

    A dataset's own state_dict is left out: it may be one of the middle of a pass.
    """
    if isinstance(owner, nn.Module):
        return _state_of_layer(owner)
    inner_state, encode = (_generator_state, _scalar) if is_data else (_inner_state, encoded)
    return inner_state(owner) or _attributes(owner, encode, inner_state)


def restore(owner: Any, state: State) -> None:
    """Give an object the state that `state_of` returned of one like it."""
    if isinstance(owner, nn.Module):
        _restore_layer(owner, state)
    elif _TAG in state:
        _restore_inner(owner, state)
    else:
        _restore_attributes(owner, state)


def attributes_left_out(owner: Any) -> Iterator[tuple[str, Any]]:
    """Yield the attributes of an object that its state does not hold."""
    if _inner_state(owner) is None:
        held = _attributes(owner, encoded, _inner_state)
        yield from ((name, v) for name, v in vars(owner).items() if name not in held)


def _attributes(
    owner: Any,
    encode: Callable[[Any], Any],
    inner_state: Callable[[Any], State | None],
    without: Container[str] = (),
) -> State:
    state = {}
    for name, value in getattr(owner, "__dict__", {}).items():
        if name not in without:
            with suppress(NotPlain):
                state[name] = inner_state(value) or encode(value)
    return state


def _restore_attributes(owner: Any, state: State) -> None:
    attributes = vars(owner)
    for name, tree in state.items():
        current = attributes.get(name)
        if isinstance(tree, dict) and tree.get(_TAG) in _INNER:
            _restore_inner(current, tree)
            continue
        value = decoded(tree)
        if isinstance(current, Tensor) and isinstance(value, Tensor):
            value = value.to(current.device)
        if type(current) is type(value) and isinstance(value, list | dict | set | deque):
            current.clear()  # Others may hold the same container, as a log.
            (current.extend if isinstance(value, list | deque) else current.update)(value)
        else:
            attributes[name] = value


def _scalar(value: Any) -> Any:
    if type(value) in _SCALARS:
        return value
    raise NotPlain(type(value).__name__)


_OF_EVERY_LAYER = vars(nn.Module()).keys()
_INNER = ("generator", "state_dict")


def _generator_state(value: Any) -> State | None:
    """Return the state of a generator; None for others."""
    for kind, generator in _GENERATORS.items():
        if isinstance(value, kind):
            return {_TAG: "generator", "state": encoded(generator.read(value))}
    return None


def _inner_state(value: Any) -> State | None:
    """Return the state of a generator, or of an object that is asked for it; None for others."""
    if not all(hasattr(type(value), name) for name in ("state_dict", "load_state_dict")):
        return _generator_state(value)
    encode = _plain_entries if isinstance(value, LRScheduler | Schedule) else encoded
    return {_TAG: "state_dict", "state": encode(value.state_dict())}


def _plain_entries(value: Any) -> Any:
    """Return a schedule's state without entries that are not plain: what it was made with."""
    if type(value) is list:
        return [*map(_plain_entries, value)]
    if type(value) not in (dict, OrderedDict):
        return encoded(value)
    plain = {}
    for key, entry in value.items():
        with suppress(NotPlain):
            plain[key] = decoded(_plain_entries(entry))
    return encoded(plain)


def _restore_inner(owner: Any, state: State) -> None:
    if state[_TAG] == "generator":
        for kind, generator in _GENERATORS.items():
            if isinstance(owner, kind):
                generator.write(owner, decoded(state["state"]))
                return
    elif hasattr(owner, "load_state_dict"):
        owner.load_state_dict(decoded(state["state"]))
        return
    raise ValueError(f"{type(owner).__name__} has no {state[_TAG]} to restore")


def _state_of_layer(layer: nn.Module) -> State:
    """Return a layer's own tensors, which of them are trained, and its plain attributes."""
    tensors = _tensors_of(layer)
    state: State = {
        "tensors": {name: tensor.detach() for name, tensor in tensors.items()},
        "trained": [name for name, tensor in tensors.items() if tensor.requires_grad],
        "attributes": _attributes(layer, _attribute_of_layer, _inner_state, _OF_EVERY_LAYER),
    }
    if type(layer).get_extra_state is not nn.Module.get_extra_state:
        state["extra"] = encoded(layer.get_extra_state())
    return state


@torch.no_grad()
def _restore_layer(layer: nn.Module, state: State) -> None:
    tensors = _tensors_of(layer)
    if {name: t.shape for name, t in tensors.items()} != {
        name: t.shape for name, t in state["tensors"].items()
    }:
        raise ValueError(f"a {type(layer).__name__} has other parameters or buffers")
    for name, tensor in tensors.items():
        tensor.copy_(state["tensors"][name])
        if tensor.requires_grad != (name in state["trained"]):
            tensor.requires_grad_(name in state["trained"])
    _restore_attributes(layer, state["attributes"])
    if "extra" in state:
        layer.set_extra_state(decoded(state["extra"]))


def _tensors_of(layer: nn.Module) -> dict[str, Tensor]:
    own = layer.named_parameters(recurse=False), layer.named_buffers(recurse=False)
    return {name: tensor for tensors in own for name, tensor in tensors}


def _attribute_of_layer(value: Any) -> Any:
    """Return a layer's attribute encoded: a number, a tensor, or a container of numbers.

    What a container holds may be other layers' own.
    """
    tree = encoded(value)
    if not isinstance(value, Tensor) and any(
        isinstance(x, Tensor | np.ndarray) for x in tree_leaves(tree)
    ):
        raise NotPlain(type(value).__name__)
    return tree
