"""Torch modules as ONNX programs for any number of rows."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sktorch.export.needs import imported

OPSET = 18  # the one that torch's exporter writes by itself


def program(
    module: nn.Module,
    inputs: Tensor | tuple[Tensor, ...] | dict[str, Tensor],
    input_names: Sequence[str],
    output_names: Sequence[str],
    opset: int = OPSET,
) -> Any:
    """Return an ``onnx.ModelProto`` of a module; raise ValueError if ONNX can't express it.

    A tuple or dict holds the arguments of a module that takes any number of them.
    """
    imported("onnx")
    imported("onnxscript")
    rows = {0: torch.export.Dim("batch")}
    args: tuple = (inputs,)
    shapes: tuple = (rows,)
    if isinstance(inputs, dict):
        module, inputs = _ByPosition(module, [*inputs]).eval(), (*inputs.values(),)
    if isinstance(inputs, tuple):
        args, shapes = inputs, ((rows,) * len(inputs),)
    try:
        with _quiet():
            exported = torch.onnx.export(
                module,
                args,
                input_names=[*input_names],
                output_names=[*output_names],
                dynamic_shapes=shapes,
                opset_version=opset,
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        cause = _first(error)
        raise ValueError(
            f"The module can't be written as ONNX: {type(cause).__name__}: {_shortened(cause)}. "
            "torch.export follows tensors, so that forward may neither read their values nor "
            "depend on the number of rows. Change its forward."
        ) from error
    assert exported is not None  # It is for the older exporter alone.
    return exported.model_proto


class _ByPosition(nn.Module):
    """A module whose inputs have names, called by their positions: torch.export wants that."""

    def __init__(self, module: nn.Module, names: list[str]) -> None:
        super().__init__()
        self.module, self.names = module, names

    def forward(self, *X: Tensor) -> Any:
        return self.module(**dict(zip(self.names, X, strict=True)))


def _first(error: BaseException) -> BaseException:
    """Return what an error goes back to."""
    return error if error.__cause__ is None else _first(error.__cause__)


def _shortened(error: BaseException) -> str:
    return (str(error).strip() or "no message").splitlines()[0][:300].removesuffix(".")


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what torch's exporter says of its own code and of packages it can do without."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # torch 2.13 copies a graph by a class of its own that it deprecates.
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)", FutureWarning)
            # Predictions limited to those that float64 holds: here the limit becomes infinity.
            warnings.filterwarnings("ignore", "overflow encountered in cast", RuntimeWarning)
            # All inputs have the axis of rows.
            warnings.filterwarnings(
                "ignore", "# The axis name: batch will not be used", UserWarning
            )
            yield
    finally:
        log.setLevel(level)
