"""The types of this package in saved files: their names there, and how they are taken apart."""

from array import array
from collections import defaultdict
from dataclasses import replace
from enum import Enum
from functools import partial
from itertools import islice
from pathlib import Path
from types import MethodType
from typing import Any

import numpy as np
import skorch.callbacks
import torch
from skorch.callbacks import EpochScoring, ParamMapper
from skorch.dataset import Dataset
from skorch.history import History
from skorch.setter import optimizer_setter
from skorch.utils import freeze_parameter, noop, to_numpy, unfreeze_parameter
from torch import nn
from torch.utils.data import TensorDataset

from sktorch._callbacks import EpochLog
from sktorch._classifier import TorchClassifier
from sktorch._components import adapted
from sktorch._history import Batches, blocks_of
from sktorch._net import ClassifierNet, Net, RegressorNet
from sktorch._regressor import TorchRegressor
from sktorch._state import deepcopied
from sktorch.data import ChunkedDataset, SliceableDataset
from sktorch.losses import adapters, arguments, links, quantile
from sktorch.modules import (
    MLP,
    ConvNet,
    Ensemble,
    FourierFeatures,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
    Ranks,
    RecurrentNet,
    ScaleLayer,
    Standardize,
    StandardizedMLP,
    TabularMLP,
)
from sktorch.persistence.estimators import ARCHIVE, SavedEstimator
from sktorch.persistence.modules import LAZY_TENSOR, MODULE
from sktorch.persistence.nodes import MAX_INT, BadTree
from sktorch.persistence.objects import PICKLED, Adapter, Adapters, Reduced, fill, make, reduce
from sktorch.preprocessing import _saved_types as of_preprocessing
from sktorch.tabular import _saved_types as of_tabular
from sktorch.targets.columns import LabelColumns
from sktorch.targets.entries import EntryLabels
from sktorch.targets.indicators import Indicators
from sktorch.targets.labels import Labels
from sktorch.targets.members import MemberLabels, MemberNumbers
from sktorch.targets.numbers import Numbers
from sktorch.targets.own import OwnLoss
from sktorch.training.cost import Work
from sktorch.training.randomness import RandomStream

# Making one of these callbacks, or training with it, neither reads nor writes files.
_CALLBACKS = (
    *("BatchScoring", "EarlyStopping", "EpochScoring", "EpochTimer", "Freezer"),
    *("GradientNormClipping", "Initializer", "InputShapeSetter", "LRScheduler", "ParamMapper"),
    *("PassthroughScoring", "PrintLog", "Unfreezer", "WarmRestartLR"),
)

# Files of every version have these names: a class that moves keeps its own.
KNOWN: dict[str, Any] = {
    **of_preprocessing.SAVED_TYPES,
    **of_tabular.SAVED_TYPES,
    "builtins.print": print,
    "sktorch.TorchClassifier": TorchClassifier,
    "sktorch.TorchRegressor": TorchRegressor,
    "sktorch.data.ChunkedDataset": ChunkedDataset,
    "sktorch.data.SliceableDataset": SliceableDataset,
    "sktorch.modules.ConvNet": ConvNet,
    "sktorch.modules.Ensemble": Ensemble,
    "sktorch.modules.FourierFeatures": FourierFeatures,
    "sktorch.modules.MLP": MLP,
    "sktorch.modules.PeriodicEmbedding": PeriodicEmbedding,
    "sktorch.modules.PiecewiseLinearEmbedding": PiecewiseLinearEmbedding,
    "sktorch.modules.Ranks": Ranks,
    "sktorch.modules.RecurrentNet": RecurrentNet,
    "sktorch.modules.ScaleLayer": ScaleLayer,
    "sktorch.modules.Standardize": Standardize,
    "sktorch.modules.StandardizedMLP": StandardizedMLP,
    "sktorch.modules.TabularMLP": TabularMLP,
    "sktorch.net.Batches": Batches,
    "sktorch.net.ClassifierNet": ClassifierNet,
    "sktorch.net.EpochLog": EpochLog,
    "sktorch.net.RandomStream": RandomStream,
    "sktorch.net.RegressorNet": RegressorNet,
    "sktorch.net.Work": Work,
    "sktorch.net.adapted": adapted,
    "sktorch.net.deepcopied": deepcopied,
    "sktorch.losses.Arguments": arguments.Arguments,
    "sktorch.losses.ColumnsLoss": adapters.ColumnsLoss,
    "sktorch.losses.EntriesLoss": adapters.EntriesLoss,
    "sktorch.losses.FunctionLoss": adapters.FunctionLoss,
    "sktorch.losses.GaussianLoss": adapters.GaussianLoss,
    "sktorch.losses.MembersLoss": adapters.MembersLoss,
    "sktorch.losses.QuantileLoss": quantile.QuantileLoss,
    "sktorch.losses.codes": links.codes,
    "sktorch.losses.plus_minus_one": links.plus_minus_one,
    "sktorch.losses.zero_one": links.zero_one,
    "sktorch.targets.EntryLabels": EntryLabels,
    "sktorch.targets.Indicators": Indicators,
    "sktorch.targets.LabelColumns": LabelColumns,
    "sktorch.targets.Labels": Labels,
    "sktorch.targets.MemberLabels": MemberLabels,
    "sktorch.targets.MemberNumbers": MemberNumbers,
    "sktorch.targets.Numbers": Numbers,
    "sktorch.targets.OwnLoss": OwnLoss,
    "skorch.Dataset": Dataset,
    "skorch.History": History,
    "skorch.freeze_parameter": freeze_parameter,
    "skorch.noop": noop,
    "skorch.optimizer_setter": optimizer_setter,
    "skorch.to_numpy": to_numpy,
    "skorch.unfreeze_parameter": unfreeze_parameter,
    "pathlib.Path": Path,
    "numpy.random.Generator": np.random.Generator,
    "numpy.random.RandomState": np.random.RandomState,
    "torch.Generator": torch.Generator,
    "torch.utils.data.TensorDataset": TensorDataset,
    "torch.nn.UninitializedBuffer": nn.UninitializedBuffer,
    "torch.nn.UninitializedParameter": nn.UninitializedParameter,
    **{f"skorch.callbacks.{name}": getattr(skorch.callbacks, name) for name in _CALLBACKS},
}

# Functions of skorch that the callback looks up whenever the training begins.
_LOOKED_UP = {"X_indexing_", "y_indexing_"}

_MERSENNE = 625  # integers of the state of Python's generator


def adapters_of(training_state: bool) -> Adapters:
    """Return how objects are taken apart, with or without what only further training needs."""
    return {
        SavedEstimator: Adapter(reduce, make, _fill_estimator),
        nn.Module: MODULE,
        Net: Adapter(partial(_reduce_net, training_state), make, Net.__setstate__),
        History: Adapter(partial(_reduce_history, training_state), make, _fill_history),
        Batches: Adapter(
            lambda value: Reduced(Batches, state=blocks_of(value)),
            make,
            lambda value, blocks: value.__init__(_checked_blocks(blocks)),
        ),
        RandomStream: Adapter(partial(_reduce_stream, training_state), make, _fill_stream),
        torch.optim.Optimizer: Adapter(
            partial(_reduce_optimizer, training_state), make, _fill_optimizer
        ),
        ParamMapper: Adapter(_reduce_mapper, make, _fill_mapper),
        EpochScoring: Adapter(_reduce_scoring, make, PICKLED.fill),
        Enum: Adapter(
            lambda value: Reduced(type(value), (value.value,)), lambda cls, value: cls(value), fill
        ),
        Path: Adapter(
            lambda value: Reduced(Path, (str(value),)), lambda cls, text: cls(text), fill
        ),
        np.random.RandomState: Adapter(
            lambda value: Reduced(type(value), state=value.get_state()),
            lambda cls: cls(0),
            lambda value, state: value.set_state(state),
        ),
        nn.UninitializedParameter: LAZY_TENSOR,
        nn.UninitializedBuffer: LAZY_TENSOR,
        np.random.Generator: Adapter(_reduce_generator, _make_generator, _fill_generator),
        torch.Generator: Adapter(
            lambda value: Reduced(type(value), state=value.get_state()),
            lambda cls: cls(),
            lambda value, state: value.set_state(state),
        ),
    }


def _fill_estimator(estimator: SavedEstimator, state: dict[str, Any]) -> None:
    # An archive of skops comes with names that skops has audited, and a file with none.
    if ARCHIVE in state:
        raise BadTree("it holds a file inside of a file")
    estimator.__setstate__(state)


def _reduce_net(training_state: bool, net: Net) -> Reduced:
    state = {**vars(net)}
    if not training_state and "stream_" in state:
        state["stream_"] = RandomStream(net.stream_.seed, net.stream_.device)
    return Reduced(type(net), state=state)


def _reduce_history(training_state: bool, history: History) -> Reduced:
    left_out = set() if training_state else {"batches"}
    rows = [{k: v for k, v in row.items() if k not in left_out} for row in history]
    pools: dict[str, list] = {"d": [], "q": [], "?": []}
    blocks = [(n, {k: _pooled(c, pools) for k, c in own.items()}) for n, own in blocks_of(rows)]
    numbers = {code: _short(pool) for code, pool in pools.items() if pool}
    return Reduced(History, state={"blocks": blocks, "numbers": numbers})


def _pooled(column: Any, pools: dict[str, list]) -> Any:
    """Add a column of numbers to its pool and return the pool's name; return other columns."""
    kinds = {*map(type, column)}
    code = {float: "d", int: "q", bool: "?"}.get(kinds.pop()) if len(kinds) == 1 else None
    if code is None or (code == "q" and max(map(abs, column)) >= MAX_INT):
        return column
    pools[code].extend(column)
    return code


def _short(values: list) -> array:
    """Return numbers as an array, of whole ones as short as they are."""
    if type(values[0]) is float:
        return array("d", values)
    kinds = (array(code) for code in "bhiq")
    largest = max(map(abs, values))
    code = next(kind.typecode for kind in kinds if largest < 2 ** (8 * kind.itemsize - 1))
    return array(code, values)


def _fill_history(history: History, state: Any) -> None:
    numbers: dict[str, Any] = {}
    if isinstance(state, dict):
        numbers, state = {k: iter(v) for k, v in state["numbers"].items()}, state["blocks"]
    blocks = [
        (n, {key: _column(n, held, numbers) for key, held in own.items()}) for n, own in state
    ]
    for block in _checked_blocks(blocks):
        history.extend({"batches": Batches([]), **row} for row in Batches([block]))


def _column(n_rows: int, held: Any, numbers: dict[str, Any]) -> Any:
    if isinstance(held, str):
        values = [*islice(numbers[held], n_rows)]
        return [*map(bool, values)] if held == "?" else values
    if not isinstance(held, np.ndarray):
        return held
    if not held.flags.writeable:
        raise BadTree("a column of the history comes twice")
    held.flags.writeable = False  # It has been read: a file bounds the memory that it needs.
    return held.tolist()


def _reduce_stream(training_state: bool, stream: RandomStream) -> Reduced:
    state = stream.__getstate__()
    states = state["states"]
    if not stream.has_drawn():
        states.clear()  # It begins by its seed.
    if "python" in states:  # 625 integers are shorter in an array.
        version, numbers, gauss = states["python"]
        states["python"] = version, np.array(numbers, np.uint32), gauss
    return Reduced(RandomStream, state=state)


def _fill_stream(stream: RandomStream, state: dict[str, Any]) -> None:
    states = state["states"]
    if "python" in states:
        version, numbers, gauss = states["python"]
        if numbers.size != _MERSENNE:
            raise BadTree(f"a state of random numbers has {numbers.size} values")
        states["python"] = version, tuple(numbers.tolist()), gauss
    PICKLED.fill(stream, state)


def _reduce_optimizer(training_state: bool, optimizer: torch.optim.Optimizer) -> Reduced:
    reduced = reduce(optimizer)
    return reduced if training_state else replace(reduced, state=reduced.state | {"state": {}})


def _fill_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    optimizer.__setstate__(state | {"state": defaultdict(dict, state["state"])})


def _checked_blocks(blocks: Any) -> list[Any]:
    """Return blocks of columns; raise for other numbers of rows than a file has values for."""
    for n_rows, columns in blocks:
        if not columns or any(len(column) != n_rows for column in columns.values()):
            raise BadTree(f"a history of {n_rows} rows has other numbers of values")
    return [*blocks]


def _reduce_mapper(callback: ParamMapper) -> Reduced:
    """Take a callback apart without the methods that it keeps since it was initialized."""
    state = {**vars(callback)}
    if isinstance(callback.at, partial) and isinstance(callback.at.func, MethodType):
        state["at"] = callback.at.keywords["epoch"]
    if isinstance(callback.schedule, MethodType):
        state["schedule"] = None
    return Reduced(type(callback), state=state)


def _fill_mapper(callback: ParamMapper, state: dict[str, Any]) -> None:
    PICKLED.fill(callback, state)
    type(callback).initialize(callback)  # A file may have given it other attributes.


def _reduce_scoring(callback: EpochScoring) -> Reduced:
    state = {k: v for k, v in vars(callback).items() if k not in _LOOKED_UP}
    return Reduced(type(callback), state=state)


def _reduce_generator(generator: np.random.Generator) -> Reduced:
    return Reduced(np.random.Generator, state=generator.bit_generator.state)


def _make_generator(cls: type) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(0))


def _fill_generator(generator: np.random.Generator, state: Any) -> None:
    generator.bit_generator.state = state
