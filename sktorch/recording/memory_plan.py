"""Where a recorded function's intermediate results go: to memory that is there already.

An operation allocates its result. In a step of a stack that is megabytes, which the allocator gives
back to the system and gets again, zeroed page by page, in the next step.
"""

from collections import defaultdict

import torch

from sktorch._private.torch import OpOverload, overload_name, schema


def reuse_memory(graph):
    """Let operations of a graph write to memory that is there.

    An operation element by element writes to an operand that nobody needs any more. Others write
    to buffers, which the graph takes as further inputs, and which serve again as soon as nobody
    needs what is in them. What the graph returns is new memory as before.

    Parameters
    ----------
    graph : torch.fx.Graph
        Of torch's basic operations, with each one's value in its ``meta["value"]``. It is changed.

    Returns
    -------
    buffers : list of torch.Tensor
        Tensors like those that it takes after its other inputs.
    """
    nodes = [*graph.nodes]
    first = next(node for node in nodes if node.op != "placeholder")
    last_use, kept = _lifetimes(nodes)
    buffers, free, lent = [], defaultdict(list), {}
    for number, node in enumerate(nodes):
        ends = [n for n in node.all_input_nodes if last_use.get(_storage(n)) == number]
        if _is_new(node) and _storage(node) not in kept:
            operand = _written_in_place(node, [n for n in ends if _storage(n) not in kept])
            if operand is not None:
                # Whoever had lent the operand its memory gets it back from this one.
                lent[_storage(node)] = lent.pop(_storage(operand), None)
            elif (out := _writing(node.target)) is not None:
                value = node.meta["value"]
                like = tuple(value.shape), value.stride(), value.dtype, value.device
                if not free[like]:
                    with graph.inserting_before(first):
                        free[like].append(graph.placeholder(f"buffer_{len(buffers)}"))
                    buffers.append(value)
                buffer = free[like].pop()
                _redirect(node, out, buffer)
                lent[_storage(node)] = like, buffer
        over = {_storage(n) for n in [*ends, node] if last_use.get(_storage(n)) == number}
        for like, buffer in filter(None, (lent.pop(storage, None) for storage in over)):
            free[like].append(buffer)
    return buffers


def _storage(node):
    """What a node's tensor shares with its views; None where it has no memory."""
    value = node.meta.get("value")
    if not isinstance(value, torch.Tensor) or not value.numel():
        return None
    return value.untyped_storage().data_ptr()


def _lifetimes(nodes):
    """Each storage's last use, by the number of the node, and those that are not the graph's."""
    last_use, kept = {}, {None}
    for number, node in enumerate(nodes):
        for used in (*node.all_input_nodes, node):
            last_use[_storage(used)] = number
        # A buffer that is made another shape in place would keep it in the next call.
        in_other_shape = torch.Tag.inplace_view in getattr(node.target, "tags", ())
        if node.op in ("placeholder", "get_attr") or in_other_shape:
            kept.add(_storage(node))
        elif node.op == "output":
            kept.update(map(_storage, node.all_input_nodes))
    return last_use, kept


def _is_new(node):
    """Whether a node computes one tensor, no view, that is the same in every call."""
    if not isinstance(node.target, OpOverload) or _storage(node) is None:
        return False
    random = torch.Tag.nondeterministic_seeded in node.target.tags
    written = any(a.alias_info and a.alias_info.is_write for a in schema(node.target).arguments)
    is_view = _storage(node) in map(_storage, node.all_input_nodes)
    return not (random or written or is_view)


def _written_in_place(node, ends):
    """The operand whose memory a node writes to from now on, or None."""
    storages = [_storage(n) for n in node.all_input_nodes]
    alike = [n for n in ends if _alike(n, node) and storages.count(_storage(n)) == 1]
    in_place, operand = _in_place(node.target), next(iter(node.args), None)
    if in_place and operand in alike and node.args.count(operand) == 1 and not node.kwargs:
        node.target = in_place
        return operand
    out = _writing(node.target)
    if out is None or torch.Tag.pointwise not in node.target.tags or not alike:
        return None
    _redirect(node, out, alike[0])
    return alike[0]


def _alike(node, other):
    one, two = node.meta["value"], other.meta["value"]
    return all(
        getattr(one, name) == getattr(two, name) for name in ("shape", "dtype", "device")
    ) and (one.stride() == two.stride())


def _in_place(operation):
    """The operation that writes its result to its first operand, or None."""
    packet = getattr(torch.ops.aten, f"{operation.overloadpacket.__name__}_", None)
    found = getattr(packet, overload_name(operation), None)
    return found if found is not None and _is_native(found) else None


def _writing(operation):
    """The operation that writes its result to a tensor that is given, or None."""
    packet = operation.overloadpacket
    for name in packet.overloads():
        found = getattr(packet, name)
        outs = [a for a in schema(found).arguments if a.is_out]
        if len(outs) == 1 and _is_native(found) and _inputs(found) == _inputs(operation):
            return found, outs[0].name
    return None


def _is_native(operation):
    """Whether an operation is more than a call of another and a copy of its result."""
    return torch.Tag.generated not in operation.tags


def _inputs(operation):
    return [(a.name, str(a.type)) for a in schema(operation).arguments if not a.is_out]


def _redirect(node, out, buffer):
    node.target, name = out
    node.kwargs = {**node.kwargs, name: buffer}
