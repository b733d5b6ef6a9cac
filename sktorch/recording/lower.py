"""Rewrite a recorded graph so that it runs faster: wide products, and no Python."""

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, fx

from sktorch._private.torch import trace_in_place

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


def lower(module: fx.GraphModule, inputs: Sequence[Tensor]) -> Run:
    """Return a graph without random operations as a program that does not hold Python's lock.

    So stacks in several threads keep several cores busy. TorchScript is deprecated and serves
    nothing else here; where it fails, the graph runs as Python, and the threads take turns.
    """
    if any(tensor.device.type != "cpu" for tensor in inputs):
        return module.forward  # A GPU runs one kernel after another anyway.

    def run(*tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(module.forward(None, *tensors))

    example = tuple(torch.zeros_like(tensor) for tensor in inputs)  # Tracing writes to them.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            traced = trace_in_place(run, example)
    except (RuntimeError, AttributeError, TypeError):
        return module.forward
    return lambda generator, *tensors: traced(*tensors)
