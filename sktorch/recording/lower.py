"""Lower a recorded graph to a program, without Python where that can be."""

import operator
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx

from sktorch.recording.torchscript import Source, call, expression

# A function of a generator and tensors, which returns tensors.
Run = Callable[..., Sequence[Tensor]]


@dataclass(frozen=True)
class Program:
    """A recorded graph as a function of a generator and tensors.

    In TorchScript it has a source, a function of the tensors and then of the constants.
    """

    run: Run
    source: Source | None = None
    constants: tuple[Tensor, ...] = ()


def lower(
    graph: fx.Graph, constants: dict[str, Any], inputs: Sequence[Tensor], has_generator: bool
) -> Program:
    """Return a graph as TorchScript, where no operation needs a generator; else as Python."""
    on_cpu = all(tensor.device.type == "cpu" for tensor in inputs)
    if on_cpu and not has_generator:  # A GPU runs one kernel after another anyway.
        with suppress(RuntimeError, AttributeError, NotImplementedError):
            return _as_torchscript(graph, constants)
    return Program(fx.GraphModule(constants, graph).forward)


def _as_torchscript(graph: fx.Graph, constants: dict[str, Any]) -> Program:
    nodes = [node for node in graph.nodes if node.op != "output"]
    (_, *placeholders), held = (
        [node for node in nodes if node.op == kind] for kind in ("placeholder", "get_attr")
    )
    lines = [f"{node.name} = {_call(node)}" for node in nodes if node.op == "call_function"]
    returned: Any = graph.output_node().args[0]
    source = Source(
        tuple(node.name for node in (*placeholders, *held)),
        tuple(lines),
        tuple(map(expression, returned)),
    )
    function, values = source.compiled(), tuple(constants[node.target] for node in held)
    return Program(lambda generator, *tensors: function(*tensors, *values), source, values)


def _call(node: fx.Node) -> str:
    if node.target is operator.getitem:
        return f"{node.args[0]}[{node.args[1]}]"
    operation: Any = node.target
    return call(operation, node.args, node.kwargs)
