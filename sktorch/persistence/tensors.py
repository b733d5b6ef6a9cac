"""Where the values of tensors lie in a file, so that those that share memory go on sharing it."""

from collections import defaultdict
from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from sktorch.persistence.nodes import DTYPES, BadTree, checked_shape, checked_str

Node = dict[str, Any]
_STORED = {
    *(torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64),
    *(torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64),
    *(torch.float8_e4m3fn, torch.float8_e5m2),
}
_STORED_AS_BYTES = {torch.complex128}  # safetensors does not have it.


def settings(tensor: Tensor) -> Node | None:
    """Return what a tensor is beside its values; None for a tensor that can't be kept."""
    if type(tensor) not in (Tensor, nn.Parameter) or tensor.layout is not torch.strided:
        return None
    if tensor.dtype not in _STORED | _STORED_AS_BYTES or tensor.device.type == "meta":
        return None
    node: Node = {"$": "tensor"}
    if isinstance(tensor, nn.Parameter):
        node["as"] = "parameter" if tensor.requires_grad else "frozen parameter"
    elif tensor.requires_grad and tensor.is_leaf:  # A result of autograd becomes a constant.
        node["as"] = "leaf"
    if tensor.device.type != "cpu":
        node["device"] = str(tensor.device)
    return node


def place(named: list[tuple[str, Tensor, Node]]) -> dict[str, Tensor]:
    """Return the values to keep by name; write into each tensor's node where its values are."""
    groups = defaultdict(list)
    for name, tensor, node in named:
        tensor = tensor.detach().resolve_conj().resolve_neg()
        storage = id(node) if _overlaps(tensor) else tensor.untyped_storage().data_ptr()
        groups[storage or id(node), tensor.dtype, tensor.device].append((name, tensor, node))
    kept: dict[str, Tensor] = {}
    for group in groups.values():
        if len(group) == 1:  # Nothing else needs the gaps between its elements.
            (name, tensor, node), *_ = group
            group = [(name, tensor if _is_dense(tensor) else tensor.contiguous(), node)]
        name, first, _ = group[0]
        name = _unused(name, kept)
        values = _values_of([tensor for _, tensor, _ in group])
        kept[name] = _as_bytes(values).cpu() if first.dtype in _STORED_AS_BYTES else values.cpu()
        for _, tensor, node in group:
            node |= {"in": name} | _view(tensor, values)
            if first.dtype in _STORED_AS_BYTES:
                node |= {"dtype": str(first.dtype), "shape": [*tensor.shape]}
                node |= {"stride": [*tensor.stride()]}
    return kept


def read(node: Node, values_on: Callable[[str, str], Tensor]) -> Tensor:
    """Return the tensor of a node; the function returns kept values by name, on a device."""
    tensor = values_on(checked_str(node["in"]), checked_str(node.get("device", "cpu")))
    if "dtype" in node:
        tensor = tensor.reshape(-1).view(DTYPES[node["dtype"]])
    if "shape" in node:
        shape, stride = checked_shape(node["shape"]), checked_shape(node["stride"])
        (offset,) = checked_shape([node.get("offset", 0)])
        if prod(shape) > tensor.numel():
            raise BadTree(f"a tensor of shape {shape} has {tensor.numel()} values")
        tensor = tensor.reshape(-1).as_strided(shape, stride, offset)
    else:
        tensor = tensor.view(tensor.shape)
    match node.get("as"):
        case "parameter" | "frozen parameter" as kind:
            return nn.Parameter(tensor, kind == "parameter")
        case "leaf":
            return tensor.requires_grad_()
    return tensor


def _values_of(tensors: list[Tensor]) -> Tensor:
    """Return all values from the first to the last that tensors of one storage have."""
    start = min(tensor.storage_offset() for tensor in tensors)
    end = max(_end(tensor) for tensor in tensors)
    first = tensors[0]
    if first.is_contiguous() and (first.storage_offset(), _end(first)) == (start, end):
        return first
    return first.as_strided((end - start,), (1,), start)


def _view(tensor: Tensor, values: Tensor) -> Node:
    """Return how a tensor looks at the values that are kept; nothing if it is these."""
    offset = tensor.storage_offset() - values.storage_offset()
    if tensor.shape == values.shape and tensor.is_contiguous() and not offset:
        return {}
    node = {"shape": [*tensor.shape], "stride": [*tensor.stride()]}
    return node | ({"offset": offset} if offset else {})


def _as_bytes(values: Tensor) -> Tensor:
    flat = values.reshape(-1)
    return flat.view(torch.uint8) if flat.numel() else flat.new_empty(0, dtype=torch.uint8)


def _unused(name: str, used: dict[str, Tensor]) -> str:
    """Return a name that no tensor has, of characters that a file may have."""
    name = name.encode("utf-8", "backslashreplace").decode()
    while name in used or name == "__metadata__":
        name += "_"
    return name


def _end(tensor: Tensor) -> int:
    """Return where in its storage a tensor ends."""
    offset = int(tensor.storage_offset())
    if not tensor.numel():
        return offset
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    return offset + 1 + sum((size - 1) * stride for size, stride in steps)


def _is_dense(tensor: Tensor) -> bool:
    """Say whether a tensor fills the memory from its first to its last element."""
    return _end(tensor) - tensor.storage_offset() == tensor.numel()


def _overlaps(tensor: Tensor) -> bool:
    """Say whether a tensor has more elements than memory, as an expanded one has."""
    return tensor.numel() > _end(tensor) - tensor.storage_offset()
