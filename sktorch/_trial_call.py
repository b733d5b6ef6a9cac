"""The trial call: what a module makes of a few rows, found out on a copy of it."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import CellType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from sktorch._components import type_name
from sktorch._errors import errors_name
from sktorch._private.torch import materialise, module_has_hooks
from sktorch._state import deepcopied
from sktorch.data.dtypes import Dtypes, dtypes_to_try
from sktorch.data.source import Source
from sktorch.data.structure import (
    Inputs,
    Outputs,
    call_module,
    floating_dtype,
    moved,
    n_rows_of,
    tree_leaves,
    tree_map,
)
from sktorch.data.tensors import as_tensors
from sktorch.losses.adapters import FunctionLoss, LossFunction
from sktorch.training.cost import Work, measure_work
from sktorch.training.randomness import RandomStream

# A lazy layer's place among the layers, and the arguments of its first call.
LazyCall = tuple[int, tuple, dict[str, Any]]

_PLAIN_LAYERS = ("torch.nn.modules.", "sktorch.modules.", "sktorch.losses.")


@dataclass(frozen=True)
class Trial:
    """A call that a module took."""

    dtypes: Dtypes  # of the inputs
    output: Outputs
    n_rows: int
    work: Work
    draws: bool  # random numbers, in predictions


def try_module(
    module: nn.Module, source: Source, batch_size: int, options: dict[str, Any]
) -> Trial:
    """Call a copy of a module on two rows or, where it needs more, a batch; size lazy layers.

    The module itself stays as it is, and no random number is drawn but by its lazy layers.
    """
    tensors = [*module.parameters(), *module.buffers()]
    device = tensors[0].device if tensors else torch.device("cpu")
    floating = next((t.dtype for t in tensors if t.is_floating_point()), torch.get_default_dtype())
    choices = [*dtypes_to_try(source.example, floating, source.keeps_integers)]

    def few_rows(dtypes: Dtypes) -> Inputs:
        return as_tensors(source.example, dtypes, device, copy=True)

    def batch(dtypes: Dtypes) -> Inputs:
        return next(source.inputs(dtypes, device, n_rows=batch_size, options=options))

    error: Exception | None = None
    shapes = []
    # Some layers have to be trained before they take eval mode, some need rows to compare.
    for rows, training in (few_rows, False), (few_rows, True), (batch, True):
        for dtypes in choices:
            try:
                inputs = rows(dtypes)
                shapes.append(str(tree_map(lambda x: tuple(x.shape), inputs)))
                output, work, draws = _called(module, inputs, training)
            except Exception as refusal:
                error = refusal
            else:
                output = _checked(output, module)
                return Trial(dtypes, output, n_rows_of(inputs), work, draws or training)
    several = f"{len(tree_leaves(source.example))} inputs of shapes"
    kind = several if isinstance(source.example, dict | tuple) else "shape"
    raise ValueError(
        f"module {type_name(module)} does not take a batch of {kind} "
        f"{' or '.join(dict.fromkeys(shapes))}: {error}. "
        "Give X another shape or change the module; a constructor parameter named n_features or "
        "input_shape is filled in from X."
    ) from error


def try_loss(net: Any, example: Any, target: Tensor, *, weighted: bool) -> None:
    """Raise if a copy of the criterion does not make one number of the trial's output."""
    device, dtype = torch.device(net.device), floating_dtype(net.example_output_)
    output = moved(net.example_output_, device, dtype)
    weight = torch.ones(len(target), dtype=dtype, device=device) if weighted else None
    shapes = (
        f" on an output of shape {tree_map(lambda x: tuple(x.shape), output)} and a target of "
        f"shape {tuple(target.shape)} and {target.dtype}"
    )
    loss_function = LossFunction(isolated(net.criterion_))
    module: nn.Module = net.module_
    X: Any = None
    if loss_function.arguments.context:
        X = as_tensors(example, net.input_dtypes_, device, copy=True)
    if "module" in loss_function.arguments.context:  # Its forward may leave terms of the loss.
        module = isolated(module, training=True)
        with suppress(Exception):
            output = call_module(module, X)
    with errors_name("criterion", net.get_params_for("criterion"), shapes):
        loss = loss_function(output, target.to(device), weight, X=X, module=module)
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        got = tuple(loss.shape) if isinstance(loss, Tensor) else type_name(loss)
        raise TypeError(
            f"criterion {net.criterion_} returned {got}; expected a tensor of one number, "
            "the mean loss of the rows. Change criterion, or its reduction to 'mean'."
        )


@torch.no_grad()
def takes_one_row(module: nn.Module, inputs: Inputs) -> bool:
    """Say whether a module can be trained on a batch of one row, as batch statistics can't."""
    copied = isolated(module, training=True)
    if copied is module:  # It can't be copied, and a call in train mode would change it.
        return True
    try:
        row = tree_map(lambda x: x[:1], inputs)
        output = _stream(inputs).run(call_module, copied.train(), row)
    except Exception:
        return False
    return not (isinstance(output, Tensor) and output.isnan().any())


def isolated(module: nn.Module, *, training: bool = False) -> nn.Module:
    """Return a deep copy whose functions (hooks, a loss) have copies of what they close over.

    A module that a call does not change, or that can't be copied, is returned itself.
    """
    if not training and is_plain(module):
        return module
    functions = {id(f): f for layer in module.modules() for f in _functions_of(layer)}
    copies = {key: _with_empty_closure(function) for key, function in functions.items()}
    memo: dict[int, Any] = {**copies}
    try:
        copied = deepcopied(module, memo)
    except Exception:
        return module
    for key, function in functions.items():
        for cell, original in zip(_cells(copies[key]), _cells(function), strict=True):
            with suppress(ValueError):  # an empty cell
                cell.cell_contents = original.cell_contents
            with suppress(Exception):
                cell.cell_contents = deepcopied(original.cell_contents, memo)
    return copied


@torch.no_grad()
def _called(module: nn.Module, inputs: Inputs, training: bool) -> tuple[Any, Work, bool]:
    """Return a copy's output and cost, and whether it draws random numbers.

    The module itself is given what the copy's lazy layers have learnt.
    """
    before = module.training
    copied = isolated(module, training=training)
    lazy_calls = _recorded_lazy_calls(copied)
    stream = _stream(inputs)
    run = stream.run_in_torch if copied is module else stream.run
    output, work = run(measure_work, copied.train(training), inputs)
    layers = [*module.modules()]
    for position, args, kwargs in lazy_calls:
        materialise(layers[position], args, kwargs)
    if copied is not module and _names(copied) != _names(
        module
    ):  # It makes layers in its first call, which is this.
        call_module(module.train(training), inputs)
    if module.training is not before:  # A train() of its own may count.
        module.train(before)
    return output, work, stream.has_drawn()


def is_plain(module: nn.Module) -> bool:
    """Say whether a module or loss has layers of torch or this package alone.

    Eval mode keeps such a module as it is. A copy takes as long as some training steps of a small
    net, and the memory of a large one.
    """
    return not any(
        module_has_hooks(layer)
        or not type(layer).__module__.startswith(_PLAIN_LAYERS)
        or isinstance(layer, FunctionLoss)
        for layer in module.modules()
    )


def _recorded_lazy_calls(module: nn.Module) -> list[LazyCall]:
    """Return a list to which every lazy layer of a module will append its first call."""
    calls: list[LazyCall] = []

    def record(position: int, layer: Any) -> None:
        def hook(_: Any, args: tuple, kwargs: dict) -> None:
            calls.append((position, args, kwargs))
            handle.remove()

        handle = layer.register_forward_pre_hook(hook, with_kwargs=True)

    for position, layer in enumerate(module.modules()):
        if isinstance(layer, nn.modules.lazy.LazyModuleMixin) and layer.has_uninitialized_params():
            record(position, layer)
    return calls


def _checked(output: Any, module: nn.Module) -> Outputs:
    """Return the output on the CPU; raise if it holds something else than tensors."""
    if not all(isinstance(part, Tensor) for part in tree_leaves(output)):
        raise TypeError(
            f"module {type_name(module)} returned {type_name(output)}; expected one tensor "
            "of logits, of shape (n_rows, n_outputs), or a tuple or dict of tensors where the "
            "criterion has a method predict(output). Return just that from its forward."
        )
    return tree_map(Tensor.cpu, output)


def _stream(inputs: Inputs) -> RandomStream:
    """Return a stream that is not used further."""
    return RandomStream(0, tree_leaves(inputs)[0].device)


def _functions_of(layer: nn.Module) -> Iterator[FunctionType]:
    """Yield functions with a closure among a layer's attributes and hooks."""
    for value in vars(layer).values():
        for held in value.values() if isinstance(value, dict) else [value]:
            if isinstance(held, FunctionType) and held.__closure__:
                yield held


def _with_empty_closure(function: FunctionType) -> FunctionType:
    cells = tuple(CellType() for _ in _cells(function))
    new = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, cells
    )
    new.__kwdefaults__ = function.__kwdefaults__
    return new


def _cells(function: FunctionType) -> tuple[CellType, ...]:
    return function.__closure__ or ()


def _names(module: nn.Module) -> list[str]:
    return [name for name, _ in module.named_parameters()]
