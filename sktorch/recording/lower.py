"""Rewrite a recorded graph so that it runs faster: wide products, and no Python."""

import math
import operator
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

# A function of a generator and tensors, which returns tensors.
Run = Callable[..., Sequence[Tensor]]


def widen_products(graph: fx.Graph) -> None:
    """Rewrite tall products with a transposed left factor as (BᵀAᵀ)ᵀ.

    Gradients of weights are such products. MKL is about a third faster on the wide form.
    """
    bmm, transpose = torch.ops.aten.bmm.default, torch.ops.aten.transpose.int
    for node in [node for node in graph.nodes if node.target is bmm]:
        value, (left, right) = node.meta["value"], node.args
        if left.target is not transpose or value.shape[1] <= value.shape[2]:
            continue
        with graph.inserting_before(node):
            factors = [graph.call_function(transpose, (factor, 1, 2)) for factor in (right, left)]
            product = graph.call_function(bmm, tuple(factors))
            turned = graph.call_function(transpose, (product, 1, 2))
        for factor, source in zip(factors, (right, left), strict=True):
            factor.meta["value"] = source.meta["value"].mT
        # The memory plan reads lifetimes from storages, so the new values share the old one's.
        shape, strides = value.mT.shape, value.mT.contiguous().stride()
        product.meta["value"] = value.as_strided(shape, strides)
        turned.meta["value"] = product.meta["value"].mT
        node.replace_all_uses_with(turned)
        graph.erase_node(node)
    graph.eliminate_dead_code()


@dataclass(frozen=True)
class Program:
    """A recorded graph as a function of a generator and tensors, and the language that runs it."""

    run: Run
    language: str


def lower(
    graph: fx.Graph, constants: dict[str, Any], inputs: Sequence[Tensor], has_generator: bool
) -> Program:
    """Return a graph, where no operation needs a generator, as TorchScript; else as Python.

    TorchScript does not hold Python's lock, so that stacks in several threads keep several cores
    busy, and runs a step of small operations in half of Python's time. It is deprecated and serves
    nothing else here.
    """
    on_cpu = all(tensor.device.type == "cpu" for tensor in inputs)
    if on_cpu and not has_generator:  # A GPU runs one kernel after another anyway.
        with suppress(RuntimeError, AttributeError, NotImplementedError):
            return Program(_as_torchscript(graph, constants), "TorchScript")
    return Program(fx.GraphModule(constants, graph).forward, "Python")


def _as_torchscript(graph: fx.Graph, constants: dict[str, Any]) -> Run:
    """Return a graph as a TorchScript that is freed with its last user; nothing is run.

    ``torch.jit.trace`` would keep what it traced for ever, run every operation once more, and
    refuse those with a list of truth values, as the backward passes of normalizations have.
    """
    unit: Any = torch.jit.CompilationUnit(source(graph))
    compiled, held = unit.replay, [*constants.values()]

    def run(generator: torch.Generator | None, *tensors: Tensor) -> Sequence[Tensor]:
        # Without the optimizing executor: it gains nothing on basic operations, takes longer than
        # the recording in its first two calls, and may change last bits.
        with torch.jit.optimized_execution(False):
            return compiled(*tensors, *held)

    return run


def source(graph: fx.Graph) -> str:
    """Return a graph without a generator as the source of a function of tensors in TorchScript."""
    arguments, lines, constants = [], [], []
    for node in graph.nodes:
        if node.op == "placeholder":
            arguments.append(node.name)
        elif node.op == "get_attr":
            constants.append(node.name)
        elif node.op == "call_function":
            lines.append(f"{node.name} = {_call(node)}")
        else:
            outputs = ", ".join(map(_expression, node.args[0]))
            lines.append(f"return ({outputs},)")
    names = [*arguments[1:], *constants]
    return "\n    ".join([f"def replay({', '.join(names)}):", *lines]) + "\n"


def _call(node: fx.Node) -> str:
    if node.target is operator.getitem:
        return f"{node.args[0]}[{node.args[1]}]"
    operation: Any = node.target
    arguments = [*map(_expression, node.args)]
    arguments += [f"{name}={_expression(value)}" for name, value in node.kwargs.items()]
    return f"torch.ops.{operation.namespace}.{operation.overloadpacket.__name__}({', '.join(arguments)})"


def _expression(value: Any) -> str:
    """Return an argument as TorchScript writes it."""
    if isinstance(value, fx.Node):
        return value.name
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_expression, value))}]"
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    if isinstance(value, torch.device):
        return f"torch.device('{value}')"
    return str(value) if isinstance(value, torch.dtype | torch.layout | torch.memory_format) else repr(value)
