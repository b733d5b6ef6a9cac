"""The state of a training between two epochs, as a tree of plain values, and back."""

from collections.abc import Iterator
from contextlib import suppress
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from sktorch._callbacks import are_plain
from sktorch._history import packed, unpacked
from sktorch._object_state import (
    NotPlain,
    attributes_left_out,
    decoded,
    encoded,
    restore,
    state_of,
)
from sktorch.training.randomness import RandomStream


def state_of_job(job: Any) -> dict[str, Any]:
    """Return all that the further epochs of a training depend on, beside data and parameters."""
    net = job.net
    rows, numbers = packed(net.history)
    return {
        "objects": {name: state_of(o, is_data=is_data) for name, o, is_data in _objects(job)},
        "rows": [_plain_entries(row) for row in rows],
        "numbers": numbers,
        "bests": net.bests_,
        "streams": {
            name: {"seed": stream.seed, "states": encoded(stream.__getstate__()["states"])}
            for name, stream in _streams(net)
        },
    }


def restore_job(job: Any, state: dict[str, Any]) -> None:
    """Let a training that has just begun be where `state_of_job` found another one like it."""
    net = job.net
    for name, owner, _ in _objects(job):
        restore(owner, state["objects"][name])
    net.history.clear()
    net.history.extend(unpacked(decoded(state["rows"]), state["numbers"]))
    net.bests_ = dict(state["bests"])
    for name, stored in state["streams"].items():
        # Another one: the generators may hold the states of the net's, and would give them back.
        stream = RandomStream(stored["seed"], net.stream_.device)
        stream.states = decoded(stored["states"])
        setattr(net, name, stream)


def left_out(job: Any) -> dict[str, Any]:
    """Return what callbacks and the history hold, by name, that a state does not."""
    net = job.net
    row = net.history[-1] if net.history else {}
    recorded = {name: v for name, v in row.items() if name != "batches"}
    return {
        f"{name} of the history": recorded[name]
        for name in recorded.keys() - _plain_entries(recorded).keys()
    } | {
        f"{attribute} of the callback {name}": value
        for name, callback in _callbacks(net)
        for attribute, value in attributes_left_out(callback)
        if value is not net
    }


def _callbacks(net: Any) -> list[tuple[str, Any]]:
    """Return the callbacks but those that every net has, one of them only with `verbose`."""
    return [pair for pair in net.callbacks_ if not are_plain([pair])]


def _streams(net: Any) -> Iterator[tuple[str, RandomStream]]:
    for name in ("stream_", "prediction_stream_"):
        if name in vars(net):
            yield name, vars(net)[name]


def _plain_entries(row: dict[str, Any]) -> dict[str, Any]:
    entries = {}
    for name, value in row.items():
        with suppress(NotPlain):
            entries[name] = encoded(value)
    return entries


def _objects(job: Any) -> Iterator[tuple[str, Any, bool]]:
    """Yield what changes in a training, by name, and whether it belongs to the data."""
    net = job.net
    for root in ("module", "criterion"):
        for name, layer in getattr(net, f"{root}_").named_modules():
            yield f"{root}.{name}", layer, False
    parts = {
        "optimizer": net.optimizer_,
        "scaler": job.engine.precision.scaler,
        "plateau": job.plateau,
        "best": job.best,
        "schedule": job.schedule,
    }
    yield from ((name, part, False) for name, part in parts.items() if part is not None)
    yield from ((f"callbacks.{name}", callback, False) for name, callback in _callbacks(net))
    for name, root in _given(job).items():
        yield from ((f"{name}.{number}", o, True) for number, o in enumerate(_with_inner(root)))


def _given(job: Any) -> dict[str, Any]:
    """Return what the user gave that may count or draw as it goes: datasets, samplers, functions.

    Arrays are not among them.
    """
    parts = {"X": job.train, "validation": job.valid}
    values = {name: part.source.values for name, part in parts.items() if part is not None}
    given = {name: value for name, value in values.items() if isinstance(value, Dataset)}
    given["augment"] = job.estimator.augment
    for component in ("iterator_train", "iterator_valid"):
        options = job.estimator._component_parameters(component)
        given |= {f"{component}__{name}": value for name, value in options.items()}
    return given


def _with_inner(owner: Any) -> Iterator[Any]:
    """Yield an object and those inside it, as the dataset that a `Subset` holds."""
    if isinstance(owner, nn.Module):
        yield from owner.modules()
    elif isinstance(owner, type | ModuleType):
        return
    elif isinstance(owner, torch.Generator) or hasattr(owner, "__dict__"):
        yield owner
        for name in ("dataset", "sampler", "base_sampler", "__self__"):
            yield from _with_inner(getattr(owner, name, None))
        for inner in getattr(owner, "datasets", ()):
            yield from _with_inner(inner)
