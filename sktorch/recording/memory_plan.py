"""Let a recorded graph write its intermediate results to memory that it already has.

An operation allocates its result. In a step of a stack that is megabytes, which the allocator gives
back to the system and gets again, zeroed page by page, in the next step.
"""

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, fx

from sktorch._private.torch import OpOverload, overload_name, schema


def reuse_memory(graph: fx.Graph) -> list[Tensor]:
    """Redirect a graph's operations to memory in use; return the buffers that this takes.

    An elementwise operation overwrites an operand that nothing needs any more. Others write to
    buffers, further inputs of the graph, which are free again after the last use of what they hold.
    The graph's outputs are new memory as before. Each node's ``meta["value"]`` is its value.
    """
    nodes = [*graph.nodes]
    last_use, protected = _lifetimes(nodes)
    buffers = _Buffers(graph)
    for number, node in enumerate(nodes):
        ending = [n for n in node.all_input_nodes if last_use.get(_storage(n)) == number]
        if is_fresh(node) and _storage(node) not in protected:
            operand = _overwrite([n for n in ending if _storage(n) not in protected], node)
            if operand is not None:
                buffers.hand_over(operand, node)
            elif (out := out_variant(node.target)) is not None:
                write_to(buffers.take(node), node, *out)
        for over in [*ending, node]:
            if last_use.get(_storage(over)) == number:
                buffers.release(over)
    return buffers.values


class _Buffers:
    """Tensors that a graph takes after its other inputs, lent to nodes for as long as they need."""

    def __init__(self, graph: fx.Graph) -> None:
        self.values: list[Tensor] = []
        self._graph = graph
        self._first = next(node for node in graph.nodes if node.op != "placeholder")
        self._free: dict[tuple, list[fx.Node]] = defaultdict(list)
        self._lent: dict[int | None, fx.Node] = {}  # by the storage of the node's value

    def take(self, node: fx.Node) -> fx.Node:
        """Return a buffer for a node's value, a new one if none is free."""
        value = node.meta["value"]
        free = self._free[layout(value)]
        if free:
            buffer = free.pop()
        else:
            with self._graph.inserting_before(self._first):
                buffer = self._graph.placeholder(f"buffer_{len(self.values)}")
            buffer.meta["value"] = value
            self.values.append(value)
        self._lent[_storage(node)] = buffer
        return buffer

    def hand_over(self, operand: fx.Node, node: fx.Node) -> None:
        """Let a node keep the buffer, if any, of the operand that it overwrites."""
        buffer = self._lent.pop(_storage(operand), None)
        if buffer is not None:
            self._lent[_storage(node)] = buffer

    def release(self, node: fx.Node) -> None:
        """Take back the buffer, if any, that holds a node's value."""
        buffer = self._lent.pop(_storage(node), None)
        if buffer is not None:
            self._free[layout(buffer.meta["value"])].append(buffer)


def _lifetimes(nodes: list[fx.Node]) -> tuple[dict[int | None, int], set[int | None]]:
    """Return the number of each storage's last user, and the storages that must not be reused."""
    last_use: dict[int | None, int] = {}
    protected: set[int | None] = {None}
    for number, node in enumerate(nodes):
        for used in (*node.all_input_nodes, node):
            last_use[_storage(used)] = number
        # A buffer whose shape is changed in place would keep it in the next call.
        reshapes_in_place = torch.Tag.inplace_view in getattr(node.target, "tags", ())
        if node.op in ("placeholder", "get_attr") or reshapes_in_place:
            protected.add(_storage(node))
        elif node.op == "output":
            protected.update(map(_storage, node.all_input_nodes))
    return last_use, protected


def _storage(node: fx.Node) -> int | None:
    """Return the address of the memory that a node's tensor shares with its views, if any."""
    value = node.meta.get("value")
    if not isinstance(value, Tensor) or not value.numel():
        return None
    return value.untyped_storage().data_ptr()


def layout(value: Tensor) -> tuple:
    """Return all that two tensors must have in common to share memory."""
    return tuple(value.shape), value.stride(), value.dtype, value.device


def is_fresh(node: fx.Node) -> bool:
    """Say whether a node computes one new tensor, not a view, that is the same in every call."""
    if not isinstance(node.target, OpOverload) or _storage(node) is None:
        return False
    random = torch.Tag.nondeterministic_seeded in node.target.tags
    writes = any(a.alias_info and a.alias_info.is_write for a in schema(node.target).arguments)
    is_view = _storage(node) in map(_storage, node.all_input_nodes)
    return not (random or writes or is_view)


def _overwrite(candidates: list[fx.Node], node: fx.Node) -> fx.Node | None:
    """Let an elementwise node write to one of its operands; return that operand, if any."""
    operation: Any = node.target
    first: Any = next(iter(node.args), None)
    storages = [_storage(operand) for operand in node.all_input_nodes]
    needed = layout(node.meta["value"])
    candidates = [
        operand
        for operand in candidates
        if layout(operand.meta["value"]) == needed and storages.count(_storage(operand)) == 1
    ]
    in_place = _in_place_variant(operation)
    if in_place and first in candidates and node.args.count(first) == 1 and not node.kwargs:
        node.target = in_place
        return first
    out = out_variant(operation)
    if out is None or torch.Tag.pointwise not in operation.tags or not candidates:
        return None
    write_to(candidates[0], node, *out)
    return candidates[0]


def write_to(buffer: fx.Node, node: fx.Node, out_variant: Any, argument: str) -> None:
    """Let a node write its value to a buffer."""
    node.target = out_variant
    node.kwargs = {**node.kwargs, argument: buffer}


def _in_place_variant(operation: Any) -> Any:
    """Return the operation that overwrites its first operand, or None."""
    packet = getattr(torch.ops.aten, f"{operation.overloadpacket.__name__}_", None)
    found = getattr(packet, overload_name(operation), None)
    return found if found is not None and _is_native(found) else None


def out_variant(operation: Any) -> tuple[Any, str] | None:
    """Return the operation that writes to a given tensor and that argument's name, or None."""
    packet = operation.overloadpacket
    for name in packet.overloads():
        found = getattr(packet, name)
        outs = [a for a in schema(found).arguments if a.is_out]
        if len(outs) == 1 and _is_native(found) and _inputs(found) == _inputs(operation):
            return found, outs[0].name
    return None


def _is_native(operation: Any) -> bool:
    """Say whether an operation is more than a call of another and a copy of its result."""
    return torch.Tag.generated not in operation.tags


def _inputs(operation: Any) -> list[tuple[str, str]]:
    """Return the names and types of an operation's arguments that it only reads."""
    return [(a.name, str(a.type)) for a in schema(operation).arguments if not a.is_out]
